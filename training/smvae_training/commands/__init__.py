"""The subcommands of `smvae`, listed in `smvae_training.cli.COMMANDS`."""
