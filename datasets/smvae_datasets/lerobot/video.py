"""Frames of an mp4 in the order of time, decoded once; AV1 too, which OpenCV 5 cannot."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def frames(path: Path, begin_s: float = 0.0) -> Generator[tuple[float, Any], None, None]:
    """Yield (time in the file [s], frame) from a time on; `pixels` makes an array of a frame.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it holds no video, or is damaged from here on (av's errors are of both).
    """
    import av

    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError("no video in it")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if begin_s > 0.0 and stream.time_base is not None:
            container.seek(int(begin_s / stream.time_base), stream=stream)  # a key frame before it
        for frame in container.decode(stream):
            if frame.time is not None:
                yield frame.time, frame


def pixels(frame: Any) -> NDArray[np.uint8]:
    """Return a frame as (H, W, 3) uint8 RGB."""
    return np.asarray(frame.to_ndarray(format="rgb24"))
