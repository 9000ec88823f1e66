"""What a live run did, from its bag alone: fused sets, latencies, live against offline, images."""
