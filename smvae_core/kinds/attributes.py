"""`attributes`: several yes-or-no facts about an item; no message carries them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.kinds.base import BERNOULLI, Kind
from smvae_core.kinds.label import whole_numbers
from smvae_core.kinds.registry import register

if TYPE_CHECKING:
    from smvae_core.modality import Modality


class Attributes(Kind):
    """Independent facts, each 0 or 1."""

    name = "attributes"
    raw_sample = "(C,) 0 or 1"
    likelihoods = (BERNOULLI,)
    is_discrete = True

    def example(self, modality: Modality, batch: int, rng: np.random.Generator) -> NDArray[Any]:
        return rng.integers(2, size=(batch, *modality.shape)).astype(np.float32)

    def example_sample(self, modality: Modality, rng: np.random.Generator) -> NDArray[Any]:
        return rng.integers(2, size=modality.shape)

    def prepare(self, modality: Modality, sample: NDArray[Any]) -> NDArray[np.uint8]:
        return whole_numbers(modality, sample, modality.shape, 2).astype(np.uint8)

    def layout(self, modality: Modality, si: NDArray[Any]) -> NDArray[np.uint8]:
        return np.rint(si).astype(np.uint8)

    def clip(self, modality: Modality, si: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.clip(si, 0.0, 1.0)


register(Attributes())
