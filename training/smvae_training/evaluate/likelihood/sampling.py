"""Random numbers keyed by item, and what every estimator does to every item and subset.

K samples, B items, Z latent, N items in all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.errors import ConfigError
from smvae_core.modality import subset_name
from smvae_training.evaluate.likelihood.method import CannotEncode, Method
from smvae_training.evaluate.likelihood.mixture import Mixture
from smvae_training.evaluate.records import spread
from smvae_training.steps.subsets import generator

#: Streams of random numbers (see `subsets.generator`), apart from those of a training run.
ITEM_STREAM, PRIOR_STREAM = 11, 12
#: Items that are encoded at once.
BLOCK = 128


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How many samples, of how many items, in how much memory."""

    samples: int = 1000
    """K per item and proposal."""
    items: int | None = None
    """At most this many items, evenly spaced; None for all."""
    seed: int = 0
    """Seed of all draws; item i gets the same standard normals for every method and subset."""
    chunk: int = 2000
    """Latents decoded at once: 2000 fit a CPU's cache (28x28 images), a GPU wants 100,000. It
    changes results by rounding only."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "seed" and value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What any estimator says beside its numbers."""

    method: str
    index: NDArray[np.int64]
    """(N,) rows of the inputs that were scored."""
    refused: dict[str, str] = field(default_factory=dict)
    """Subsets that the method cannot encode, and why."""
    config: SamplingConfig
    seconds: float

    def about(self) -> dict[str, Any]:
        """Return the part of the JSON that all estimators share."""
        settings = asdict(self.config)
        count, seconds = len(self.index), self.seconds
        return {"method": self.method, "items": count, "settings": settings, "seconds": seconds}


#: (subset, its posterior, inputs, numbers of the items) -> values (B, ...) by name.
Score = Callable[
    [tuple[str, ...], Mixture, dict[str, Tensor], NDArray[np.int64]], dict[str, Tensor]
]


@torch.inference_mode()
def measure(
    method: Method,
    inputs: Mapping[str, Tensor],
    config: SamplingConfig,
    subsets: Sequence[tuple[str, ...]],
    device: torch.device | str,
    score: Score,
    *,
    grouped: bool = True,
) -> tuple[dict[str, Any], dict[tuple[str, ...], dict[str, NDArray[Any]]]]:
    """Score every chosen item given every subset.

    Args:
        method: On `device`, in evaluation mode.
        inputs: Network inputs (N, *shape) by name, all modalities of every item, on any device.
        config: Items, seed, memory.
        subsets: Observed; those that the method cannot encode are refused.
        device: Where the method computes.
        score: Called with some items at a time.
        grouped: As few items at a time as `config.chunk` latents need; else a whole block.

    Returns:
        The fields of a `Measurement`, and by subset the values (N, ...) that `score` gave.

    Raises:
        ConfigError: If the inputs lack a modality or differ in length.
    """
    started = time.perf_counter()
    count = count_items(method, inputs)
    index = spread(np.arange(count), config.items or count)
    parts: dict[tuple[str, ...], list[dict[str, Tensor]]] = {}
    refused: dict[str, str] = {}
    for items, batch in blocks(method, inputs, index, device):
        for subset in subsets:
            try:
                proposal = method.proposal(batch, subset)
            except CannotEncode as error:
                refused[subset_name(subset)] = str(error)
                continue
            for rows in groups(proposal.items, config) if grouped else [slice(None)]:
                few = {name: x[rows] for name, x in batch.items()}
                found = score(subset, proposal.take(rows), few, items[rows])
                parts.setdefault(subset, []).append({k: v.cpu() for k, v in found.items()})
    about = {"method": method.name, "index": index, "refused": refused, "config": config}
    joined = {
        subset: {key: torch.cat([part[key] for part in found]).numpy() for key in found[0]}
        for subset, found in parts.items()
    }
    return about | {"seconds": time.perf_counter() - started}, joined


