"""From latents to topics: what the node says, and the filling of its messages."""
