"""Training on the workers of a Ray cluster: Ray Train starts them, Lightning trains in each.

The run folder is the same as of any run and lies where every worker sees it. Its own checkpoints
are what a worker group goes on from when Ray starts it again.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback

from smvae_core.errors import ConfigError
from smvae_datasets.ray_cluster import cluster
from smvae_training.cli import configure_logging, quiet_lightning
from smvae_training.config import TrainConfig
from smvae_training.processes import Processes
from smvae_training.resume import check_folder
from smvae_training.run import RunError, RunPaths
from smvae_training.trainer import Build, build_smvae, train

#: How often workers that were lost are replaced.
MAX_FAILURES = 3


def train_on_ray(
    config: TrainConfig,
    data: Path | None,
    out: Path,
    address: str,
    resume: bool = False,
    *,
    overwrite: bool = False,
    callbacks: list[Callback] | None = None,
    build: Build = build_smvae,
) -> Path:
    """Train as `trainer.train` does, on `hardware.devices` workers, and return the run folder.

    Args:
        config: All settings; a GPU per worker where `hardware.accelerator` is 'gpu', or 'auto' and
            the cluster has as many.
        data: As of `train`; every worker sees it there.
        out: The same.
        address: Of the cluster, see `ray_cluster.cluster`.
        resume: As of `train`.
        overwrite: As of `train`.
        callbacks: As of `train`.
        build: As of `train`.

    Raises:
        RunError: If the folder cannot be used, or workers failed more often than `MAX_FAILURES`.
        ConfigError: If no cluster answers, or it has too few cores or GPUs.
        MissingDependency: If Ray is not installed.
    """
    out = Path(out).absolute()
    check_folder(RunPaths(out), config, resume, overwrite, Processes())
    if not os.environ.get("RAY_TRAIN_V2_ENABLED", "1") == "1":
        raise ConfigError("RAY_TRAIN_V2_ENABLED=0: only the present Ray Train starts workers again")
    given = {
        "config": config,
        "data": data if data is None else data.absolute(),
        "out": out,
        "resume": resume,
        "overwrite": overwrite,
        "callbacks": callbacks,
        "build": build,
        "job": f"ray {uuid.uuid4().hex}",
    }
    with cluster(address, logs=True) as ray:
        _fit(given, _gpus(config, ray.cluster_resources()), out)
    return out


def _gpus(config: TrainConfig, resources: dict[str, float]) -> bool:
    """Return whether workers have a GPU each.

    Raises:
        ConfigError: If the cluster cannot hold the workers.
    """
    count, wish = config.hardware.devices, config.hardware.accelerator
    cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    if wish == "gpu" and gpus < count:
        raise ConfigError(f"{count} workers with a GPU each: the Ray cluster has {gpus} GPUs")
    if cores < count:
        raise ConfigError(f"--hardware.devices {count}: the Ray cluster has {cores} cores")
    return wish == "gpu" or (wish == "auto" and gpus >= count)


def _fit(given: dict[str, Any], use_gpu: bool, out: Path) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    beside = out.with_name(f".{out.name}.{given['job'].split()[1]}.ray")  # Ray's own notes
    trainer = TorchTrainer(
        _work,
        train_loop_config=given,
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=given["config"].hardware.devices, use_gpu=use_gpu),
        run_config=RunConfig(
            storage_path=str(beside), failure_config=FailureConfig(max_failures=MAX_FAILURES)
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as err:
        last = str(err).strip().splitlines()[-1]
        raise RunError(out, f"workers failed: {last}. --resume goes on from a checkpoint") from err
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _work(given: dict[str, Any]) -> None:
    """Train in one worker, one of several processes."""
    configure_logging(verbose=False)
    quiet_lightning()
    train(
        given["config"],
        given["data"],
        given["out"],
        given["resume"],
        overwrite=given["overwrite"],
        callbacks=given["callbacks"],
        build=given["build"],
        processes=Processes.of_ray(given["job"]),
    )
