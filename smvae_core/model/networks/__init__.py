"""Networks of each kind: one file each. Importing the package registers them all.

Outputs are parameters of p(x_m given z), see `smvae_core/model/distributions.py`.
"""

from smvae_core.model.networks import (  # noqa: F401  each registers itself
    attributes,
    image,
    label,
    scan,
    signal,
    vector,
)
from smvae_core.model.networks.base import NoisyDecoder, decoder, embedding, register

__all__ = ["NoisyDecoder", "decoder", "embedding", "register"]
