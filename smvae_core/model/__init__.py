"""The Set Multimodal VAE in torch: networks, set encoder, objective, export."""

from smvae_core.model.config import MemoryConfig, ModelConfig
from smvae_core.model.distributions import Posterior
from smvae_core.model.memory.context import Context, Elements
from smvae_core.model.objective import ElboTerms, elbo
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.model.smvae import SMVAE

__all__ = [
    "SMVAE",
    "Context",
    "ElboTerms",
    "Elements",
    "MemoryConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "Posterior",
    "elbo",
]
