"""`grey_image`: pictures of image sets, (H, W) uint8; no message carries them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.kinds.image import LevelImage, camera_size
from smvae_core.kinds.registry import register

if TYPE_CHECKING:
    from smvae_core.modality import Modality


class GreyImage(LevelImage):
    """A picture without colours."""

    name = "grey_image"
    raw_sample = "(H, W) uint8"
    channels = 1
    small = True

    def example_sample(self, modality: Modality, rng: np.random.Generator) -> NDArray[Any]:
        return rng.integers(0, 256, camera_size(modality), dtype=np.uint8)

    def layout(self, modality: Modality, si: NDArray[Any]) -> NDArray[np.uint8]:
        return np.rint(si[0] * 255.0).astype(np.uint8)


register(GreyImage())
