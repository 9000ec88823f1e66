"""What a model still knows of the images when cameras are lost: memory beside a single instant.

    python -m benchmarks.outage EPISODES --runs RUNS --seed 0 --steps 1200 --instant-steps 2100
    python -m benchmarks.outage EPISODES --runs RUNS --start RUN --kinds memory gru rssm transformer

Both have the same networks, data, batches and optimiser; the single instant takes more steps, as
many as fit into the training time of the other (a step with memory costs about 1.8 times as much).
Scored on held-out trajectories, with what a robot would remember: all samples of the last 5 s at
their full rate. Squared error of an image over that of the training mean image, paired by
trajectory; coverage of the pixels' 90 % intervals. In three conditions (all alive, both cameras
lost for 1 s, nothing remembered) also the error of the hole's offset and its ratio to that of all
alive. A ridge probe tells it, fitted on training records of the same condition. A run in RUNS is
continued, or scored if it is finished; one of other settings is refused. With a start, a finished
run of a single instant, only what comes after it is trained: the same weights, contexts, stages and
steps for memories of every kind (`benchmarks/outage/peers.py`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from benchmarks.command import parser_of, status_of
from benchmarks.outage.peers import PEERS
from benchmarks.outage.picture import draw
from benchmarks.outage.start import LaterStages, begin, check_start, load
from benchmarks.robots.network_sizes import full_networks
from benchmarks.runs import check_settings
from smvae_core.files import write_text
from smvae_core.modality import find
from smvae_core.model.config import MemoryConfig
from smvae_core.model.distributions import Posterior, likelihood_mean
from smvae_core.model.memory.context import Elements
from smvae_core.model.memory.memory import Reading
from smvae_core.model.smvae import SMVAE
from smvae_core.preprocessing import in_si, normalise, restore
from smvae_datasets.dataset import Dataset, holding, recorded_of
from smvae_training.config import ContextConfig, TrainConfig
from smvae_training.evaluate import probe
from smvae_training.evaluate.baselines import training_mean
from smvae_training.evaluate.likelihood.summary import standard_error
from smvae_training.evaluate.measures import images, measured, squared_error
from smvae_training.evaluate.ratios import paired_ratio
from smvae_training.hardware import source_version, versions
from smvae_training.run import Run, RunPaths, RunRecord, load_run, split_episodes
from smvae_training.steps.embedded import embed_records
from smvae_training.steps.normalise import BatchNormaliser
from smvae_training.trainer import prepare_data, train

RESULTS = Path(__file__).parents[1] / "results"
#: Without memory, with one whose way is straight, and with one whose way bends, as by default.
OURS = ("instant", "memory", "bent")
KINDS = (*OURS, *PEERS)
#: Cameras are lost for so long [s]; blind robots remember so much [s].
AGES_S, BLIND_S = (0.25, 0.5, 1.0, 2.0), 2.0
#: Reference times begin so late in a trajectory [s], that there is something to remember.
BEGIN_S = 3.0
#: Records between reference times of held-out and of training trajectories.
EVERY, TRAIN_EVERY = 8, 4
#: Seconds without cameras after which the hole's offset is asked for.
OFFSET_AGE_S = 1.0
#: Steps of stage 'match', and of 'tune', as a share of those before.
LATER = ContextConfig().match
#: Of a Gaussian's 90 % interval.
DEVIATIONS = 1.6449
TARGET = "offset"
CHUNK = 32


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What is observed at the reference time, and what is remembered."""

    name: str
    lost: str = ""
    """Sensors that are lost, and for how long; both empty or 0 where none is."""
    age_s: float = 0.0
    present: tuple[str, ...]
    remembered: Mapping[str, tuple[float, float]]
    """By sensor, ages [s] of the newest and the oldest sample; a sensor may be missing."""
    newest: tuple[str, ...] = ()
    """Of these sensors only the newest sample is remembered."""
    offset: bool = False
    """The hole's offset is asked for, which takes a probe fitted on training records."""


