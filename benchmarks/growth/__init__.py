"""How costs grow with sensors, image side, latent, context and episodes."""
