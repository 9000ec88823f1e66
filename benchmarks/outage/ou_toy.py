"""Whether memory learns the Kalman filter: `python -m benchmarks.outage.ou_toy`.

Four latents are Ornstein-Uhlenbeck processes of variance 1. Up to eight linear sensors of 10 to
1000 Hz see them, with gaps, and fall silent: none, one of them, or all, for up to 2 s. The decoder
is known. So the evidence lower bound of a context is computed without sampling: log p(x) -
KL(q || Kalman's posterior). It trains the set encoder, its memory and the embedding networks. At
first a context has few samples per sensor, at the end as many as the tests: all samples of 0.3 s.

Printed and written by number of sensors, silence and age, for each latent by itself: the learned
variance over Kalman's, and the mean's squared error over Kalman's. Last whether both keep the
limits: variance 0.98 to 1.1, error up to 1.1 of Kalman's. Minutes on one CPU core. A training that
was stopped goes on from its checkpoint in `--runs`; one that is finished is tested alone.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import nn

from benchmarks.command import options_of, status_of
from benchmarks.paper.linear_gaussian import LinearGaussian, linear_gaussian
from smvae_core.files import write_bytes, write_text
from smvae_core.modality import Modality
from smvae_core.model import Elements, MemoryConfig, ModelConfig, Posterior
from smvae_core.model.evidence import Evidence
from smvae_core.model.memory.belief import believe
from smvae_core.model.memory.memory import Memory
from smvae_core.model.memory.stamps import Stamps
from smvae_core.model.networks import embedding
from smvae_core.model.set_encoder import SetEncoder
from smvae_training.hardware import source_version, versions
from smvae_training.run import RunError

NAME = "outage-ou-toy.json"
RATES_HZ = (10.0, 1000.0, 30.0, 100.0, 100.0, 30.0, 1000.0, 10.0)
#: Correlation times of the latents.
TIMES_S = (0.2, 0.6, 2.0, 6.0)
#: Noise of a sensor's sample grows with its rate: a second of any tells about as much.
REFERENCE_HZ = 10.0
#: What is tested is seen for so long, with a gap of a tenth of a second.
SEEN_S, GAP_S = 0.3, (0.1, 0.2)
AGES_S = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
SENSORS = range(1, len(RATES_HZ) + 1)
#: Least and largest variance over Kalman's, and the largest squared error of the mean over his.
LIMITS = {"variance": (0.98, 1.1), "error": (1.0, 1.1)}
#: In training: samples of a sensor at the start, and how far back they reach.
FEW, REACH_S = 10, 1.0
#: Steps between checkpoints.
CHECKPOINT_EVERY = 50
#: The sensor that is silent, or all.
Silent = int | Literal["all"]


class Contexts:
    """Stamped samples of a batch, what the latents are at its reference times, and Kalman's law."""

    def __init__(
        self,
        toy: LinearGaussian,
        owner: torch.Tensor,
        sensor: torch.Tensor,
        age_s: torch.Tensor,
        size: int,
        rng: torch.Generator,
    ) -> None:
        stamps = Stamps.of(owner, age_s, size)
        elapsed, time_s = stamps.elapsed_s, torch.tensor(TIMES_S, dtype=torch.float64)
        noise = torch.randn(*stamps.age_s.shape, len(TIMES_S), generator=rng, dtype=torch.float64)
        keep = torch.exp(-elapsed.unsqueeze(-1) / time_s)
        z = [noise[:, 0]]
        for step in range(1, noise.shape[1]):
            spread = (1.0 - keep[:, step].square()).sqrt()
            z.append(keep[:, step] * z[-1] + spread * noise[:, step])
        self.z = z[-1]
        scale = toy.noise * torch.tensor(RATES_HZ).div(REFERENCE_HZ).sqrt()
        gain = toy.gain.double()
        seen = torch.einsum("noz,nz->no", gain[sensor], torch.stack(z, 1)[owner, stamps.column])
        self.x = seen + scale[sensor, None] * torch.randn(seen.shape, generator=rng)
        self.owner, self.sensor, self.age_s, self.size = owner, sensor, age_s, size
        squares = gain.square().sum(1)
        self.spread = (gain.square().sum(2).mean(1) + scale.square()).sqrt()
        log_power = torch.full((*stamps.age_s.shape, len(scale), len(TIMES_S)), -math.inf).double()
        told = torch.zeros_like(log_power)
        at = (owner, stamps.column, sensor)
        log_power[at] = (squares / scale[:, None].square()).log()[sensor]
        told[at] = torch.einsum("noz,no->nz", gain[sensor], self.x) / squares[sensor]
        once = torch.full((len(scale), len(TIMES_S)), 1e-7, dtype=torch.float64)
        still = torch.zeros_like(noise)
        log_precision, mean = believe(
            log_power, told, still, elapsed, torch.ones_like(time_s), time_s, once
        )
        self.exact = Posterior(mean, -nn.functional.softplus(log_precision))

    def elements(self, model: Filter) -> Elements:
        rows = {n: self.sensor == i for i, n in enumerate(model.memory.names)}
        rows = {n: r for n, r in rows.items() if r.any()}
        shown = (self.x / self.spread[self.sensor, None]).float()  # normalised, as robots' are
        embedded = {n: model.embeddings[n](shown[r]) for n, r in rows.items()}
        owner, age = ({n: x[r] for n, r in rows.items()} for x in (self.owner, self.age_s))
        return Elements(embedded, owner, age)


