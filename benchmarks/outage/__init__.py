"""What a model still knows when sensors are lost, and what its memory costs."""