def count_items(method: Method, inputs: Mapping[str, Tensor]) -> int:
    """Return how many items the inputs hold.

    Raises:
        ConfigError: If the inputs lack one of the method's modalities, hold no item, or differ in
            their number of items.
    """
    missing = [name for name in method.names if name not in inputs]
    if missing:
        raise ConfigError(f"{method.name} needs {missing}, the inputs hold {list(inputs)}")
    counts = {name: len(inputs[name]) for name in method.names}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise ConfigError(f"inputs must hold the same number of items, at least one, got {counts}")
    return counts[method.names[0]]


def blocks(
    method: Method,
    inputs: Mapping[str, Tensor],
    index: NDArray[np.int64],
    device: torch.device | str,
    size: int = BLOCK,
) -> Iterator[tuple[NDArray[np.int64], dict[str, Tensor]]]:
    """Yield the numbers of some items and their inputs on the device, block by block."""
    for start in range(0, len(index), size):
        part = index[start : start + size]
        rows = torch.from_numpy(part)
        yield part, {name: inputs[name][rows].to(device).float() for name in method.names}


def groups(items: int, config: SamplingConfig) -> Iterator[slice]:
    """Yield slices of a block's items whose samples are decoded together."""
    step = max(1, config.chunk // config.samples)
    for start in range(0, items, step):
        yield slice(start, min(start + step, items))


def item_noise(seed: int, index: NDArray[np.int64], samples: int, latent_dim: int) -> Tensor:
    """Return standard normals (K, B, Z) float32 that depend on nothing but (seed, item).

    Fewer samples are a prefix of more.
    """
    noise = np.empty((samples, len(index), latent_dim), np.float32)
    for column, item in enumerate(index):
        rng = generator(seed, ITEM_STREAM, int(item))
        noise[:, column] = rng.standard_normal((samples, latent_dim), dtype=np.float32)
    return torch.from_numpy(noise)


def prior_noise(seed: int, samples: int, latent_dim: int) -> Tensor:
    """Return draws (K, Z) float32 of the prior N(0, I), the same for every item and method."""
    rng = generator(seed, PRIOR_STREAM)
    return torch.from_numpy(rng.standard_normal((samples, latent_dim), dtype=np.float32))


def draw(
    proposal: Mixture, index: NDArray[np.int64], config: SamplingConfig
) -> tuple[Tensor, Tensor]:
    """Return stratified samples z (K, B, Z) of the proposal and their log shares (K, 1)."""
    noise = item_noise(config.seed, index, config.samples, proposal.latent_dim)
    z = proposal.place(noise.to(proposal.mean.device))
    return z, proposal.log_share(config.samples)[:, None]


def decoded_log_likelihood(
    method: Method, z: Tensor, batch: Mapping[str, Tensor], names: Sequence[str], chunk: int
) -> dict[str, Tensor]:
    """Return log p(x_m given z_k) (K, B) float64 by modality, decoding `chunk` latents at once.

    Args:
        method: Decodes.
        z: (K, B, Z).
        batch: Inputs (B, *shape) of the same items.
        names: Modalities to decode.
        chunk: Bounds memory.
    """
    _, items, latent_dim = z.shape
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    for part in z.split(max(1, chunk // items)):
        outputs = method.decode(part.reshape(-1, latent_dim), names)
        for name in names:
            output = outputs[name].reshape(len(part), items, *outputs[name].shape[1:])
            found[name].append(method.log_likelihood(name, batch[name], output).double())
    return {name: torch.cat(parts) for name, parts in found.items()}


def effective_samples(log_weights: Tensor) -> Tensor:
    """Return the effective sample size (B,), (sum w)^2 / sum w^2, of log weights (K, B)."""
    return torch.exp(2.0 * torch.logsumexp(log_weights, 0) - torch.logsumexp(2.0 * log_weights, 0))
