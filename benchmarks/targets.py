"""How well targets are decoded from the latent, beside networks that are trained for nothing else.

    smvae simulate EPISODES --episodes 150
    smvae simulate TEST --episodes 20 --seed 1
    python -m benchmarks.targets EPISODES TEST --runs RUNS

Preset `demo` with every target decoded; the same without targets, for what they cost the images;
and of each subset that holds a camera a supervised network for the hole's offset: the same
embedding networks side by side, a head, smooth L1, the same records, batch and steps. All are
scored on the trajectories of TEST, which trained and calibrated nothing. With `--labels 0.1` only
that share of the training records tells targets; `--share 0` trains ours on records as they come,
`--decode-on 0` leaves the decoders of targets as the last step left them, and `--no-rest` decodes
targets from the drawn subset alone (`objective.targets_from_rest`).
What RUNS holds is not trained again; a training that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.command import status_of
from benchmarks.robots.network_sizes import full_networks, small_networks
from benchmarks.runs import check_settings
from smvae_core.estimates import calibrated
from smvae_core.files import write_bytes
from smvae_core.modality import all_subsets, subset_name
from smvae_core.model.networks import embedding
from smvae_core.target import DecodedTarget
from smvae_datasets.dataset import Dataset
from smvae_datasets.vision_touch.prepared import PreparedEpisodes, prepare_episodes
from smvae_training.calibrate.estimates import calibrate_estimates, decoded_targets
from smvae_training.config import DataConfig, TrainConfig
from smvae_training.evaluate.baselines import TrainingMean, training_mean
from smvae_training.evaluate.measures import images, squared_error
from smvae_training.evaluate.predict import CHUNK, Predictor
from smvae_training.evaluate.records import Records
from smvae_training.evaluate.results import write_json
from smvae_training.evaluate.targets import score
from smvae_training.hardware import source_version, versions
from smvae_training.resume import check_folder
from smvae_training.run import Run, RunError, RunPaths, RunRecord, load_run, split_episodes
from smvae_training.steps.data import batch_order, fingerprint, gather
from smvae_training.steps.normalise import BatchNormaliser
from smvae_training.steps.subsets import generator
from smvae_training.steps.targets import declare
from smvae_training.trainer import train_on

RESULTS = Path(__file__).parent / "results" / "targets.json"
#: What the supervised networks are trained for.
OFFSET = "offset"
#: Records that are scored at most, and that calibrate.
SCORED, CALIBRATING = 2500, 3000
#: Least share of each batch that is labelled, and how long decoders learn on.
SHARE, DECODE_ON = DataConfig.labelled_share, DataConfig.decode_on
#: Stream of the random choice of labelled records.
LABEL_STREAM = 90


def settings(
    steps: int,
    seed: int,
    share: float,
    decode_on: float = DECODE_ON,
    *,
    targets: bool,
    rest: bool = True,
    small: bool = False,
) -> TrainConfig:
    """Return settings with every target of the data or none.

    Args:
        steps: Of the training; 0: the preset's.
        seed: Of the run.
        share: As `data.labelled_share`.
        decode_on: As `data.decode_on`.
        targets: Whether they are decoded.
        rest: As `objective.targets_from_rest`.
        small: Whether networks are those of docs/shared_autonomy.md, else of full size.
    """
    config = small_networks() if small else full_networks()
    data = replace(config.data, labelled_share=share, decode_on=decode_on)
    return replace(
        config,
        data=replace(data, targets=("all",) if targets else ()),
        objective=replace(config.objective, targets_from_rest=rest),
        log=replace(config.log, tensorboard=False),
        max_steps=steps or config.max_steps,
        seed=seed,
    )


def with_labels(data: PreparedEpisodes, share: float, seed: int) -> PreparedEpisodes:
    """Return the records, of which this share tell their targets, drawn at random."""
    told = generator(seed, LABEL_STREAM).random(len(data)) < share
    targets = {
        name: replace(t, values=np.where(told[:, None], t.values, np.float32(np.nan)))
        for name, t in data.targets.items()
    }
    return replace(data, targets=targets)


def trained(config: TrainConfig, data: Dataset, folder: Path) -> Run:
    """Return the finished run in a folder, trained or continued as needed.

    Raises:
        RunError: If it has other settings.
    """
    paths = RunPaths(folder)
    if not paths.config.is_file() or not RunRecord.read(paths.config).finished:
        old = check_folder(paths, config, resume=paths.begun, overwrite=False)
        train_on(config, data, paths, old)
    else:
        check_settings(folder, RunRecord.read(paths.config).config, config, "Give other --runs")
    return load_run(folder)


class Supervised(nn.Module):
    """The embedding networks of a subset side by side, and a head to the numbers of a target."""

    def __init__(self, config: TrainConfig, subset: tuple[str, ...], target: DecodedTarget) -> None:
        super().__init__()
        model = config.model
        chosen = {m.name: m for m in model.modalities if m.name in subset}
        self.embeddings = nn.ModuleDict({n: embedding(m, model) for n, m in chosen.items()})
        self.head = nn.Sequential(
            nn.SiLU(),
            nn.Linear(model.embedding_dim * len(chosen), 256),
            nn.SiLU(),
            nn.Linear(256, target.size),
        )

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the target (B, K) in deviations of the training records."""
        found = [network(batch[name]).float() for name, network in self.embeddings.items()]
        return self.head(torch.cat(found, dim=1))


