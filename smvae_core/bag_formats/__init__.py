"""The files of bags, of any writer, whole or damaged; `smvae_core.bags` opens them."""
