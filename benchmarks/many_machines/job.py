"""One training of a comparison: `python -m benchmarks.many_machines.job CASE.json`.

Alone, as one of the processes of torchrun, or as what asks Ray for workers.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import Callback
from torch import nn

from smvae_core.model.config import MemoryConfig
from smvae_datasets.ray_cluster import LOCAL
from smvae_training.cli import configure_logging, quiet_lightning
from smvae_training.config import AugmentConfig, TrainConfig
from smvae_training.presets import preset
from smvae_training.processes import Processes
from smvae_training.trainer import train

#: What augmentation changes in a case that has it.
CHANGED = AugmentConfig(bias=0.3, noise=0.05, color=0.1, crop=0.05, holes=0.1, dropout=0.1)
WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class Case:
    """One training."""

    out: str
    """Run folder."""
    data: str
    """Folder of episodes."""
    starter: Literal["self", "torchrun", "two torchruns", "ray"] = "self"
    """Who starts the `WORKERS`; 'two torchruns': one each, as on two machines; 'self': there is
    one process."""
    norms: Literal["frozen", "batch"] = "frozen"
    """'frozen': BatchNorm counts nothing of a batch; 'batch': as a user trains."""
    preset: str = "debug"
    batch_size: int = 8
    steps: int = 6
    augment: bool = False
    memory: bool = False
    """Learn a memory too, in as many steps again, of which 1 in 3 decodes."""
    lost_at: int = 0
    """Step before which the second worker is killed, once; 0: never."""
    checkpoint_every: int = 2

    def config(self) -> TrainConfig:
        """Return the settings of the run."""
        config = preset(self.preset)
        devices = WORKERS if self.starter == "ray" else 1
        hardware = replace(
            config.hardware, precision="32", accelerator="cpu", devices=devices, workers=0
        )
        log = replace(
            config.log, every=1, checkpoint_every=self.checkpoint_every, tensorboard=False
        )
        if self.memory:
            remembering = MemoryConfig(horizon_s=1.0, width=4)
            model = replace(config.model, pooling="evidence", memory=remembering)
            config = replace(
                config, model=model, context=replace(config.context, match=0.67, tune=0.33)
            )
        return replace(
            config,
            batch_size=self.batch_size,
            max_steps=self.steps,
            hardware=hardware,
            log=log,
            augment=CHANGED if self.augment else config.augment,
        )

    @property
    def total_steps(self) -> int:
        """Steps of all stages."""
        return self.config().stages(self.steps).total

    def callbacks(self) -> list[Callback]:
        """Return what makes the case one."""
        found: list[Callback] = [FreezeNorms()] if self.norms == "frozen" else []
        return [*found, Lose(self.lost_at, Path(f"{self.out}.lost"))] if self.lost_at else found

    def run(self) -> None:
        """Train, in this process or as one of several."""
        out, data, config = Path(self.out), Path(self.data), self.config()
        if self.starter == "ray":
            from smvae_training.ray_train import train_on_ray

            train_on_ray(config, data, out, LOCAL, callbacks=self.callbacks())
            return
        alone = self.starter == "self"
        processes = Processes.started_here(config) if alone else Processes.of_torchrun()
        train(config, data, out, callbacks=self.callbacks(), processes=processes)

    def commands(self, described: Path) -> list[list[str]]:
        """Return what runs the case, beside each other; it is written to the file `described`."""
        described.write_text(json.dumps(asdict(self)))
        module = ["-m", "benchmarks.many_machines.job", str(described)]
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--max-restarts", "2"]
        if self.starter == "torchrun":
            several = ["--standalone", "--nproc-per-node", str(WORKERS)]
            return [[*torchrun, *several, *module]]
        if self.starter == "two torchruns":
            meet = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{free_port()}"]
            name = ["--rdzv-id", described.stem, "--nnodes", str(WORKERS), "--nproc-per-node", "1"]
            return [[*torchrun, *meet, *name, *module]] * WORKERS
        return [[sys.executable, *module]]


def free_port() -> int:
    """Return a port of this machine that nobody listens on at the moment."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


class FreezeNorms(Callback):
    """BatchNorm takes the statistics that it began with, and keeps them."""

    def on_train_batch_start(self, trainer: Any, module: nn.Module, *_: Any) -> None:
        for each in module.modules():
            if isinstance(each, nn.modules.batchnorm._BatchNorm):
                each.eval()


class Lose(Callback):
    """Kills the second worker before a step as a machine dies: at once, and once."""

    def __init__(self, step: int, marker: Path) -> None:
        self._step, self._marker = step, marker

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        here = trainer.global_rank == 1 and trainer.global_step == self._step
        if here and not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    """Run the case of a file."""
    configure_logging(verbose=False)
    quiet_lightning()
    Case(**json.loads(Path(sys.argv[1]).read_text())).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