def made_of(config: TrainConfig, data: Dataset, index: NDArray[np.int64]) -> dict[str, int | str]:
    """Return what decides a supervised network of records `index`: settings, records, labels.

    What else decides our training, as its share of labelled records, is not in it.
    """
    model = json.dumps(config.to_json()["model"], sort_keys=True).encode()
    labels = np.ascontiguousarray(data.targets[OFFSET].values[index]).tobytes()
    records = fingerprint(data).encode() + index.tobytes() + labels
    return {
        "steps": config.max_steps,
        "batch size": config.batch_size,
        "seed": config.seed,
        "model": hashlib.sha256(model).hexdigest()[:12],
        "records": hashlib.sha256(records).hexdigest()[:12],
    }


def supervised(
    config: TrainConfig, data: Dataset, run: Run, subset: tuple[str, ...], file: Path
) -> tuple[Supervised, BatchNormaliser, DecodedTarget]:
    """Return a network trained on the run's training records, from its file where that is there.

    Raises:
        RunError: If the file holds one of other settings, records or labels.
    """
    index = split_episodes(config, data).train
    values = data.targets[OFFSET].values
    target = declare(OFFSET, data.targets[OFFSET].take(index))
    index = index[data.targets[OFFSET].known[index]]
    torch.manual_seed(config.seed)
    network = Supervised(config, subset, target)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    normaliser = BatchNormaliser(config.model.modalities, run.statistics, channels_last=True)
    made_by = made_of(config, data, index)
    if file.is_file():
        kept = torch.load(file, weights_only=True)
        found = kept.get("made by", {})
        if what := [f"{k} {found.get(k)} -> {v}" for k, v in made_by.items() if found.get(k) != v]:
            raise RunError(file, f"was trained otherwise: {', '.join(what)}. Give other --runs")
        network.load_state_dict(kept["weights"])
        return network.eval(), normaliser, target
    arrays = {name: data.arrays[name] for name in subset}
    order = batch_order(index, config.batch_size, config.seed)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=True)
    mean, deviation = torch.tensor(target.mean), torch.tensor(target.deviation)
    for step in range(config.max_steps):
        for group in optimizer.param_groups:
            done = step / config.max_steps
            group["lr"] = 1e-3 * min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * done))
        rows = order.records(step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = network(normaliser(gather(arrays, rows))).float()
        wanted = (torch.from_numpy(values[rows]) - mean) / deviation
        loss = nn.functional.smooth_l1_loss(found, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    file.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    torch.save({"weights": network.state_dict(), "made by": made_by}, content)
    write_bytes(file, content.getbuffer())
    return network.eval(), normaliser, target


@torch.inference_mode()
def predicted(
    network: Supervised, normaliser: BatchNormaliser, target: DecodedTarget, records: Records
) -> NDArray[np.float64]:
    """Return what a supervised network says (N, K), in the target's unit."""
    arrays = {name: records.prepared[name] for name in network.embeddings}
    parts = []
    for first in range(0, len(records), CHUNK):
        rows = np.arange(first, min(first + CHUNK, len(records)))
        parts.append(network(normaliser(gather(arrays, rows))))
    found = torch.cat(parts).double().numpy()
    return np.asarray(np.array(target.mean) + np.array(target.deviation) * found)


def of_model(run: Run, data: Dataset, test: Records) -> dict[str, Any]:
    """Return the scores of a run's targets on the test records, by subset and target."""
    held_out = Records.of(data, run.split(data).held_out, CALIBRATING)
    calibration = calibrate_estimates(Predictor(run.model, run.statistics, held_out), held_out)
    predictor = Predictor(run.model, run.statistics, test)
    found: dict[str, Any] = {}
    for subset in all_subsets(run.model.names):
        label = subset_name(subset)
        decoded = decoded_targets(run.model, predictor.posterior(subset))
        found[label] = {}
        for target in run.model_config.targets:
            one = decoded[target.name]
            factor = calibration.factor(subset, target.name)
            pairs = [
                calibrated(target, value, covariance, factor, label)
                for value, covariance in zip(one.value, one.covariance, strict=True)
            ]
            value, std = (np.array([getattr(p, k) for p in pairs]) for k in ("value", "std"))
            found[label][target.name] = score(target, test.targets[target.name], value, std)
            # over all records too, for the comparison with networks that always answer
            found[label][target.name] |= {
                "always": score(target, test.targets[target.name], one.value, std)
            }
    return found


def image_errors(run: Run, test: Records, means: Mapping[str, TrainingMean]) -> dict[str, Any]:
    """Return the squared error of each image from each subset over that of the mean image."""
    predictor = Predictor(run.model, run.statistics, test)
    found: dict[str, Any] = {}
    for subset in all_subsets(run.model.names):
        mean = predictor.posterior(subset).mean
        found[subset_name(subset)] = {
            m.name: float(
                squared_error(m, test.truth(m), predictor.reconstruct(m.name, mean))[0].mean()
                / squared_error(m, test.truth(m), means[m.name].mean)[0].mean()
            )
            for m in images(run.model_config.modalities)
        }
    return found


def cameras(config: TrainConfig) -> list[tuple[str, ...]]:
    """Return the subsets that hold a camera."""
    seeing = {m.name for m in images(config.model.modalities)}
    names = tuple(m.name for m in config.model.modalities)
    return [s for s in all_subsets(names) if seeing & set(s)]


def row(
    labels: str,
    seed: int,
    share: float,
    decode_on: float = DECODE_ON,
    rest: bool = False,
    small: bool = False,
) -> str:
    """Return what a training is called among the results, the usual of the first ones left out."""
    parts = [f"labels {labels}", f"seed {seed}" if seed else ""]
    parts += [f"share {share:g}" if share != SHARE else ""]
    parts += [f"decode on {decode_on:g}" if decode_on != DECODE_ON else "", "rest" if rest else ""]
    parts += ["small" if small else ""]
    return ", ".join(filter(None, parts))


def run_name(share: float, decode_on: float, rest: bool = False) -> str:
    """Return the folder of our training; what is usual is left out."""
    name = "targets" if share == SHARE else f"targets-{share:g}"
    name = f"{name}-rest" if rest else name
    return name if decode_on == DECODE_ON else f"{name}-decode-on-{decode_on:g}"


def measure(given: argparse.Namespace) -> None:
    """Train what is missing and score it; each result is written once it is there."""
    config = settings(
        given.steps,
        given.seed,
        given.share,
        given.decode_on,
        targets=True,
        rest=given.rest,
        small=given.small,
    )
    sensors = config.model.modalities
    data = prepare_episodes(given.episodes, sensors, progress=False)
    unseen = prepare_episodes(given.test, sensors, progress=False)
    test = Records.of(unseen, np.arange(len(unseen)), SCORED)
    labelled = with_labels(data, given.labels, given.seed) if given.labels < 1.0 else data
    of = "all" if given.labels >= 1.0 else f"{given.labels:g}"
    folder = given.runs / f"{of}-{config.max_steps}-{given.seed}{'-small' if given.small else ''}"
    ours = run_name(given.share, given.decode_on, given.rest)
    results = json.loads(given.out.read_text()) if given.out.is_file() else {}
    name = row(of, given.seed, given.share, given.decode_on, given.rest, given.small)
    mine = results.setdefault(name, {})

    def keep(name: str, value: Any) -> None:
        mine.setdefault("settings", {}).update(
            steps=config.max_steps,
            batch_size=config.batch_size,
            seed=given.seed,
            labelled_share=given.share,
            decode_on=given.decode_on,
            targets_from_rest=given.rest,
            small=given.small,
            trajectories=len(data.group_names),
            records=len(data),
            test_trajectories=len(unseen.group_names),
            test_records=len(test),
        )
        mine[name] = value
        mine["made by"] = {"source": source_version(), "versions": versions()}
        write_json(given.out, results)

    run = trained(config, labelled, folder / ours)
    keep("targets", of_model(run, labelled, test))
    train = split_episodes(config, data).train
    means = {m.name: training_mean(m, data, train, CALIBRATING) for m in images(sensors)}
    keep("images", image_errors(run, test, means))
    wanted = given.subsets
    chosen = [s for s in cameras(config) if wanted is None or subset_name(s) in wanted]
    scores: dict[str, Any] = mine.get("supervised", {})
    for subset in sorted(chosen, key=len):
        label = subset_name(subset)
        network, normaliser, target = supervised(
            config, labelled, run, subset, folder / "supervised" / f"{label}.pt"
        )
        value = predicted(network, normaliser, target, test)
        scores[label] = score(target, test.targets[OFFSET], value, np.full(value.shape, np.nan))
        keep("supervised", scores)
    if not given.no_plain:
        without = settings(given.steps, given.seed, given.share, targets=False, small=given.small)
        plain = trained(without, data, folder / "plain")
        keep("images without targets", image_errors(plain, test, means))


def main() -> None:
    """Train what is missing, score, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("episodes", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=0, help="of each training; 0: the preset's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--labels", type=float, default=1.0, help="share of labelled records")
    parser.add_argument(
        "--share", type=float, default=SHARE, help="least share of a batch that is labelled"
    )
    parser.add_argument(
        "--decode-on", type=float, default=DECODE_ON, help="share of the steps; 0: not at all"
    )
    parser.add_argument(
        "--rest",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="decode targets from the rest of a record too",
    )
    parser.add_argument(
        "--small", action="store_true", help="the networks of docs/shared_autonomy.md, 32 pixels"
    )
    parser.add_argument(
        "--subsets", nargs="*", help="supervised ones; all with a camera by default"
    )
    parser.add_argument("--no-plain", action="store_true", help="leave out the one without targets")
    parser.add_argument("--out", type=Path, default=RESULTS)
    torch.set_num_threads(1)
    measure(parser.parse_args())


if __name__ == "__main__":
    sys.exit(status_of("python -m benchmarks.targets", main))