def settings(
    kind: str, steps: int, seed: int, target: str = "observed", later: float = LATER
) -> TrainConfig:
    """Return settings with pooling by evidence and decoded noise, with memory or not.

    `later` is the share of `steps` that each of the later stages has.
    """
    config = full_networks()
    memories = {"instant": None, "bent": MemoryConfig()}
    memory = memories.get(kind, MemoryConfig(bend=0))
    model = replace(config.model, pooling="evidence", decoded_noise=True, memory=memory)
    objective = config.objective
    if target == "joint":
        objective = replace(objective, target="joint", matching=1.0)
        model = replace(model, log_precision_limit=8.0)  # without, the loss was 1e25 at step 110
    context = replace(config.context, match=later, tune=later)
    config = replace(config, model=model, objective=objective, context=context)
    return replace(config, max_steps=steps, seed=seed)


class Cost(Callback):
    """Adds up the CPU time of a run's steps over its sessions, in a file of its folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before_s = json.loads(path.read_text())["cpu_s"] if path.is_file() else 0.0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self._start_s = time.process_time()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        total_s = self._before_s + time.process_time() - self._start_s
        write_text(self._path, json.dumps({"cpu_s": total_s, "steps": trainer.global_step}) + "\n")


def trained(
    kind: str, config: TrainConfig, episodes: Path, root: Path, start: Run | None = None
) -> tuple[Run, Any]:
    """Return the finished run in `root` and what it cost, trained or continued as needed.

    Raises:
        RunError: If it has other settings.
    """
    paths = RunPaths(root)
    cost = paths.root / "cost.json"
    if start:
        check_start(start, config)
        config = LaterStages.of(config)
    if not paths.config.is_file() or not RunRecord.read(paths.config).finished:
        paths.root.mkdir(parents=True, exist_ok=True)
        build = begin(kind, start)
        train(config, episodes, paths.root, paths.begun, callbacks=[Cost(cost)], build=build)
    else:
        found = RunRecord.read(paths.config).config
        check_settings(paths.root, found, config, "Give other --runs")
    return load(kind, paths.root), json.loads(cost.read_text()) if cost.is_file() else {}


def conditions(names: Sequence[str], cameras: Sequence[str], horizon_s: float) -> list[Condition]:
    """Return the conditions of the table, for the sensors of a robot."""
    others = tuple(n for n in names if n not in cameras)
    alive = dict.fromkeys(names, (0.0, horizon_s))
    known = {n: alive[n] for n in others}
    found = [
        Condition(name="all alive", present=tuple(names), remembered=alive, offset=True),
        Condition(
            name="all alive, nothing remembered", present=tuple(names), remembered={}, offset=True
        ),
    ]
    losses = dict.fromkeys([tuple(cameras), *((camera,) for camera in cameras)])
    for lost in losses:
        label, rest = "+".join(lost), tuple(n for n in names if n not in lost)
        for age_s in AGES_S:
            ages = alive | dict.fromkeys(lost, (age_s, horizon_s))
            name = f"{label} lost for {age_s:g} s"
            case = Condition(name=name, lost=label, age_s=age_s, present=rest, remembered=ages)
            if lost != tuple(cameras):
                found.append(case)
                continue
            found.append(replace(case, offset=age_s == OFFSET_AGE_S))
            found.append(replace(case, name=f"{name}, last frame only", newest=lost))
    history = dict.fromkeys(others, (0.0, BLIND_S))
    told = "+".join(others)
    return [
        *found,
        Condition(name=f"{told}, {BLIND_S:g} s remembered", present=others, remembered=history),
        Condition(name=f"{told}, {horizon_s:g} s remembered", present=others, remembered=known),
        Condition(name=f"{told} of now", present=others, remembered={}, offset=True),
    ]


class Embedded:
    """Records of a data set, each embedded once, in time."""

    def __init__(self, run: Run, data: Dataset) -> None:
        self.model: SMVAE = run.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.run, self.data = run, data
        count = len(data)
        normaliser = BatchNormaliser(run.model_config.modalities, run.statistics, True)
        every = (self.model, normaliser, data, np.arange(count), torch.device("cpu"))
        with torch.inference_mode():
            self.embeddings = torch.cat([found for *_, found in embed_records(*every)])
        self.read: Reading | None = None
        evidence, memory = self.model.set_encoder.evidence, self.model.memory
        if memory is not None:
            assert evidence is not None
            with torch.inference_mode():
                everything = torch.ones(count, len(self.model.names), dtype=torch.bool)
                nothing = Elements({}, {}, {})
                self.read = memory.read(evidence, self.embeddings, everything, nothing)

    def posterior(self, reference: NDArray[np.int64], condition: Condition) -> Posterior:
        """Return the posteriors of reference records (N,) under a condition."""
        found = [
            self._part(reference[start : start + CHUNK], condition)
            for start in range(0, len(reference), CHUNK)
        ]
        mean, log_var = (torch.cat(part) for part in zip(*found, strict=True))
        return Posterior(mean, log_var)

    @torch.inference_mode()
    def _part(self, reference: NDArray[np.int64], condition: Condition) -> tuple[Tensor, Tensor]:
        model = self.model
        present = torch.tensor([[n in condition.present for n in model.names]])
        present = present.expand(len(reference), -1)
        if condition.remembered and model.memory is not None:
            reading = self._reading(reference, condition)
            q = model.memory.combine(model.set_encoder, reading, present)
        else:
            q = model.posterior(self.embeddings[torch.from_numpy(reference)], present)
        return q.mean, q.log_var

    def _reading(self, reference: NDArray[np.int64], condition: Condition) -> Reading:
        """Return what is remembered, and every sensor of the reference time behind it."""
        count, sensors = len(reference), len(self.model.names)
        parts = []
        for name, (youngest_s, oldest_s) in condition.remembered.items():
            for number, record in enumerate(reference.tolist()):
                first = int(np.searchsorted(self.data.group, self.data.group[record]))
                earlier = np.arange(first, record)
                age_s = (self.data.stamp_ns[record] - self.data.stamp_ns[earlier]) * 1e-9
                kept = (age_s >= max(youngest_s - 1e-6, 1e-6)) & (age_s <= oldest_s + 1e-6)
                kept &= recorded_of(self.data, name)[earlier]
                rows = np.flatnonzero(kept)[-1 if name in condition.newest else 0 :]
                sensor = np.full(len(rows), self.model.names.index(name))
                parts.append((earlier[rows], sensor, np.full(len(rows), number), age_s[rows]))
        own = np.repeat(np.arange(count), sensors)
        of = np.tile(np.arange(sensors), count)
        parts.append((reference[own], of, own, np.zeros(len(own))))
        joined = [torch.from_numpy(np.concatenate(x)) for x in zip(*parts, strict=True)]
        record, of_record, owner, age = joined
        remembered = torch.ones(len(record), dtype=torch.bool)
        remembered[len(record) - len(own) :] = False
        assert self.read is not None
        at = record * sensors + of_record  # records are read in order, the sensors of each in order
        return Reading(
            embedding=self.read.embedding[at],
            log_precision=self.read.log_precision[at],
            mean=self.read.mean[at],
            value=self.read.value[at],
            sensor=of_record,
            owner=owner,
            age_s=age.float(),
            remembered=remembered,
        )

    @torch.inference_mode()
    def predicted(self, name: str, z: Tensor) -> NDArray[np.float32]:
        """Return reconstructions (N, *shape) in SI units."""
        modality = find(self.run.model_config.modalities, name)
        parts = [self.model.reconstruct(part, [name])[name].numpy() for part in z.split(128)]
        return restore(modality, self.run.statistics[name], np.concatenate(parts))

    def covered(self, name: str, posterior: Posterior, at: NDArray[np.int64]) -> Any:
        """Return the share (N,) of measured pixels of `at` within their 90 % intervals."""
        found, seen = self.deviations(name, posterior, at)
        inside = (found <= DEVIATIONS) & seen
        return (inside.sum((1, 2, 3)) / seen.sum((1, 2, 3)).clamp(min=1)).numpy()

    @torch.inference_mode()
    def deviations(
        self, name: str, posterior: Posterior, at: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        """Return how many standard deviations every pixel of `at` is off, and which were measured.

        A pixel is Gaussian with the mean and the noise that the posterior's mean decodes to: noise
        is learned there, and holds what the latent does not know.
        """
        modality = find(self.run.model_config.modalities, name)
        raw = np.asarray(self.data.arrays[name][at])
        truth = torch.from_numpy(normalise(modality, self.run.statistics[name], raw))
        parts = [self.model.decode(z, [name])[name] for z in posterior.mean.split(128)]
        output = torch.cat(parts)
        noise = (self.model.log_scale[name] + output[:, -1].flatten(1)[:, :1, None, None]).exp()
        found = (truth - likelihood_mean(modality, output)).abs() / noise
        seen = torch.from_numpy(measured(modality, in_si(modality, raw)))
        return found, seen.expand_as(found)


def references(data: Dataset, index: NDArray[np.int64], every: int) -> NDArray[np.int64]:
    """Return every k-th of the whole records in `index`, sorted, that have something to remember.

    They come `BEGIN_S` or more after the first whole record of their trajectory.
    """
    whole = holding(data, index, [m.name for m in data.sensors])
    group, stamp_ns = data.group[whole], data.stamp_ns[whole]
    since_ns = stamp_ns - stamp_ns[np.searchsorted(group, group)]
    return whole[since_ns >= BEGIN_S * 1e9][::every]


def over_mean_image(
    error: NDArray[np.float64], base: NDArray[np.float64], group: NDArray[np.int32]
) -> dict[str, Any]:
    """Return an image's errors over the mean image's, paired by trajectory, and each by itself."""
    whole = np.ones(len(error), bool)
    each = [paired_ratio(error, base, group, group == g).mean for g in np.unique(group)]
    return asdict(paired_ratio(error, base, group, whole)) | {"by_trajectory": each}


def over_trajectories(values: NDArray[Any], group: NDArray[np.int32]) -> dict[str, float]:
    """Return the mean of the trajectories' means, and its standard error."""
    means = np.array([values[group == g].mean() for g in np.unique(group)])
    return {"mean": float(means.mean()), "se": standard_error(means)}


