"""From the engine to latents: the threads, and what configure makes for them."""
