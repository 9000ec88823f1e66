"""Whether a run is the same on several processes as on one, and survives the loss of one."""
