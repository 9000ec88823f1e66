"""What one size costs in milliseconds of CPU: an update, a step of training, a batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning import Callback

from benchmarks.growth.models import model_config, records, training_config, untrained
from benchmarks.outage.memory_cost import Robot
from smvae_core.model.config import MemoryConfig, ModelConfig
from smvae_core.model.export import export_bundle
from smvae_core.preprocessing import prepare
from smvae_core.presets import vision_touch
from smvae_core.runtime import Runtime
from smvae_datasets.dataset import ArrayDataset
from smvae_training.run import RunPaths, training_statistics
from smvae_training.steps.data import BatchOrder, StepStream
from smvae_training.trainer import train_on

#: Times that something is done; the median counts.
REPEATS = 25
#: Steps of a short run, and of these the first ones that do not count.
STEPS, WARM_UP = 9, 3

Costs = dict[str, float]


def milliseconds(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Return the median CPU time of this thread [ms]."""
    work()
    spent = []
    for _ in range(repeats):
        began = time.thread_time()
        work()
        spent.append(time.thread_time() - began)
    return 1e3 * float(np.median(spent))


def update(model: ModelConfig, folder: Path) -> Costs:
    """Return what a latent costs a robot, from prepared samples on, by the exported bundle."""
    runtime = Runtime(export_bundle(*untrained(model), folder))
    samples = {m.name: prepare(m, m.example_sample(0)) for m in model.modalities}
    names, first = tuple(samples), next(iter(samples))

    def one() -> Any:
        runtime.observe(first, samples[first], prepared=True)
        return runtime.posterior(names)

    def every() -> Any:
        for name, sample in samples.items():
            runtime.observe(name, sample, prepared=True)
        return runtime.posterior(names)

    every()
    mean = runtime.posterior(names).mean
    return {
        "latent, one new sample": milliseconds(one),
        "latent, all samples new": milliseconds(every),
        "all sensors decoded": milliseconds(lambda: [runtime.decode(n, mean) for n in names]),
    }


def step(model: ModelConfig, folder: Path) -> Costs:
    """Return what a step of training costs."""
    steps = _Steps()
    config = training_config(model, STEPS)
    train_on(config, records(model.modalities, 128), RunPaths(folder), None, callbacks=[steps])
    return {"training step": steps.median(WARM_UP, STEPS)}


def remembered(samples: int, folder: Path) -> Costs:
    """Return what a memory of so many samples of each sensor costs, on a robot and in training."""
    sensors = vision_touch(32)
    model = model_config(sensors)
    steps = _Steps()
    config = training_config(model, STEPS, samples)
    data = records(sensors, max(400, 8 * samples))
    train_on(config, data, RunPaths(folder / "run"), None, callbacks=[steps])
    seconds = samples / 30.0
    kept = replace(model, memory=MemoryConfig(horizon_s=max(5.0, seconds)))
    bundle = export_bundle(*untrained(kept), folder / "bundle")
    robot = Robot(bundle, seconds, novelty=False)
    robot.fill()
    turns = [robot.turn() for _ in range(4)]
    return {
        "latent with memory, one new sample": 1e3 * float(np.median(turns)),
        "training step, matching": steps.median(STEPS + WARM_UP, 2 * STEPS),
        "training step, tuning": steps.median(2 * STEPS + WARM_UP, 3 * STEPS),
    }


def episodes(count: int, folder: Path, whole: bool) -> Costs:
    """Return what so many episodes of 250 records cost a training, apart from reading the disk.

    Their files are holes: of the right size, and empty. `whole`: also what is read once, whole.
    """
    sensors, length = vision_touch(64), 250
    total = count * length
    arrays = {}
    for m in sensors:
        like = prepare(m, m.example_sample(0))
        path = folder / f"{m.name}.{count}"
        with path.open("wb") as file:
            file.truncate(total * like.nbytes)
        arrays[m.name] = np.memmap(path, like.dtype, "r", shape=(total, *like.shape))
    data = ArrayDataset(
        sensors=sensors,
        arrays=arrays,
        group=np.repeat(np.arange(count, dtype=np.int32), length),
        group_names=tuple(map(str, range(count))),
    )
    if whole:  # what fits is in memory after the first pass
        for array in arrays.values():
            array.reshape(-1).view(np.uint8)[::4096].max()
    order = BatchOrder(np.arange(total), 32, 0)
    stream = StepStream(data, order, lambda: 0)
    numbers = iter(range(1, 10**6))
    found = {
        "a batch of 32": milliseconds(lambda: stream.batch(next(numbers))),
        "order of an epoch": milliseconds(
            lambda: BatchOrder(np.arange(total), 32, next(numbers)).records(0), 3
        ),
    }
    if whole:
        config = training_config(model_config(sensors), STEPS)
        every = np.arange(total)
        found["statistics, once"] = milliseconds(
            lambda: training_statistics(config, data, every), 2
        )
    return found


class _Steps(Callback):
    """CPU time of this process at the end of each step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append(time.process_time())

    def median(self, first: int, end: int) -> float:
        """Return the median of the steps from `first` on, counted from 0 [ms]."""
        return 1e3 * float(np.median(np.diff(self.ends)[first - 1 : end - 1]))