class Filter(nn.Module):
    """The package's embedding networks, set encoder and memory, one `vector` per sensor."""

    def __init__(self, toy: LinearGaussian, embedding_dim: int = 64) -> None:
        super().__init__()
        shape = (int(toy.gain.shape[1]),)
        modalities = tuple(
            Modality(name=f"sensor_{m}", kind="vector", shape=shape, unit="1")
            for m in range(toy.num_sensors)
        )
        memory = MemoryConfig(width=4, time_constants_s=(0.05, 0.2, 0.8, 3.2))
        config = ModelConfig(
            modalities=modalities,
            latent_dim=len(TIMES_S),
            embedding_dim=embedding_dim,
            pooling="evidence",
            memory=memory,
        )
        self.embeddings = nn.ModuleDict({m.name: embedding(m, config) for m in modalities})
        self.set_encoder = SetEncoder(config)
        self.memory = Memory(config, memory)

    @property
    def evidence(self) -> Evidence:
        assert self.set_encoder.evidence is not None  # pooling of every model with memory
        return self.set_encoder.evidence

    def learned(self) -> dict[str, Any]:
        """Return the times and exponents of the filter."""
        return {
            "drift_s": self.memory.log_drift_s.exp().tolist(),
            "repeat_s": self.memory.log_repeat_s.exp().tolist(),
            "exponent": self.evidence.exponent().tolist(),
        }

    def forward(self, contexts: Contexts) -> Posterior:
        present = torch.zeros(contexts.size, len(self.embeddings), dtype=torch.bool)
        now = torch.zeros(*present.shape, self.memory.way.out_features)
        reading = self.memory.read(self.evidence, now, present, contexts.elements(self))
        return self.memory.combine(self.set_encoder, reading, present)


def training_contexts(
    toy: LinearGaussian, size: int, most: int, rng: np.random.Generator
) -> Contexts:
    """Draw contexts of 1 to 8 sensors of up to `most` samples each, some silent for up to 2 s.

    Their stamps are of whole milliseconds: the fewer differ, the less time a step takes.
    """
    shape = (size, len(RATES_HZ))
    sensors = rng.integers(1, shape[1] + 1, (size, 1))
    chosen = rng.random(shape).argsort(1).argsort(1) < sensors
    count = np.minimum(rng.integers(1, most + 1, shape), np.multiply(RATES_HZ, REACH_S))
    index = np.arange(most)
    kept = (index == 0) | (rng.random((*shape, most)) > 0.2)
    owner, sensor, nth = (chosen[..., None] & kept & (index < count[..., None])).nonzero()
    silent = [rng.uniform(0.0, 2.0, x) * (rng.random(x) < 0.3) for x in ((size, 1), shape)]
    newest = np.maximum(*silent) + rng.random(shape) / RATES_HZ
    ages = newest[owner, sensor] + nth / np.array(RATES_HZ)[sensor]
    return _contexts(toy, owner, sensor, ages.round(3), size, rng)


def contexts_to_test(
    toy: LinearGaussian, sensors: int, silent: Silent, age_s: float, size: int, seed: int
) -> Contexts:
    """Return contexts of the first sensors at full rate, `silent` of them silent for `age_s`."""
    rng, found = np.random.default_rng([seed, sensors]), list[tuple[int, int, float]]()
    for owner in range(size):
        for sensor in range(sensors):
            since = age_s if silent in ("all", sensor) else 0.0
            rate = RATES_HZ[sensor]
            ages = (np.arange(int(SEEN_S * rate)) + rng.uniform()) / rate
            kept = ages[(ages < GAP_S[0]) | (ages > GAP_S[1])]
            found += [(owner, sensor, age + since) for age in kept]
    whose, which, age = (np.array(x) for x in zip(*found, strict=True))
    return _contexts(toy, whose, which, age, size, rng)