def offset_error(
    every: Embedded,
    condition: Condition,
    fitted_on: NDArray[np.int64],
    held_out: NDArray[np.int64],
    mean: Tensor,
) -> float:
    """Return the error [m] of the hole's offset, told from latents (N, Z) of held-out records."""
    target = every.data.targets[TARGET]
    z = every.posterior(fitted_on, condition).mean.numpy()
    linear = probe.fit(TARGET, target.take(fitted_on), z)
    missed = probe.predict(mean.numpy(), *linear) - target.values[held_out]
    return float(np.sqrt(np.square(missed).sum(1).mean()))


def scores(run: Run, data: Dataset, *, training: bool = False) -> Iterator[dict[str, Any]]:
    """Yield a row per condition, of held-out trajectories, or of `training` ones."""
    parts = split_episodes(run.config, data)
    scored = (parts.train, TRAIN_EVERY) if training else (parts.held_out, EVERY)
    at = references(data, *scored)
    fitted_on = references(data, parts.train, TRAIN_EVERY)
    group = data.group[at]
    memory = run.model_config.memory
    every = Embedded(run, data)
    cameras = images(data.sensors)
    truth = {m.name: in_si(m, np.asarray(data.arrays[m.name][at])) for m in cameras}
    base = {
        m.name: squared_error(m, truth[m.name], training_mean(m, data, parts.train, 20_000).mean)[0]
        for m in cameras
    }
    alive_m = 0.0
    names = [m.name for m in cameras]
    horizon_s = (memory or MemoryConfig()).horizon_s
    for condition in conditions(every.model.names, names, horizon_s):
        if memory is None and condition.remembered:
            continue
        q = every.posterior(at, condition)
        row: dict[str, Any] = {"condition": condition.name, "lost": condition.lost}
        row |= {"age_s": condition.age_s, "errors": {}, "coverage": {}}
        for m in cameras:
            error = squared_error(m, truth[m.name], every.predicted(m.name, q.mean))[0]
            row["errors"][m.name] = over_mean_image(error, base[m.name], group)
            row["coverage"][m.name] = over_trajectories(every.covered(m.name, q, at), group)
        if condition.offset and TARGET in data.targets:
            error_m = offset_error(every, condition, fitted_on, at, q.mean)
            alive_m = alive_m or error_m
            row |= {"offset_mm": 1e3 * error_m, "offset_over_alive": error_m / alive_m}
        row["entropy"] = float(0.5 * q.log_var.sum(1).mean())
        yield row


