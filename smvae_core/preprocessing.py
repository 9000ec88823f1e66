"""SI-unit sensor sample -> network input; the same functions offline and live.

Two stages, because episodes are prepared once and normalised every batch:
`prepare` (resize, cut, transpose; compact dtype) and `normalise` (statistics; float32, batched).
`restore` goes back from a decoder's output to SI units. What is particular to a kind stands there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError
from smvae_core.modality import Modality

ForceScaling = Literal["standard", "tanh"]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What `normalise` needs of the training data, stored in the manifest."""

    mean: tuple[float, ...] = (0.0,)
    """Per channel, in SI units; one number for all channels of an image."""
    scale: tuple[float, ...] = (1.0,)
    """Per channel, in SI units, positive."""
    force_scaling: ForceScaling = "standard"
    """'standard' = (F - mean) / scale; 'tanh' = the authors' tanh of raw newtons (saturates)."""

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.scale):
            raise ConfigError(f"statistics: {len(self.mean)} means for {len(self.scale)} scales")
        if not all(np.isfinite(self.mean)) or not all(s > 0 and np.isfinite(s) for s in self.scale):
            raise ConfigError(f"statistics must be finite with positive scale: {self}")

    def to_json(self) -> dict[str, Any]:
        return {
            "mean": list(self.mean),
            "scale": list(self.scale),
            "force_scaling": self.force_scaling,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Statistics:
        return cls(
            mean=tuple(data["mean"]),
            scale=tuple(data["scale"]),
            force_scaling=data["force_scaling"],
        )


#: So many samples are looked at together: of a large set the whole need not be in memory.
CHUNK = 2**13


def measure_statistics(
    modality: Modality,
    prepared: NDArray[Any],
    force_scaling: ForceScaling = "standard",
    rows: NDArray[np.int64] | None = None,
) -> Statistics:
    """Return statistics of prepared training samples (N, *shape), of some `rows` or of all.

    Kinds that are standardised get a mean and a standard deviation per channel, at least the kind's
    floor so that a constant channel cannot blow up; the others need none, and are not read.
    """
    if not modality.family.is_standardised:
        return Statistics()
    channels = modality.shape[0]
    if modality.family.is_window and force_scaling == "tanh":
        return Statistics(mean=(0.0,) * channels, scale=(1.0,) * channels, force_scaling="tanh")
    mean, variance = _moments(prepared, rows)
    scale = np.maximum(np.sqrt(variance), modality.family.floor)
    return Statistics(mean=tuple(mean.tolist()), scale=tuple(scale.tolist()))


def _moments(
    prepared: NDArray[Any], rows: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance of each channel (Chan et al. 1983: of parts, put together)."""
    axes = tuple(i for i in range(prepared.ndim) if i != 1)
    total = len(prepared) if rows is None else len(rows)
    mean, variance = np.zeros(prepared.shape[1]), np.zeros(prepared.shape[1])
    for start in range(0, max(total, 1), CHUNK):
        end = min(start + CHUNK, total)
        part = prepared[start:end] if rows is None else prepared[rows[start:end]]
        share = (end - start) / max(end, 1)
        further = part.mean(axis=axes, dtype=np.float64) - mean
        spread = part.var(axis=axes, dtype=np.float64)
        variance = (1.0 - share) * (variance + share * further**2) + share * spread
        mean = mean + share * further
    return mean, variance


def constant_channels(modality: Modality, statistics: Statistics) -> list[str]:
    """Return the channels that hardly moved in the training data: their scale is the floor."""
    family = modality.family
    if not family.is_standardised or statistics.force_scaling == "tanh":
        return []
    names = modality.fields or [f"channel {i}" for i in range(modality.shape[0])]
    found = zip(names, statistics.scale, strict=True)
    return [name for name, scale in found if scale <= family.floor]


def prepare(modality: Modality, sample: NDArray[Any]) -> NDArray[Any]:
    """Return one raw sample (`Kind.raw_sample`) as a compact array of `modality.shape`.

    Raises:
        SampleError: If shape, dtype or values are not what the kind declares.
    """
    return modality.family.prepare(modality, np.asarray(sample))


def affine(
    modality: Modality, statistics: Statistics
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Return (offset, scale), broadcast over (*shape): normalised = (prepared - offset) / scale.

    None where a prepared sample is left as it is.

    Raises:
        ConfigError: If there are not as many statistics as channels.
    """
    if not modality.family.is_standardised:
        return modality.family.constants(modality)
    if len(statistics.mean) != modality.shape[0]:
        raise ConfigError(
            f"modality '{modality.name}': {len(statistics.mean)} statistics for "
            f"{modality.shape[0]} channels"
        )
    broadcast = (-1,) + (1,) * (len(modality.shape) - 1)
    mean = np.asarray(statistics.mean, np.float32).reshape(broadcast)
    return mean, np.asarray(statistics.scale, np.float32).reshape(broadcast)


def normalise(
    modality: Modality, statistics: Statistics, prepared: NDArray[Any]
) -> NDArray[np.float32]:
    """Return prepared samples (..., *shape) as float32 network input of the same shape."""
    return normaliser(modality, statistics)(prepared)


def normaliser(
    modality: Modality, statistics: Statistics
) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """Return what `normalise` does to prepared samples, for who does it again and again."""
    if statistics.force_scaling == "tanh":
        return lambda prepared: np.tanh(_float32(prepared))
    found = affine(modality, statistics)
    if found is None:
        return _float32
    offset, scale = found
    if not offset.any():  # nothing is subtracted from levels
        return lambda prepared: _float32(prepared) / scale
    return lambda prepared: (_float32(prepared) - offset) / scale


def _float32(prepared: NDArray[Any]) -> NDArray[np.float32]:
    return prepared.astype(np.float32, copy=False)


def restore(
    modality: Modality, statistics: Statistics, output: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return a reconstruction (..., *shape) in SI units; images and discrete kinds in [0, 1].

    The layout stays channels first.
    """
    if statistics.force_scaling == "tanh":
        limit = np.float32(1.0 - 1e-6)
        return np.arctanh(np.clip(output, -limit, limit))
    family, found = modality.family, affine(modality, statistics)
    if found is not None and not family.is_image:  # of images SI is [0, 1], or metres
        output = output * found[1] + found[0]
    return family.clip(modality, output)


def raw_sample(modality: Modality, prepared: NDArray[Any]) -> NDArray[Any]:
    """Return a prepared sample (*shape) in the raw layout and type that a sensor gives."""
    return modality.family.layout(modality, in_si(modality, prepared))


def in_si(modality: Modality, prepared: NDArray[Any]) -> NDArray[np.float32]:
    """Return prepared samples (..., *shape) as float32 in SI units; levels in [0, 1]."""
    x = np.asarray(prepared, np.float32)
    if not modality.family.is_image:
        return x
    found = modality.family.constants(modality)
    return x if found is None else (x - found[0]) / found[1]