def _contexts(
    toy: LinearGaussian,
    owner: NDArray[np.int64],
    sensor: NDArray[np.int64],
    age_s: NDArray[np.float64],
    size: int,
    rng: np.random.Generator,
) -> Contexts:
    torch_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
    whose, which, age = (torch.from_numpy(x) for x in (owner, sensor, age_s))
    return Contexts(toy, whose, which, age, size, torch_rng)


class Training:
    """A filter, and all else that a step changes."""

    def __init__(self, toy: LinearGaussian, *, steps: int, batch: int, most: int, seed: int):
        torch.manual_seed(seed)
        self.toy, self.model, self.rng = toy, Filter(toy), np.random.default_rng(seed)
        self.about = {"steps": steps, "batch": batch, "most": most, "seed": seed}
        times = [p for n, p in self.model.named_parameters() if n.endswith("_s")]
        others = [p for n, p in self.model.named_parameters() if not n.endswith("_s")]
        groups: list[dict[str, Any]] = [{"params": others}, {"params": times, "lr": 5e-2}]
        self.optimizer = torch.optim.Adam(groups, 5e-3)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)
        self.done = 0

    def step(self) -> None:
        """Take one step, on contexts that no step before has seen."""
        steps, most = self.about["steps"], self.about["most"]
        few = min(FEW, most)
        limit = few * (most / few) ** min(1.0, 1.5 * self.done / steps)
        longest = round(limit ** self.rng.uniform(0.5, 1.0))
        contexts = training_contexts(self.toy, self.about["batch"], longest, self.rng)
        loss = self.model(contexts).kl_to(contexts.exact).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()
        self.schedule.step()
        self.done += 1

    def save(self, path: Path) -> None:
        """Write all of it, atomically."""
        content = io.BytesIO()
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        drawn = json.dumps(self.rng.bit_generator.state)
        torch.save({"about": self.about, "done": self.done, "rng": drawn} | parts, content)
        write_bytes(path, content.getbuffer())

    def load(self, path: Path) -> None:
        """Go on from a file.

        Raises:
            RunError: If it is of a training with other settings.
        """
        found = torch.load(path, weights_only=True)
        if found["about"] != self.about:
            raise RunError(
                path,
                f"is of {found['about']}, expected {self.about}: remove it or give other --runs",
            )
        self.done, self.rng.bit_generator.state = found["done"], json.loads(found["rng"])
        for name, part in self._parts().items():
            part.load_state_dict(found[name])

    def _parts(self) -> dict[str, Any]:
        return {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule}


def train(
    toy: LinearGaussian, *, steps: int, batch: int, most: int, seed: int, runs: Path
) -> Filter:
    """Maximise the lower bound of random contexts; times learn 10 times as fast as networks.

    A step draws how many samples a sensor has at most, between the root of a limit and the limit,
    which grows to `most` in the first two thirds of the steps: what the many samples of a sensor
    tell together is learned while they are still few (docs/decisions/memory.md).

    Args:
        toy: The sensors.
        steps: Of the whole training.
        batch: Contexts of a step.
        most: Samples of a sensor in a context.
        seed: Of the training.
        runs: Folder of checkpoints, made if missing; the one of this seed is continued.

    Raises:
        RunError: If that one is of other settings.
    """
    training = Training(toy, steps=steps, batch=batch, most=most, seed=seed)
    kept = runs / f"seed{seed}.ckpt"
    runs.mkdir(parents=True, exist_ok=True)
    if kept.is_file():
        training.load(kept)
    for _ in track(range(training.done, steps), f"seed {seed}"):
        training.step()
        if training.done % CHECKPOINT_EVERY == 0 or training.done == steps:
            training.save(kept)
    return training.model.eval()