def newest(data: Dataset, name: str, record: int, age_s: float) -> int:
    """Return the newest record of a trajectory that holds `name`, of this age or older."""
    first = int(np.searchsorted(data.group, data.group[record]))
    earlier = np.arange(first, record)
    old = (data.stamp_ns[record] - data.stamp_ns[earlier]) * 1e-9 >= age_s - 1e-6
    return int(earlier[old & recorded_of(data, name)[earlier]][-1])


def held_frames(data: Dataset, run: Run) -> Iterator[dict[str, Any]]:
    """Yield the errors of the last frame, held."""
    parts = split_episodes(run.config, data)
    held_out = references(data, parts.held_out, EVERY)
    group = data.group[held_out]
    for age_s in AGES_S:
        row: dict[str, Any] = {"condition": f"last frame held for {age_s:g} s"}
        row |= {"age_s": age_s, "errors": {}}
        for m in images(data.sensors):
            truth = in_si(m, np.asarray(data.arrays[m.name][held_out]))
            held = np.array([newest(data, m.name, record, age_s) for record in held_out])
            before = in_si(m, np.asarray(data.arrays[m.name][held]))
            mean = training_mean(m, data, parts.train, 20_000).mean
            error, base = (squared_error(m, truth, x)[0] for x in (before, mean))
            row["errors"][m.name] = over_mean_image(error, base, group)
        yield row


