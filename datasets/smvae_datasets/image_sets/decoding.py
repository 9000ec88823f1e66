"""Image files -> RGB arrays, refused when damaged, and the central square of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from smvae_datasets.dataset import DataSetError

#: File name endings that count as images, in lower case.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return an image as (H, W, 3) uint8 RGB, turned as its EXIF data says.

    Raises:
        DataSetError: If the file is missing, truncated or no image.
    """
    try:
        content = path.read_bytes()
    except OSError as err:
        raise DataSetError(path, f"cannot be read ({err.strerror})") from err
    expected = "a whole image file"
    if _is_truncated(content):
        got = f"{len(content)} bytes without an end"
        raise DataSetError(path, "truncated image", expected=expected, got=got)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        got = f"{len(content)} bytes that cannot be decoded"
        raise DataSetError(path, "no image", expected=expected, got=got)
    return np.ascontiguousarray(image[:, :, ::-1])


def central_square(image: NDArray[Any]) -> tuple[NDArray[Any], int, int]:
    """Return the largest central square of (H, W, ...) with its left and top pixel."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side], left, top


def _is_truncated(content: bytes) -> bool:
    """Return whether a JPEG or PNG lacks its end; OpenCV would fill the rest with grey or black."""
    if content.startswith(b"\xff\xd8"):
        # end-of-image after the last start-of-scan: a thumbnail's own end comes before it
        return content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda") or b"\xff\xda" not in content
    return content.startswith(b"\x89PNG") and b"IEND" not in content[-4096:]
