"""The processes that share each batch of a run: how many, which one this is, who started them."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any, Literal

from smvae_core.errors import ConfigError
from smvae_training.config import TrainConfig

logger = logging.getLogger(__name__)

#: What torchrun tells each process that it starts.
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID")

#: Set to 1 where torchrun begins, each start of its processes has an address book of its own. With
#: the one that they share since torch 2.5, processes that are started again may look for those
#: that were killed (issues 135712, 167288 of pytorch/pytorch; two of three restarts failed here).
FRESH_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"


@dataclass(frozen=True, kw_only=True)
class Processes:
    """One process per device. The run's folder and its data are seen by all of them."""

    starter: Literal["self", "torchrun", "ray"] = "self"
    """'self': the first of them starts the others, on one machine."""
    size: int = 1
    rank: int = 0
    local_size: int = 1
    """How many of them are on this machine."""
    job: str = ""
    """Name of the job that started them. What one job begins it goes on with when it starts its
    processes again, as after one of them was killed. Empty: nobody starts them again."""

    @property
    def is_helper(self) -> bool:
        """Whether this is not the first, which alone writes, logs and reports."""
        return self.rank > 0

    @classmethod
    def started_here(cls, config: TrainConfig) -> Processes:
        """Return those that Lightning starts for `hardware.devices`.

        One device is one process, whatever a job launcher's variables say.
        """
        size = config.hardware.devices
        rank = int(os.environ.get("LOCAL_RANK", "0")) if size > 1 else 0
        return cls(size=size, rank=rank, local_size=size)

    @classmethod
    def of_torchrun(cls) -> Processes:
        """Return those that torchrun started, this one among them.

        Raises:
            ConfigError: If it did not start this one.
        """
        missing = [name for name in _TORCHRUN if name not in os.environ]
        if missing:
            raise ConfigError(
                f"--torchrun: {', '.join(missing)} not set, so torchrun did not start this "
                "process; start `torchrun --standalone --nproc-per-node 2 -m smvae_training.cli "
                "train --torchrun ...`"
            )
        restarts = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))
        if restarts and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            logger.warning("set %s=1 before torchrun: else a restart may fail", FRESH_STORE)
        rank, size, local_size = (int(os.environ[name]) for name in _TORCHRUN[:3])
        job = os.environ["TORCHELASTIC_RUN_ID"]
        if job == "none":  # torchrun was given no name: its process stands for it
            job = f"process {os.getppid()}"
        return cls(
            starter="torchrun", size=size, rank=rank, local_size=local_size, job=f"torchrun {job}"
        )

    @classmethod
    def of_ray(cls, job: str) -> Processes:
        """Return those that Ray Train started, this one among them."""
        from ray.train import get_context

        told = get_context()
        return cls(
            starter="ray",
            size=told.get_world_size(),
            rank=told.get_world_rank(),
            local_size=told.get_local_world_size(),
            job=job,
        )

    def check_batch(self, batch_size: int) -> None:
        """Refuse a batch of which some process would get nothing.

        Raises:
            ConfigError: If there are more processes than records in a batch.
        """
        if batch_size < self.size:
            raise ConfigError(
                f"a batch of {batch_size} records cannot be shared by {self.size} devices: train "
                "on fewer, or raise --batch-size (of a small training split: record more)"
            )

    def trainer_arguments(self) -> dict[str, Any]:
        """Return how Lightning's Trainer finds the other processes."""
        # A modality that nobody of a process observed has no gradient there.
        several = "ddp_find_unused_parameters_true"
        if self.starter == "ray" and self.size > 1:
            from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

            return {
                "plugins": RayLightningEnvironment(),
                "strategy": RayDDPStrategy(find_unused_parameters=True),
                "devices": "auto",
            }
        if self.starter == "torchrun" and self.size > 1:
            from pytorch_lightning.plugins.environments import TorchElasticEnvironment

            return {
                "plugins": TorchElasticEnvironment(),
                "strategy": several,
                "devices": self.local_size,
                "num_nodes": self.size // self.local_size,
            }
        from pytorch_lightning.plugins.environments import LightningEnvironment

        return {
            "plugins": LightningEnvironment(),
            "strategy": several if self.size > 1 else "auto",
            "devices": self.size,
        }
