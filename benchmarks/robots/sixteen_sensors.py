"""How long a model of 16 sensors takes: export, evaluation, the node's configure; one JSON file.

    python -m benchmarks.robots.sixteen_sensors

Four colour and four depth cameras, four windows of readings and four sets of joints show one shared
latent. Networks and settings are those of `vision_touch`, trained for a few steps: time does not
depend on what was learned. Configure is asked of a node in a process of its own, over DDS.

N records, L shared latent.
"""

from __future__ import annotations

import copy
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.command import parser_of
from benchmarks.reliability import conditions
from smvae_core.bundle import Bundle
from smvae_core.kinds.depth_image import DepthOptions
from smvae_core.kinds.joint_state import JointOptions
from smvae_core.kinds.signal import SignalOptions
from smvae_core.modality import Modality
from smvae_core.model.export import export_bundle
from smvae_core.robot import Robot
from smvae_core.subsets import evaluated_subsets
from smvae_datasets.dataset import ArrayDataset, Target
from smvae_training.calibrate.novelty import calibrate
from smvae_training.config import TrainConfig
from smvae_training.evaluate.episodes import Evaluation
from smvae_training.evaluate.records import EvaluateConfig, Records
from smvae_training.evaluate.report.sections import write_report
from smvae_training.exporting import MAX_RECORDS
from smvae_training.presets import vision_touch
from smvae_training.run import Run, RunPaths, load_run, write_text
from smvae_training.trainer import train_on

RESULTS = Path(__file__).parents[1] / "results" / "sixteen-sensors.json"
#: What is asked of 64-pixel images on two cores [s].
LIMITS_S = {"configure": 5.0, "export": 60.0, "evaluate": 300.0}
#: Sensors of each kind, groups of records, size of the shared latent.
EACH, GROUPS, LATENT = 4, 20, 6
JOINTS = tuple(f"joint{i}" for i in range(7))
WRENCH = tuple(f"{kind}.{axis}" for kind in ("force", "torque") for axis in "xyz")


def sensors(side: int = 64) -> tuple[Modality, ...]:
    """Return the 16 sensors, images of `side` pixels."""
    joints = {
        "fields": tuple(f"{what}.{j}" for what in ("position", "velocity") for j in JOINTS),
        "options": JointOptions(joints=JOINTS, select=("position", "velocity")),
    }
    signal = {"fields": WRENCH, "options": SignalOptions(below="wrench")}
    depth = {"options": DepthOptions(range_m=(0.1, 4.0))}
    declared: dict[str, tuple[str, tuple[int, ...], str, dict[str, Any]]] = {
        "camera": ("color_image", (3, side, side), "1", {}),
        "depth": ("depth_image", (1, side, side), "m", depth),
        "wrench": ("signal", (6, 32), "N, N m", signal),
        "arm": ("joint_state", (14,), "rad, rad/s", joints),
    }
    return tuple(
        Modality(name=f"{name}{i}", kind=kind, shape=shape, unit=unit, **more)
        for name, (kind, shape, unit, more) in declared.items()
        for i in range(EACH)
    )


