"""sensor_msgs/CameraInfo of a part of a camera's image at another size."""

from __future__ import annotations

from typing import Any

import numpy as np


def image_size(info: Any) -> tuple[int, int]:
    """Return height and width [px] of the images that a camera_info comes with.

    Intrinsics are those of the whole sensor; its images show the region of interest, where one is
    set, and may be binned.
    """
    roi = info.roi
    return (
        (roi.height or info.height) // max(info.binning_y, 1),
        (roi.width or info.width) // max(info.binning_x, 1),
    )


def fill(message: Any, info: Any, view: tuple[int, int, int, int], height: int, width: int) -> None:
    """Write into an empty camera_info that of a view, brought to a size as image_proc's resize.

    Args:
        message: Its header is the caller's.
        info: Of the camera.
        view: Top, left, bottom, right in its images [px]; beyond them where a margin was added.
        height: Of the view when it was resized [px].
        width: Of it.
    """
    roi, (tall, wide) = info.roi, image_size(info)
    binned_y = (roi.height or info.height) / tall
    binned_x = (roi.width or info.width) / wide
    top, left, bottom, right = view
    y, x = height / (bottom - top), width / (right - left)
    move = np.array(
        [
            [x / binned_x, 0.0, -x * (roi.x_offset / binned_x + left)],
            [0.0, y / binned_y, -y * (roi.y_offset / binned_y + top)],
            [0.0, 0.0, 1.0],
        ]
    )
    message.height, message.width = height, width
    message.distortion_model, message.d, message.r = info.distortion_model, info.d, info.r
    message.k = (move @ np.reshape(info.k, (3, 3))).reshape(-1)
    message.p = (move @ np.reshape(info.p, (3, 4))).reshape(-1)
