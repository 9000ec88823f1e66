"""Set Multimodal VAE at run time: numpy and onnxruntime; torch only under `smvae_core.model`."""

__version__ = "0.2.0"
