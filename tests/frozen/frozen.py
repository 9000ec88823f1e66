"""What the frozen run, bundle and bag give; for the tests here, and for `make.py` that froze it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.modality import all_subsets, subset_name
from smvae_core.runtime import Runtime

FOLDER = Path(__file__).parent
Arrays = dict[str, NDArray[Any]]
#: Few records, so that an evaluation takes seconds.
FEW = ["--max-records", "20", "--likelihood-records", "2", "--samples", "1"]
#: Settings of `smvae train --preset debug` whose first four losses are frozen.
VARIANTS: dict[str, list[str]] = {
    "debug": [],
    "evidence, noise decoded, complement": [
        *("--model.pooling", "evidence", "--model.decoded-noise"),
        *("--objective.complement", "--objective.balance", "0.5"),
    ],
    "joint target, attention, full covariance": [
        *("--model.pooling", "evidence_attention", "--model.covariance", "full"),
        *("--objective.target", "joint", "--objective.samples", "2"),
    ],
}
#: Presets whose models' first random numbers are frozen.
BUILT = ("debug", "vision_touch", "mnist", "fashion", "celeba", "vision_tasks")
SAMPLES = 3
#: Of the latents.npz of `smvae evaluate-bag`.
COLUMNS = ("stamp_ns", "sample_stamp_ns", "epoch", "state", "mean", "log_var", "modalities")


def make_samples() -> Arrays:
    """Return raw samples in SI units: as recorded, and from cameras that are not square.

    The depth of the last two reaches 3.5 m and holds pixels without return, as 0 and as NaN.
    """
    rng = np.random.default_rng(5)
    found: Arrays = {}
    for number, (height, width) in enumerate(((128, 128), (96, 160), (240, 320))):
        blocks = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        depth = rng.uniform(0.3, 3.5 if number else 1.0, (height // 8, width // 8))
        depth[0, :3] = 0.0
        depth[1, :3] = np.nan if number else 0.0
        found |= {
            f"{number}/rgb": blocks.repeat(8, axis=0).repeat(8, axis=1),
            f"{number}/depth": depth.astype(np.float32).repeat(8, axis=0).repeat(8, axis=1),
            f"{number}/force": rng.normal(0.0, 5.0 * (number + 1), (32, 6)).astype(np.float32),
            f"{number}/action": rng.normal(0.0, 0.02, 4).astype(np.float32),
        }
    return found


def load(file: str) -> Arrays:
    """Return the arrays of a frozen file."""
    with np.load(FOLDER / file, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


def samples(names: tuple[str, ...]) -> list[Arrays]:
    """Return the frozen raw samples, each by modality."""
    stored = load("samples.npz")
    return [{n: stored[f"{number}/{n}"] for n in names} for number in range(SAMPLES)]


def latents(bundle: Path) -> Arrays:
    """Return posterior, novelty and readout of all subsets of all samples, and images drawn."""
    runtime = Runtime(bundle)
    readout = runtime.bundle.readout()
    names = runtime.manifest.names
    found: Arrays = {}
    for number, sample in enumerate(samples(names)):
        for name in names:
            runtime.observe(name, sample[name])
        for subset in all_subsets(names):
            posterior = runtime.posterior(subset)
            read = readout.apply(subset, posterior.mean, posterior.variance)
            of = f"{number}/{subset_name(subset)}"
            found[f"{of}/mean"] = posterior.mean
            found[f"{of}/log_var"] = posterior.log_var
            found[f"{of}/novelty"] = np.array(runtime.novelty(subset, posterior))
            found[f"{of}/offset_m"] = read["offset"].value
            found[f"{of}/contact"] = read["contact"].value[0]
        for name in names:  # of the last subset: all of them
            found[f"{number}/{name}"] = runtime.reconstruct(name, posterior.mean)
    return found


def ratios(results: Path) -> dict[str, dict[str, float]]:
    """Return the mean ratio to the mean image's error, subset -> target, from results.json."""
    found = json.loads(results.read_text(encoding="utf-8"))["ratios"]
    return {
        subset: {target: value["all"]["whole"]["mean"] for target, value in targets.items()}
        for subset, targets in found.items()
    }


def first_losses(variant: str, episodes: Path, run: Path) -> list[float]:
    """Return the losses of four steps of a variant of `debug` at seed 0 on the frozen episodes."""
    from smvae_training.cli import main

    arguments = ["--data", str(episodes), "--out", str(run), "--no-report", "--seed", "0"]
    assert main(["train", "--preset", "debug", *arguments, *VARIANTS[variant]]) == 0
    rows = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(row)["loss"] for row in rows]


def construction(preset: str) -> dict[str, list[Any]]:
    """Return key -> [shape, mean magnitude] of a new model at seed 0, in order of its keys."""
    import torch

    from smvae_core.model.smvae import SMVAE
    from smvae_training.presets import PRESETS

    torch.manual_seed(0)
    model = SMVAE(PRESETS[preset]().model)
    return {
        key: [list(value.shape), round(float(value.double().abs().mean()), 7)]
        for key, value in model.state_dict().items()
    }


def bag_latents(bag: Path, bundle: Path) -> Arrays:
    """Return what `smvae evaluate-bag` makes of a bag: stamps, states and posteriors."""
    from smvae_training.cli import main

    with tempfile.TemporaryDirectory() as out:
        words = [str(bag), "--bundle", str(bundle), "--out", out, "--no-video", "--subsets", "none"]
        # as in its day: at most 30 latents per second, and a novel set stays whole
        parameters = Path(out, "parameters.yaml")
        parameters.write_text("/**: {ros__parameters: {leave_out_suspects: false}}\n", "utf-8")
        words += ["--max-rate-hz", "30", "--params-file", str(parameters)]
        assert main(["evaluate-bag", *words]) == 0
        with np.load(Path(out, "latents.npz"), allow_pickle=False) as data:
            return {name: data[name] for name in COLUMNS}