def table(kind: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as text."""
    lines = []
    for row in rows:
        errors = "  ".join(
            f"{name} {e['mean']:.3f} ± {e['standard_error']:.3f}"
            for name, e in row["errors"].items()
        )
        inside = "  ".join(f"{100 * c['mean']:.1f} %" for c in row.get("coverage", {}).values())
        offset = (
            f"{row['offset_mm']:.2f} mm, {row['offset_over_alive']:.2f}"
            if "offset_mm" in row
            else ""
        )
        lines.append(f"{kind:11} {row['condition']:48} {errors}  {inside}  {offset}")
    return "\n".join(lines)


def measure(given: argparse.Namespace) -> None:
    """Train what is not trained, score each and write it; then what a held image is worth."""
    steps = dict.fromkeys(KINDS, given.steps) | {"instant": given.instant_steps}
    data = prepare_data(settings("instant", 1, 0), given.episodes)
    start = load_run(given.start) if given.start else None
    begun = {}
    if start:
        start.split(data)  # refuses other data
        steps = dict.fromkeys(KINDS, start.record.step)
        begun = {"start": {"steps": start.record.step, "seconds": start.record.seconds}}
    runs = {}
    for kind in given.kinds:
        after = f".later{given.later:g}" if given.later != LATER else ""
        after += f".after-{start.path.name}" if start else ""
        root = given.runs / f"{kind}-{given.target}.seed{given.seed}{after}"
        config = settings(kind, steps[kind], given.seed, given.target, given.later)
        run, cost = trained(kind, config, given.episodes, root, start)
        runs[kind] = run
        rows = []
        for row in scores(run, data):
            rows.append(row)
            print(table(kind, [row]), flush=True)
        about = {
            "kind": kind,
            "target": given.target,
            "seed": given.seed,
            "seconds": run.record.seconds,
            "later": given.later,
        }
        about |= {"code": source_version(), "versions": versions()}
        result = about | begun | cost | {"batch_size": run.config.batch_size, "rows": rows}
        write(given.out / f"outage-{kind}-{given.target}.seed{given.seed}.json", result)
    held = list(held_frames(data, runs[given.kinds[0]]))
    print(table("hold", held))
    write(given.out / "outage-hold.json", {"kind": "hold", "rows": held})
    if given.picture:
        draw({kind: Embedded(run, data) for kind, run in runs.items()}, given.picture)


def main() -> None:
    """Train what is not trained, score, write the results and the picture."""
    parser = parser_of("benchmarks.outage", __doc__)
    parser.add_argument("episodes", type=Path, help="folder of `smvae simulate`")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1200, help="of the model with memory")
    parser.add_argument("--instant-steps", type=int, default=2100, help="of a single instant")
    parser.add_argument(
        "--later", type=float, default=LATER, help="share of --steps in each later stage"
    )
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["instant", "memory"])
    parser.add_argument(
        "--start", type=Path, help="finished run of kind 'instant' that --kinds begin with"
    )
    parser.add_argument("--target", choices=("observed", "joint"), default="observed")
    parser.add_argument("--picture", type=Path, help="PNG of what is imagined, if wanted")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    given = parser.parse_args()
    if given.start and "instant" in given.kinds:
        parser.error("--start is the single instant: leave 'instant' out of --kinds")
    if not given.start and set(given.kinds) & set(PEERS):
        parser.error(f"{', '.join(PEERS)} need --start, a finished run of kind 'instant'")
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    measure(given)


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result file."""
    write_text(path, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(status_of("benchmarks.outage", main))
