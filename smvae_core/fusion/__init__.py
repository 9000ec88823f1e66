"""Which samples belong together, and when a latent is made of them: live and offline the same."""
