"""Whether a recording's latents can be made again from the samples that they list."""
