"""`color_image`: sensor_msgs/Image and CompressedImage <-> (H, W, 3) uint8 RGB."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.kinds.base import Converter
from smvae_core.kinds.image import FIT, SIZE, LevelImage, camera_size, shows_depth
from smvae_core.kinds.image import seen as seen_part
from smvae_core.kinds.proposal import Proposal, Seen
from smvae_core.kinds.registry import register
from smvae_core.messages import compressed_image, image_data, image_file, planar
from smvae_core.messages.base import ConversionOptions

if TYPE_CHECKING:
    from smvae_core.modality import Modality

ENCODING = "rgb8"
#: 8UC1 can only be grey; 8UC3 does not say which channel is red, 16UC1 is what depth has.
ACCEPTED = (*(e for e in image_data.ENCODINGS if e not in ("16UC1", "32FC1")), *planar.PLANAR)


class ColorImage(LevelImage):
    """A camera's picture."""

    name = "color_image"
    raw_sample = "(H, W, 3) uint8, RGB"
    channels = 3
    keys = (SIZE, FIT)

    def example_sample(self, modality: Modality, rng: np.random.Generator) -> NDArray[Any]:
        return rng.integers(0, 256, (*camera_size(modality), 3), dtype=np.uint8)

    def proposed(self, seen: Seen) -> bool:
        return seen.message_type in _TYPES and not shows_depth(seen)

    def propose(self, seen: Seen) -> Proposal | None:
        """Return what images are declared as; of 16 bits it is said what becomes of them."""
        found = super().propose(seen)
        wide = sorted(set(filter(None, map(_wide, seen.messages))))
        if found is None or not wide:
            return found
        said = f"{', '.join(wide)} becomes 8 bits: divided by 257 and rounded, 65535 is white"
        return replace(found, about=f"{found.about}, {said}")

    def content(self, modality: Modality) -> str:
        return "colour image, any encoding of the conversion"

    def notes(self, modality: Modality) -> str:
        return f"RGB, {seen_part(modality)}"

    def layout(self, modality: Modality, si: NDArray[Any]) -> NDArray[np.uint8]:
        return np.rint(si.transpose(1, 2, 0) * 255.0).astype(np.uint8)

    def converters(self, modality: Modality) -> tuple[Converter, ...]:
        return IMAGE, COMPRESSED

    def errors(
        self, modality: Modality, truth: NDArray[Any], predicted: NDArray[Any]
    ) -> dict[str, float]:
        """Return the mean over images of 10 log10(1 / mean squared error)."""
        squared = np.square(predicted - truth, dtype=np.float64).reshape(len(truth), -1).mean(1)
        return {"psnr_db": float(np.mean(-10.0 * np.log10(np.maximum(squared, 1e-12))))}


def _wide(message: Any) -> str:
    """Return the encoding of an image whose pixels have 16 bits, else ''; a JPEG's have 8."""
    encoding, _, packed = str(getattr(message, "format", "")).partition(";")
    said = str(getattr(message, "encoding", "")) or ("png" in packed and encoding.strip()) or ""
    return said if said.endswith("16") else ""


def to_array(modality: Modality, message: Any, options: ConversionOptions) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB of an image message; it may share the message's memory.

    Raises:
        ConversionError: If the encoding is not a colour or grey one, or sizes do not match.
    """
    return image_data.decode_rgb(modality.name, message, ACCEPTED)


def write(
    modality: Modality, message: Any, sample: NDArray[np.uint8], options: ConversionOptions
) -> None:
    """Write (H, W, 3) uint8 RGB into an empty image message."""
    image_data.fill(message, np.asarray(sample, np.uint8), ENCODING)


def compressed_to_array(
    modality: Modality, message: Any, options: ConversionOptions
) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB of a CompressedImage, JPEG or PNG.

    Raises:
        ConversionError: See `compressed_image.decode_rgb`.
    """
    return compressed_image.decode_rgb(modality.name, message)


def write_compressed(
    modality: Modality, message: Any, sample: NDArray[np.uint8], options: ConversionOptions
) -> None:
    """Write (H, W, 3) uint8 RGB into an empty CompressedImage as PNG, without loss."""
    bgr = np.ascontiguousarray(np.asarray(sample, np.uint8)[:, :, ::-1])
    compressed_image.fill(message, image_file.encode_png(bgr), "rgb8; png compressed bgr8")


IMAGE = Converter("sensor_msgs/msg/Image", to_array, write, ENCODING)
COMPRESSED = Converter(
    "sensor_msgs/msg/CompressedImage", compressed_to_array, write_compressed, "png"
)
_TYPES = IMAGE.message_type, COMPRESSED.message_type
register(ColorImage())
