"""SI-unit sensor sample -> network input, per kind; the same function offline and live.

Two stages, because episodes are prepared once and normalised every batch:
`prepare` (resize, cut, transpose; compact dtype) and `normalise` (statistics; float32, batched).
`restore` goes back from a decoder's output to SI units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError, SampleError
from smvae_core.modality import RAW_SAMPLE, Modality

#: Depth outside this open interval [m] counts as no return, as in the Vision&Touch loader.
DEPTH_RANGE_M = (1e-7, 2.0)

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


def is_standardised(modality: Modality) -> bool:
    """Return whether the kind is measured in the training data and scaled per channel."""
    return modality.kind in ("force_window", "vector")


def measure_statistics(
    modality: Modality, prepared: NDArray[Any], force_scaling: ForceScaling = "standard"
) -> Statistics:
    """Return statistics of prepared training samples (N, *shape).

    Colour stays in [0, 1] (divided by 255) and depth in metres; force and vectors get a mean and a
    standard deviation per channel, at least 1e-6 so that a constant channel cannot blow up.
    """
    if not is_standardised(modality):
        return Statistics()
    if modality.kind == "force_window" and force_scaling == "tanh":
        channels = modality.shape[0]
        return Statistics(mean=(0.0,) * channels, scale=(1.0,) * channels, force_scaling="tanh")
    axes = tuple(i for i in range(prepared.ndim) if i != 1)
    mean = prepared.mean(axis=axes, dtype=np.float64)
    scale = np.maximum(prepared.std(axis=axes, dtype=np.float64), 1e-6)
    return Statistics(mean=tuple(mean.tolist()), scale=tuple(scale.tolist()))


def prepare(modality: Modality, sample: NDArray[Any]) -> NDArray[Any]:
    """Return one raw sample (see RAW_SAMPLE) as a compact array of `modality.shape`.

    Colour: uint8, area-averaged to the network's side. Depth: float32 m, mean over valid pixels,
    0 where none is. Force: float32, the last T readings, transposed to (C, T). Vector: float32.
    Grey: uint8, area-averaged. Label: one-hot uint8. Attributes: uint8, 0 or 1.

    Raises:
        SampleError: If shape, dtype or values are not what the kind declares.
    """
    array = np.asarray(sample)
    if modality.kind == "color_image":
        return _prepare_color(modality, array)
    if modality.kind == "depth_image":
        return _prepare_depth(modality, array)
    if modality.kind == "grey_image":
        return _prepare_grey(modality, array)
    if modality.kind in ("label", "attributes"):
        return _prepare_discrete(modality, array)
    if array.dtype.kind not in "fiu":
        raise SampleError(modality.name, "dtype", expected="a number", got=array.dtype)
    if modality.kind == "force_window":
        channels, length = modality.shape
        if array.ndim != 2 or array.shape[0] < length or array.shape[1] != channels:
            raise SampleError(
                modality.name, "shape", expected=f"(at least {length}, {channels})", got=array.shape
            )
        array = array[-length:].T
    elif array.shape != modality.shape:
        raise SampleError(modality.name, "shape", expected=modality.shape, got=array.shape)
    if not np.isfinite(array).all():
        raise SampleError(modality.name, "values", expected="finite numbers", got="NaN or infinity")
    return np.ascontiguousarray(array, dtype=np.float32)


def _prepare_color(modality: Modality, array: NDArray[Any]) -> NDArray[np.uint8]:
    _, height, width = modality.shape
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        got = f"{array.shape} {array.dtype}"
        raise SampleError(modality.name, "image", expected=RAW_SAMPLE[modality.kind], got=got)
    if array.shape[:2] != (height, width):
        array = cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(array.transpose(2, 0, 1))


def _prepare_grey(modality: Modality, array: NDArray[Any]) -> NDArray[np.uint8]:
    _, height, width = modality.shape
    if array.ndim != 2 or array.dtype != np.uint8 or 0 in array.shape:
        got = f"{array.shape} {array.dtype}"
        raise SampleError(modality.name, "image", expected=RAW_SAMPLE[modality.kind], got=got)
    if array.shape != (height, width):
        array = cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(array[None])


def _prepare_discrete(modality: Modality, array: NDArray[Any]) -> NDArray[np.uint8]:
    count = modality.shape[0]
    if array.dtype.kind not in "iub":
        raise SampleError(modality.name, "dtype", expected="an integer", got=array.dtype)
    shape, limit = ((), count) if modality.kind == "label" else ((count,), 2)
    if array.shape != shape:
        raise SampleError(modality.name, "shape", expected=shape, got=array.shape)
    if array.size and not (array.min() >= 0 and array.max() < limit):
        got = f"{array.min()} to {array.max()}"
        raise SampleError(modality.name, "values", expected=f"0 to {limit - 1}", got=got)
    if modality.kind == "label":
        array = np.arange(count) == array
    return array.astype(np.uint8)


def _prepare_depth(modality: Modality, array: NDArray[Any]) -> NDArray[np.float32]:
    _, height, width = modality.shape
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 or array.dtype.kind != "f" or 0 in array.shape:
        got = f"{array.shape} {array.dtype}"
        raise SampleError(modality.name, "image", expected=RAW_SAMPLE[modality.kind], got=got)
    depth = array.astype(np.float32)
    near, far = DEPTH_RANGE_M
    valid = ((depth > near) & (depth < far)).astype(np.float32)  # NaN compares False
    depth = np.where(valid > 0, depth, np.float32(0.0))
    if depth.shape != (height, width):
        size = (width, height)
        weight = cv2.resize(valid, size, interpolation=cv2.INTER_AREA)
        total = cv2.resize(depth, size, interpolation=cv2.INTER_AREA)
        depth = np.where(weight > 0, total / np.maximum(weight, 1e-6), np.float32(0.0))
    return np.ascontiguousarray(depth[None], dtype=np.float32)


def normalise(
    modality: Modality, statistics: Statistics, prepared: NDArray[Any]
) -> NDArray[np.float32]:
    """Return prepared samples (..., *shape) as float32 network input of the same shape."""
    if modality.kind in ("color_image", "grey_image"):
        return prepared.astype(np.float32) / np.float32(255.0)
    if not is_standardised(modality):
        return prepared.astype(np.float32, copy=False)
    if statistics.force_scaling == "tanh":
        return np.tanh(prepared.astype(np.float32, copy=False))
    mean, scale = _per_channel(modality, statistics)
    return (prepared.astype(np.float32, copy=False) - mean) / scale


def restore(
    modality: Modality, statistics: Statistics, output: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return a reconstruction (..., *shape) in SI units; colour, grey and discrete in [0, 1].

    The layout stays channels first. Depth is clipped at 0, the others to [0, 1].
    """
    if modality.kind in ("color_image", "grey_image", "label", "attributes"):
        return np.clip(output, 0.0, 1.0)
    if modality.kind == "depth_image":
        return np.maximum(output, 0.0)
    if statistics.force_scaling == "tanh":
        limit = np.float32(1.0 - 1e-6)
        return np.arctanh(np.clip(output, -limit, limit))
    mean, scale = _per_channel(modality, statistics)
    return output * scale + mean


def _per_channel(
    modality: Modality, statistics: Statistics
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if len(statistics.mean) != modality.shape[0]:
        raise ConfigError(
            f"modality '{modality.name}': {len(statistics.mean)} statistics for "
            f"{modality.shape[0]} channels"
        )
    broadcast = (-1,) + (1,) * (len(modality.shape) - 1)
    mean = np.asarray(statistics.mean, np.float32).reshape(broadcast)
    return mean, np.asarray(statistics.scale, np.float32).reshape(broadcast)
