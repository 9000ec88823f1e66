"""Truth beside prediction as pictures: one strip per moment, a contact sheet, a video."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from smvae_core.messages.image_file import encode_png
from smvae_core.modality import Modality, subset_name
from smvae_training.evaluate.bag.moments import Kept
from smvae_training.evaluate.bag.scores import Array
from smvae_training.evaluate.measures import images, measured, picture, shown_range

Picture = NDArray[np.uint8]

#: Pixels: side of one image, margin between two, and the line of text above.
SIDE, MARGIN, LINE = 160, 4, 18
#: Moments of a contact sheet.
SHEET_ROWS = 12
_INK, _SOFT, _PAGE = (30, 30, 30), (110, 110, 110), 255
#: Strips that are looked at before the video's rate is chosen.
_MEASURED = 30


class Strips:
    """Draws moments as (height, width, 3) uint8 RGB: truth and prediction of every camera."""

    def __init__(self, modalities: Sequence[Modality]) -> None:
        """Prepare; the colour scale of depth is that of the first truth learned or drawn."""
        self._images = images(modalities)
        self._limits: dict[str, tuple[float, float] | None] = {}

    def learn(self, truths: Mapping[str, Array]) -> None:
        """Take the colour scale of depth from true images (N, 1, H, W), unless it is known."""
        for modality in self._images:
            truth = truths.get(modality.name)
            if truth is None or modality.name in self._limits:
                continue
            if measured(modality, truth).any():
                self._limits[modality.name] = shown_range(modality, truth)

    def draw(
        self,
        seconds: float,
        fused: Sequence[str],
        truths: Mapping[str, Array],
        predicted: Mapping[str, Array],
    ) -> Picture:
        """Return one strip.

        Args:
            seconds: Since the bag's begin.
            fused: Modalities of the latent.
            truths: Modality -> (1, *shape); a camera that is missing stays blank.
            predicted: Modality -> (1, *shape).
        """
        self.learn(truths)
        columns = 2 * len(self._images)
        width = columns * SIDE + (columns - 1) * MARGIN
        strip = np.full((2 * LINE + SIDE + MARGIN, width, 3), _PAGE, np.uint8)
        head = f"{seconds:8.2f} s   from {subset_name(tuple(fused))}"
        _write(strip, head, 2, LINE - 5, _INK)
        for index, modality in enumerate(self._images):
            pair = (("in the bag", truths), ("predicted", predicted))
            for turn, (word, samples) in enumerate(pair):
                left = (2 * index + turn) * (SIDE + MARGIN)
                _write(strip, f"{modality.name}: {word}", left + 2, 2 * LINE - 5, _SOFT)
                if modality.name in samples:
                    tile = self._tile(modality, samples[modality.name][0])
                    strip[2 * LINE : 2 * LINE + SIDE, left : left + SIDE] = tile
        return strip

    def _tile(self, modality: Modality, image: Array) -> Picture:
        """Return one image (C, H, W) at SIDE pixels."""
        coloured = 255.0 * picture(modality, image, self._limits.get(modality.name))
        pixels = np.ascontiguousarray(np.rint(coloured), np.uint8)
        return np.asarray(
            cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST), np.uint8
        )


def contact_sheet(modalities: Sequence[Modality], moments: Sequence[Kept], begin_ns: int) -> bytes:
    """Return strips of moments spread evenly over the bag, below each other, as a PNG."""
    rows = np.unique(np.linspace(0, len(moments) - 1, min(SHEET_ROWS, len(moments))).round())
    strips = Strips(modalities)
    for moment in moments:
        strips.learn(moment.truths)
    drawn = [
        strips.draw((k.stamp_ns - begin_ns) * 1e-9, k.fused, k.truths, k.predicted)
        for k in (moments[int(row)] for row in rows)
    ]
    return encode_png(np.concatenate(drawn)[:, :, ::-1])


class Video:
    """Strips as an mp4 file, if this machine's OpenCV can write one; that is checked at the end."""

    def __init__(self, path: Path) -> None:
        """Prepare; the file is opened once the rate of the strips is known."""
        self.path = path
        self.why_not = "no latent"
        self.frames = 0
        self.rate_hz = math.nan
        self._waiting: list[tuple[float, Picture]] = []
        self._writer: cv2.VideoWriter | None = None
        path.unlink(missing_ok=True)

    def add(self, seconds: float, strip: Picture) -> None:
        """Add one strip, made so many seconds after the bag's begin."""
        if self._writer is not None:
            self._write(strip)
            return
        self._waiting.append((seconds, strip))
        if len(self._waiting) >= _MEASURED:
            self._open()

    def close(self) -> bool:
        """Finish; return whether the file can be read back with every frame, else remove it."""
        if self._writer is None and self._waiting:
            self._open()
        if self._writer is None:
            return False
        opened = self._writer.isOpened()
        self._writer.release()
        found = count_frames(self.path) if opened else 0
        if found == self.frames and found > 0:
            self.why_not = ""
            return True
        self.why_not = f"this OpenCV writes no mp4 ({found} of {self.frames} frames came back)"
        self.path.unlink(missing_ok=True)
        return False

    def _open(self) -> None:
        gaps = np.diff([seconds for seconds, _ in self._waiting])
        self.rate_hz = float(np.clip(1.0 / np.median(gaps), 1.0, 60.0)) if gaps.size else 1.0
        height, width = self._waiting[0][1].shape[:2]
        code = cv2.VideoWriter.fourcc(*"mp4v")
        size = (width - width % 2, height - height % 2)
        self._writer = cv2.VideoWriter(str(self.path), code, self.rate_hz, size)
        self._size = size
        for _, strip in self._waiting:
            self._write(strip)
        self._waiting.clear()

    def _write(self, strip: Picture) -> None:
        assert self._writer is not None
        width, height = self._size
        self._writer.write(np.ascontiguousarray(strip[:height, :width, ::-1]))
        self.frames += 1


def count_frames(path: Path) -> int:
    """Return how many frames of a video can be decoded."""
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.isOpened() and capture.read()[0]:
        count += 1
    capture.release()
    return count


def _write(picture: Picture, text: str, left: int, base: int, ink: tuple[int, int, int]) -> None:
    cv2.putText(picture, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, 0.4, ink, 1, cv2.LINE_AA)