def records(modalities: tuple[Modality, ...], count: int, seed: int = 0) -> ArrayDataset:
    """Return records whose sensors all show one latent (N, L), smooth within each group."""
    rng = np.random.default_rng(seed)
    group = np.arange(count) * GROUPS // count
    time_s = np.linspace(0.0, 2.0 * np.pi, count // GROUPS + 1)[
        np.arange(count) % (count // GROUPS)
    ]
    phase, speed = rng.uniform(0.0, 6.0, (2, GROUPS, LATENT))
    latent = np.sin(phase[group] + (0.2 + 0.2 * speed[group]) * time_s[:, None])
    return ArrayDataset(
        sensors=modalities,
        arrays={m.name: _shown(m, latent, rng) for m in modalities},
        group=group.astype(np.int32),
        group_names=tuple(f"t{i}" for i in range(GROUPS)),
        stamp_ns=np.arange(count, dtype=np.int64) * 50_000_000,
        targets={
            "position": Target(
                values=latent[:, :3].astype(np.float32), unit="m", fields=("x", "y", "z")
            )
        },
    )


def _shown(
    modality: Modality, latent: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[Any]:
    """Return what a sensor shows of the latent (N, *shape), prepared, with noise of its own."""
    channels, *rest = modality.shape
    coarse = [4 if side > 4 else side for side in rest]
    basis = rng.normal(size=(LATENT, channels, *coarse)) / LATENT**0.5
    if modality.is_image:
        size = (rest[1], rest[0])
        images = [
            cv2.resize(b.transpose(1, 2, 0), size, interpolation=cv2.INTER_CUBIC) for b in basis
        ]
        basis = np.stack([i.reshape(*rest, channels).transpose(2, 0, 1) for i in images])
    elif rest:
        moments = np.linspace(0.0, coarse[0] - 1.0, rest[0])
        line = [np.interp(moments, np.arange(coarse[0]), b) for b in basis.reshape(-1, coarse[0])]
        basis = np.reshape(line, (LATENT, channels, *rest))
    shown = np.empty((len(latent), *modality.shape), np.uint8 if channels == 3 else np.float32)
    for row, z in enumerate(latent):
        value = np.tensordot(z, basis, 1) + rng.normal(0.0, 0.05, modality.shape)
        if modality.is_image:
            level = 1.0 / (1.0 + np.exp(-2.0 * value))
            value = 255.0 * level if channels == 3 else 0.5 + 3.0 * level
        shown[row] = value
    return shown


def train(modalities: tuple[Modality, ...], data: ArrayDataset, out: Path, steps: int) -> Run:
    """Train `vision_touch`'s model of these sensors for a few steps; half is held out."""
    preset = vision_touch()
    config = replace(
        preset,
        model=replace(preset.model, modalities=modalities),
        data=replace(preset.data, held_out=0.5),
        optimizer=replace(preset.optimizer, warmup=0),
        log=replace(preset.log, tensorboard=False),
        batch_size=16,
        max_steps=steps,
    )
    return train_with(config, data, out)


def train_with(config: TrainConfig, data: ArrayDataset, out: Path) -> Run:
    """Train on records in memory and return the run."""
    out.mkdir(parents=True, exist_ok=True)
    return load_run(train_on(config, data, RunPaths(out), None, "memory"))


def export(run: Run, data: ArrayDataset, out: Path, robot: Robot | None = None) -> Bundle:
    """Calibrate the novelty and write the bundle, as `smvae export` does."""
    held_out = Records.of(data, run.split(data).held_out, MAX_RECORDS)
    novelty = calibrate(copy.deepcopy(run.model), run.statistics, held_out)
    written = export_bundle(run.model, run.statistics, out, novelty=novelty, robot=robot)
    return Bundle.load(written)


def evaluate(run: Run, data: ArrayDataset, out: Path, settings: EvaluateConfig) -> dict[str, Any]:
    """Score all subsets and write the report, as `smvae evaluate` does."""
    evaluation = Evaluation(run, data, settings)
    results = evaluation.results()
    write_report(out / "report.html", evaluation, results)
    return results


def configure(bundle: Path, log: Path) -> dict[str, float]:
    """Start a node and configure it; return the seconds until its answer, and of CPU."""
    from lifecycle_msgs.msg import Transition

    from benchmarks.reliability.node import NodeProcess, random_domain
    from benchmarks.reliability.observer import Observer

    domain = random_domain()
    with NodeProcess(domain, log, {"bundle": bundle}) as node, Observer(domain) as observer:
        assert observer.state() == "unconfigured"
        before, started = node.usage()["cpu_s"], time.monotonic()
        observer.change(Transition.TRANSITION_CONFIGURE)
        seconds = time.monotonic() - started
        return {"seconds": seconds, "cpu_s": node.usage()["cpu_s"] - before}


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """Return what was done, the seconds that it took, those of CPU, and the load about it."""
    load, cpu, started = os.getloadavg()[0], _cpu_s(), time.monotonic()
    result = work()
    took = {"seconds": time.monotonic() - started, "cpu_s": _cpu_s() - cpu}
    return result, took | {"load_average": [round(load, 2), round(os.getloadavg()[0], 2)]}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(folder: Path, side: int, count: int, scored: int, steps: int) -> dict[str, Any]:
    """Return all times of one model."""
    modalities = sensors(side)
    data = records(modalities, count)
    run, training = timed(lambda: train(modalities, data, folder / "run", steps))
    bundle, exporting = timed(lambda: export(run, data, folder / "bundle"))
    _, configuring = timed(lambda: configure(bundle.path, folder / "node.log"))
    settings = EvaluateConfig(max_records=scored)
    found, evaluating = timed(lambda: evaluate(run, data, folder, settings))
    return {
        "sensors": {m.name: list(m.shape) for m in modalities},
        "subsets": len(evaluated_subsets(run.model.names)),
        "records": {
            "calibrated": bundle.manifest.novelty.calibration["records"],
            "scored": found["data"]["scored_records"],
            "likelihoods": found["data"]["likelihood_records"],
        },
        "parity": dict(bundle.manifest.parity),
        "train": training | {"steps": steps},
        "export": exporting,
        "configure": configuring,
        "evaluate": evaluating | {"parts": found["seconds"]},
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the file, and return 1 if something took longer than it may."""
    parser = parser_of("benchmarks.robots.sixteen_sensors", __doc__)
    parser.add_argument("--side", type=int, default=64, help="of all images [px]")
    parser.add_argument("--records", type=int, default=3000, help="half of them held out")
    parser.add_argument("--scored", type=int, default=500, help="of the held-out records, at most")
    parser.add_argument("--steps", type=int, default=10, help="of training")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    about = conditions.before()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), given.side, given.records, given.scored, given.steps)
    results = about | conditions.after() | {"limits_s": LIMITS_S} | found
    write_text(given.out, json.dumps(results, indent=1) + "\n")
    late = 0
    for name, limit in LIMITS_S.items():
        late += not found[name]["seconds"] < limit
        print(
            f"{name}: {found[name]['seconds']:.1f} s, {found[name]['cpu_s']:.1f} s of CPU; "
            f"limit {limit:g} s; load average {found[name]['load_average']}"
        )
    return int(late > 0)


if __name__ == "__main__":
    raise SystemExit(main())
