"""`label`: one class of several, one-hot in the network; no message carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import SampleError
from smvae_core.kinds.base import CATEGORICAL, Kind
from smvae_core.kinds.registry import register
from smvae_core.kinds.shown import Shown, words

if TYPE_CHECKING:
    from smvae_core.modality import Modality


class Label(Kind):
    """The class of an item."""

    name = "label"
    raw_sample = "() integer class, 0 to C - 1"
    likelihoods = (CATEGORICAL,)
    is_discrete = True

    def example(self, modality: Modality, batch: int, rng: np.random.Generator) -> NDArray[Any]:
        classes = modality.shape[0]
        return np.eye(classes, dtype=np.float32)[rng.integers(classes, size=batch)]

    def example_sample(self, modality: Modality, rng: np.random.Generator) -> NDArray[Any]:
        return np.asarray(rng.integers(modality.shape[0]))

    def prepare(self, modality: Modality, sample: NDArray[Any]) -> NDArray[np.uint8]:
        """Return it one-hot, (C,) uint8."""
        classes = modality.shape[0]
        whole = whole_numbers(modality, sample, (), classes)
        return (np.arange(classes) == whole).astype(np.uint8)

    def layout(self, modality: Modality, si: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(si.argmax())

    def shown(self, modality: Modality, sample: NDArray[Any]) -> Shown:
        return words(f"{modality.name} {int(sample)}")

    def clip(self, modality: Modality, si: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.clip(si, 0.0, 1.0)


def whole_numbers(
    modality: Modality, array: NDArray[Any], shape: tuple[int, ...], limit: int
) -> NDArray[Any]:
    """Return whole numbers of a shape, each from 0 to `limit` - 1.

    Raises:
        SampleError: If they are not.
    """
    if array.dtype.kind not in "iub":
        raise SampleError(modality.name, "dtype", expected="an integer", got=array.dtype)
    if array.shape != shape:
        raise SampleError(modality.name, "shape", expected=shape, got=array.shape)
    if array.size and not (array.min() >= 0 and array.max() < limit):
        got = f"{array.min()} to {array.max()}"
        raise SampleError(modality.name, "values", expected=f"0 to {limit - 1}", got=got)
    return array


register(Label())
