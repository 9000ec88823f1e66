"""Novelty and readout of subsets that nothing was fitted to: one table of 8 and of 16 sensors.

    python -m benchmarks.robots.many_sensors

One latent state is seen by vector sensors of different size, noise and bend. A model is trained on
random subsets for a minute; scales and maps are fitted as `smvae export` and `smvae readout` do.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.objective import elbo
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.model.smvae import SMVAE
from smvae_core.preprocessing import Statistics, measure_statistics, normalise
from smvae_datasets.dataset import ArrayDataset, Target
from smvae_training.calibrate.novelty import calibrate, statistics_of
from smvae_training.calibrate.readout import NORMAL_90, fit
from smvae_training.evaluate import probe
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Records
from smvae_training.steps.subsets import Rows, draw_subsets, fitted_subsets

RESULTS = Path(__file__).parents[1] / "results" / "many_sensors.json"
Trained = tuple[SMVAE, dict[str, Statistics]]
STEPS, BATCH, SUBSETS = 3000, 128, 50


def sensors(count: int) -> tuple[Modality, ...]:
    return tuple(
        Modality(name=f"s{i}", kind="vector", shape=(2 + i % 3,), unit="1") for i in range(count)
    )


def readings(
    modalities: tuple[Modality, ...], state: NDArray[np.float64], rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """Return what sensors of different size, noise and bend read of hidden states (N, 4)."""
    world, arrays = np.random.default_rng(0), {}
    for i, m in enumerate(modalities):
        seen = state @ world.normal(size=(4, m.shape[0]))
        seen = 2.0 * np.tanh(seen) if i % 2 else seen
        noise = 0.1 + 0.9 * world.random()
        arrays[m.name] = (seen + noise * rng.normal(size=seen.shape)).astype(np.float32)
    return arrays


def records(modalities: tuple[Modality, ...], count: int, seed: int) -> ArrayDataset:
    """Return readings of hidden states, and a target that they tell."""
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(count, 4))
    arrays = readings(modalities, state, rng)
    bent = state[:, 2] * (1.0 + 0.5 * state[:, 3])
    place = np.column_stack([state[:, :2], bent]) + 0.05 * rng.normal(size=(count, 3))
    return ArrayDataset(
        sensors=modalities,
        arrays=arrays,
        group=(np.arange(count) // 200).astype(np.int32),
        group_names=tuple(map(str, range(1 + (count - 1) // 200))),
        targets={"place": Target(values=place.astype(np.float32), unit="m")},
    )


def train(modalities: tuple[Modality, ...], steps: int) -> Trained:
    """Return a model trained on random subsets of 20,000 records, and their statistics."""
    torch.manual_seed(0)
    model = SMVAE(
        ModelConfig(modalities=modalities, latent_dim=8, embedding_dim=32, pooling="evidence")
    )
    data = records(modalities, 20_000, 1)
    statistics = {m.name: measure_statistics(m, data.arrays[m.name]) for m in modalities}
    inputs = {
        m.name: torch.from_numpy(normalise(m, statistics[m.name], data.arrays[m.name]))
        for m in modalities
    }
    optimizer, rng = torch.optim.AdamW(model.parameters(), lr=2e-3), np.random.default_rng(0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    everything = np.ones((BATCH, len(modalities)), bool)
    for step in range(steps):
        rows = torch.from_numpy(rng.integers(0, len(data), BATCH))
        present = torch.from_numpy(draw_subsets(everything, rng))
        terms = elbo(
            model,
            {name: x[rows] for name, x in inputs.items()},
            torch.from_numpy(everything),
            present,
            min(1.0, 2.0 * step / steps),
            ObjectiveConfig(),
        )
        optimizer.zero_grad()
        terms.loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval(), statistics


class Latents:
    """Of a model that is no run."""

    def __init__(self, trained: Trained, data: ArrayDataset) -> None:
        everything = np.arange(len(data))
        self._predictor = Predictor(*trained, Records.of(data, everything, len(data)))

    def means(self, subset: tuple[str, ...]) -> Any:
        return self._predictor.posterior(subset).mean.numpy()

    def of_rows(self, rows: Rows) -> Any:
        return self._predictor.posterior_of_rows(*rows).mean.numpy()


def not_sampled(names: tuple[str, ...], seed: int) -> list[tuple[str, ...]]:
    """Return subsets that nothing was fitted to, uniform in size."""
    random, sampled = Random(seed), set(fitted_subsets(names))
    found: dict[tuple[str, ...], None] = {}
    while len(found) < SUBSETS:
        chosen = sorted(random.sample(range(len(names)), random.randint(2, len(names) - 1)))
        if (subset := tuple(names[i] for i in chosen)) not in sampled:
            found[subset] = None
    return list(found)


def alarms(trained: Trained, subsets: list[tuple[str, ...]]) -> dict[str, Any]:
    """Return how often novelty warns of records that are nothing new, and the calibration's time.

    Of records of subsets that were not sampled, where 1 and 0.1 per cent are promised.
    """

    def held_out(size: int, seed: int) -> Records:
        return Records.of(records(trained[0].config.modalities, size, seed), np.arange(size), size)

    started = time.perf_counter()
    novelty = calibrate(*trained, held_out(1500, 2))
    calibrated_s = time.perf_counter() - started
    values = statistics_of(Predictor(*trained, held_out(8000, 4)), subsets)
    scores = [novelty.score(label.split("+"), found) for label, found in values.items()]
    warn = np.array([(x >= novelty.warn).mean() for x in scores])
    error = np.array([(x >= novelty.error).mean() for x in scores])
    return {
        "warn_rate": float(warn.mean()),
        "warn_within_factor_2": float(((warn > 0.005) & (warn < 0.02)).mean()),
        "error_rate": float(error.mean()),
        "calibrate_s": round(calibrated_s, 1),
    }


def read_out(trained: Trained, subsets: list[tuple[str, ...]]) -> dict[str, Any]:
    """Return how well a readout fits subsets that were not sampled, and the time of fitting it.

    Coverage of its 90 % intervals, and its error beside a map fitted to that subset alone.
    """
    modalities, names = trained[0].config.modalities, trained[0].names
    data, asked = records(modalities, 5500, 3), records(modalities, 4000, 6)
    parts = np.arange(4000), np.arange(4000, 5500)

    def source(found: Any) -> Latents:
        chosen = ArrayDataset(
            sensors=modalities,
            arrays=found.prepared,
            group=found.group,
            group_names=data.group_names,
        )
        return Latents(trained, chosen)

    started = time.perf_counter()
    readout = fit(source, names, data, parts, "")
    fitted_s = time.perf_counter() - started
    known, test = Latents(trained, data), Latents(trained, asked)
    truth, held, ratios = asked.targets["place"].values, [], []
    for subset in subsets:
        z = test.means(subset)
        linear = readout.any_subset["place"].of(np.array([n in subset for n in names]))
        wrong = np.abs(probe.predict(z, linear.weights, linear.bias) - truth)
        held.append(float((wrong <= NORMAL_90 * linear.residual).mean()))
        own = probe.fit(
            "place", data.targets["place"].take(parts[0]), known.means(subset)[parts[0]]
        )
        best = np.sqrt(np.square(probe.predict(z, *own) - truth).mean(axis=0))
        ratios.append(float((np.sqrt(np.square(wrong).mean(axis=0)) / best).mean()))
    return {
        "coverage_of_90": float(np.mean(held)),
        "coverage_85_to_95": float(np.mean([0.85 <= share <= 0.95 for share in held])),
        "rmse_to_own_map": float(np.mean(ratios)),
        "fit_s": round(fitted_s, 1),
    }


def measure(count: int, steps: int) -> dict[str, Any]:
    """Return alarm rates, interval coverage and the error against a map of each subset."""
    modalities = sensors(count)
    names = tuple(m.name for m in modalities)
    trained = train(modalities, steps)
    subsets = not_sampled(names, 9)
    told = {"sensors": count, "fitted_subsets": len(fitted_subsets(names))}
    return told | alarms(trained, subsets) | read_out(trained, subsets)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(count, arguments.steps) for count in (8, 16)]
    arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
