"""The paper's image transformations (section 4.3) of one square image, like MVAE's vision code.

Departures from MVAE's code: the watermark lies over the whole image (theirs lies over the
half-occluded one), either half may be hidden (theirs hides the right one), and the width of Canny's
Gaussian follows the image's side, so that edges of a 128-pixel camera are as coarse as CelebA's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import MissingDependency

#: Canny's Gaussian is this wide [px] at CelebA's width of 178 pixels, as in MVAE.
EDGE_SIGMA_PX = 3.0
CELEBA_SIDE_PX = 178

#: Opacity of the watermark's white letters.
WATERMARK_OPACITY = 0.6
_WATERMARK_TEXT = "SMVAE"

#: First and one past last of dlib's 68 points, per region of the face; the jaw is a line.
_DLIB_REGIONS = ((48, 68), (17, 22), (22, 27), (36, 42), (42, 48), (27, 35))
_DLIB_JAW = (0, 17)


def grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the luminance (H, W) of (H, W, 3) RGB, Rec. 601."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def edges(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return Canny edges (H, W) of (H, W, 3) RGB as 0 or 255.

    Raises:
        MissingDependency: If scikit-image is not installed.
    """
    canny = _canny()
    sigma = EDGE_SIGMA_PX * image.shape[1] / CELEBA_SIDE_PX
    return np.where(canny(grey(image) / 255.0, sigma=sigma), np.uint8(255), np.uint8(0))


def occluded(image: NDArray[np.uint8], index: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return (H, W, 3) with the left or the right half black.

    Args:
        image: (H, W, 3) RGB.
        index: The image's place in its data set; it and `seed` alone choose the half.
        seed: Another seed, other halves.
    """
    half = image.shape[1] // 2
    hidden = image.copy()
    if np.random.default_rng([seed, index]).integers(2):
        hidden[:, half:] = 0
    else:
        hidden[:, :half] = 0
    return hidden


def watermarked(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 3) under half-transparent white letters, the same on every image of a size."""
    opacity = _watermark(*image.shape[:2])[:, :, None]
    return np.rint(image * (1.0 - opacity) + 255.0 * opacity).astype(np.uint8)


def landmark_mask(points: NDArray[Any], side: int) -> NDArray[np.uint8]:
    """Return the landmarks drawn white on black, (side, side) of 0 or 255.

    Args:
        points: (K, 2) x and y in pixels of the square image. 68 are dlib's, drawn as MVAE does
            (filled regions, the jaw as a line); 5 are CelebA's (eyes and nose as discs, mouth as a
            line); others are drawn as discs. Points outside are not seen.
        side: Side of the image in pixels.
    """
    mask = np.zeros((side, side), np.uint8)
    at = np.rint(points).astype(np.int32)
    width = max(1, round(side / 45))  # 4 px at 178
    if len(at) == 68:
        for start, stop in _DLIB_REGIONS:
            cv2.fillConvexPoly(mask, cv2.convexHull(at[start:stop]), 255)
        cv2.polylines(mask, [at[slice(*_DLIB_JAW)]], False, 255, width)
        return mask
    discs = at[:3] if len(at) == 5 else at
    for x, y in discs.tolist():
        cv2.circle(mask, (x, y), 2 * width, 255, -1)
    if len(at) == 5:
        cv2.line(mask, at[3].tolist(), at[4].tolist(), 255, 2 * width)
    return mask


def _canny() -> Any:
    try:
        from skimage.feature import canny
    except ImportError as err:
        raise MissingDependency("scikit-image", "train") from err
    return canny


@lru_cache(maxsize=8)
def _watermark(height: int, width: int) -> NDArray[np.float32]:
    """Return the letters' opacity (H, W), aslant through the middle."""
    letters = np.zeros((height, width), np.uint8)
    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(width / 30))
    (natural, _), _ = cv2.getTextSize(_WATERMARK_TEXT, font, 1.0, thickness)
    scale = 0.85 * width / natural
    (text_width, text_height), _ = cv2.getTextSize(_WATERMARK_TEXT, font, scale, thickness)
    at = ((width - text_width) // 2, (height + text_height) // 2)
    cv2.putText(letters, _WATERMARK_TEXT, at, font, scale, 255, thickness, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 30.0, 1.0)
    turned = np.asarray(cv2.warpAffine(letters, turn, (width, height)), np.float32)
    return turned * np.float32(WATERMARK_OPACITY / 255.0)