@torch.no_grad()
def compare(
    model: Filter, toy: LinearGaussian, sensors: int, silent: Silent, age_s: float, size: int
) -> dict[str, Any]:
    """Return how far the learned posterior is from Kalman's, of each latent by itself.

    Of what a context holds, the expected squared error of the learned mean is Kalman's variance and
    the square of the distance between the means: no draw of the latents makes it uncertain.
    """
    contexts = contexts_to_test(toy, sensors, silent, age_s, size, seed=1)
    got, exact = model(contexts), contexts.exact
    off = (got.mean - exact.mean).square()
    return {
        "sensors": sensors,
        "silent": silent,
        "age_s": age_s,
        "variance_ratio": (got.variance / exact.variance).mean(0).tolist(),
        "error_ratio": (1.0 + off.mean(0) / exact.variance.mean(0)).tolist(),
        "mean_off_by_sigma": (off / exact.variance).mean(0).sqrt().tolist(),
        "nats_lost": float(got.kl_to(exact).mean()),
    }


def verdict(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the extremes of any latent, age and silence, and what of LIMITS they miss."""
    found = {
        "variance": [f([v for r in rows for v in r["variance_ratio"]]) for f in (min, max)],
        "error": [f([v for r in rows for v in r["error_ratio"]]) for f in (min, max)],
    }
    missed = {}
    for name, (least, most) in LIMITS.items():
        lowest, highest = found[name]
        if lowest < least:
            missed[f"{name} below"] = least - lowest
        if highest > most:
            missed[f"{name} above"] = highest - most
    return found | {"missed_by": missed}


@dataclass(frozen=True, kw_only=True)
class ToyOptions:
    """What to train; everything by default."""

    seeds: tuple[int, ...] = (0,)
    steps: int = 1500
    batch: int = 64
    most: int = 200
    """Samples of a sensor in a context of training."""
    contexts: int = 64
    """Tested per number of sensors, silence and age."""
    runs: Path = Path("runs/ou-toy")
    """Folder of checkpoints."""
    out: Path = Path(__file__).parents[1] / "results" / NAME


def tested(model: Filter, toy: LinearGaussian, seed: int, size: int) -> Iterator[dict[str, Any]]:
    """Yield the comparison of every number of sensors, silence and age."""
    for sensors in SENSORS:
        for silent in ("all", *range(sensors if sensors > 1 else 0)):
            for age_s in AGES_S if silent == "all" else AGES_S[1:]:
                yield {"seed": seed} | compare(model, toy, sensors, silent, age_s, size)


def line(row: Mapping[str, Any]) -> str:
    """Return a comparison as text."""
    variance, error = row["variance_ratio"], row["error_ratio"]
    return (
        f"{row['seed']:4} {row['sensors']:7} {row['silent']:>6} {row['age_s']:6.2f}   "
        f"{min(variance):.3f} to {max(variance):.3f}        {min(error):.3f} to {max(error):.3f}"
        f"     {max(row['mean_off_by_sigma']):.3f} sigma"
    )


def main() -> None:
    """Train, print the comparison, and write the numbers."""
    options = options_of(ToyOptions, "benchmarks.outage.ou_toy", __doc__)
    torch.set_num_threads(1)
    toy = linear_gaussian(len(RATES_HZ), len(TIMES_S))
    rows, learned = [], []
    print("seed sensors silent  age s   variance / Kalman's    error / Kalman's   mean off by")
    for seed in options.seeds:
        shape = {"steps": options.steps, "batch": options.batch, "most": options.most}
        model = train(toy, **shape, seed=seed, runs=options.runs)
        learned.append(model.learned())
        for row in tested(model, toy, seed, options.contexts):
            rows.append(row)
            print(line(row), flush=True)
    verdicts = {n: verdict([r for r in rows if r["sensors"] == n]) for n in SENSORS}
    for sensors, found in verdicts.items():
        (least, most), (_, error) = found["variance"], found["error"]
        missed = [f"{k} by {v:.3f}" for k, v in found["missed_by"].items()]
        print(
            f"sensors {sensors}: variance {least:.3f} to {most:.3f}, error up to {error:.3f} of "
            f"Kalman's: {'misses ' + ', '.join(missed) if missed else 'holds'}"
        )
    record = {
        "question": __doc__.splitlines()[0],
        "steps": options.steps,
        "batch": options.batch,
        "most": options.most,
        "contexts": options.contexts,
        "times_s": TIMES_S,
        "rates_hz": RATES_HZ,
        "limits": LIMITS,
        "verdicts": verdicts,
        "learned": learned,
        "rows": rows,
        "code": source_version(),
        "versions": versions(),
    }
    write_text(options.out, json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    raise SystemExit(status_of("benchmarks.outage.ou_toy", main))
