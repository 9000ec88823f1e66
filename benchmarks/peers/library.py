"""THE place where MultiVae is imported; where it is missing, one clear line says so."""

# mypy: disable-error-code="import-not-found,import-untyped"
from __future__ import annotations

from benchmarks.paper.torchvision_shim import ensure_torchvision
from smvae_core.errors import SMVAEError


class PeersMissing(SMVAEError, ImportError):
    """MultiVae is not installed in the environment that runs."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the benchmarks' peers need MultiVae ({what}): run scripts/setup_peers.sh, then use "
            ".venv-peers/bin/python"
        )


try:
    ensure_torchvision()
    from multivae.data.datasets.base import MultimodalBaseDataset
    from multivae.models import (
        JMVAE,
        MMVAE,
        MVAE,
        JMVAEConfig,
        MMVAEConfig,
        MoPoE,
        MoPoEConfig,
        MVAEConfig,
    )
    from multivae.models.base import BaseDecoder, BaseEncoder, BaseMultiVAE, ModelOutput
    from multivae.models.nn import BaseJointEncoder
    from multivae.trainers import BaseTrainer, BaseTrainerConfig
    from multivae.trainers.base.callbacks import TrainingCallback
except ImportError as err:
    raise PeersMissing(str(err)) from err

__all__ = [
    "JMVAE",
    "MMVAE",
    "MVAE",
    "BaseDecoder",
    "BaseEncoder",
    "BaseJointEncoder",
    "BaseMultiVAE",
    "BaseTrainer",
    "BaseTrainerConfig",
    "JMVAEConfig",
    "MMVAEConfig",
    "MVAEConfig",
    "MoPoE",
    "MoPoEConfig",
    "ModelOutput",
    "MultimodalBaseDataset",
    "TrainingCallback",
]
