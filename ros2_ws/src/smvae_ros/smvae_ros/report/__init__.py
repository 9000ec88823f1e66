"""How the node is: diagnostics, heartbeats, rates, latencies, resources."""
