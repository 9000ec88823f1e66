"""Networks of each kind. Importing the package imports every file, and each registers its own.

Outputs are parameters of p(x_m given z), see `smvae_core/model/distributions.py`.
"""

from importlib import import_module
from pkgutil import iter_modules

from smvae_core.model.networks.base import NoisyDecoder, decoder, embedding, register

for _file in iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")

__all__ = ["NoisyDecoder", "decoder", "embedding", "register"]
