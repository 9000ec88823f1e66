"""The calibration of a predicted image is that of what it shows, whatever the declared view."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from smvae_core.errors import SampleError
from smvae_core.kinds.base import Prediction
from smvae_core.kinds.image import fill_camera_info
from smvae_core.messages import ConversionOptions
from smvae_core.modality import Modality
from smvae_core.preprocessing import prepare

HEIGHT, WIDTH = 120, 200
K = np.array([[150.0, 0.0, 104.0], [0.0, 140.0, 57.0], [0.0, 0.0, 1.0]])
#: Points [m] in the camera's frame that every one of the views shows.
POINTS = np.array([[0.02, -0.05, 0.9], [-0.1, 0.12, 1.1], [0.16, 0.05, 0.8]])


def camera(**changed: Any) -> SimpleNamespace:
    """Return the sensor_msgs/CameraInfo of a camera 120 x 200."""
    info = SimpleNamespace(
        height=HEIGHT, width=WIDTH, binning_x=0, binning_y=0, distortion_model="plumb_bob"
    )
    info.roi = SimpleNamespace(x_offset=0, y_offset=0, height=0, width=0)
    info.d, info.r = [0.0] * 5, np.eye(3).reshape(-1)
    info.k, info.p = K.reshape(-1), np.c_[K, [-15.0, 0.0, 0.0]].reshape(-1)
    vars(info).update(changed)
    return info


def sensor(rows: int, columns: int, **options: Any) -> Modality:
    return Modality(
        name="rgb", kind="color_image", shape=(3, rows, columns), unit="1", options=options
    )


def calibration(modality: Modality, info: Any) -> Any:
    message = SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace(), frame_id=""))
    prediction = Prediction(
        decode=lambda: pytest.fail("nothing need be decoded"),
        stamp_ns=3_000_000_004,
        frame_id="optical",
        options=ConversionOptions(),
        camera_info=info,
    )
    return fill_camera_info(modality, message, prediction)


def projected(k: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return column and row of a point by OpenCV's own camera model."""
    found, _ = cv2.projectPoints(point[None], np.zeros(3), np.zeros(3), k, np.zeros(5))
    return np.asarray(found, np.float64).reshape(2)


def seen_at(modality: Modality, pixel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where the network sees a spot that the camera has at a pixel (column, row)."""
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    squared = (columns - pixel[0]) ** 2 + (rows - pixel[1]) ** 2
    spot = np.rint(255.0 * np.exp(-squared / (2.0 * 4.0**2))).astype(np.uint8)
    light = prepare(modality, np.repeat(spot[:, :, None], 3, axis=2))[0].astype(np.float64)
    rows, columns = np.indices(light.shape)
    return np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()


@pytest.mark.parametrize("shape", [(64, 64), (32, 64)])
@pytest.mark.parametrize(
    "options",
    [
        {"fit": "crop"},
        {"fit": "pad"},
        {"fit": "stretch"},
        {"fit": "crop", "crop": (11, 30, 110, 175)},
        {"fit": "pad", "crop": (11, 30, 110, 175)},
        {"fit": "stretch", "crop": (11, 30, 110, 175)},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_a_point_is_seen_where_the_calibration_projects_it(
    options: dict[str, Any], shape: tuple[int, int]
) -> None:
    """Pixels are counted from their centres, which image_proc's resize neglects: half a pixel."""
    modality = sensor(*shape, **options)
    found = calibration(modality, camera())
    assert (found.height, found.width) == shape
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == (3, 4)
    assert found.header.frame_id == "optical"
    k = np.reshape(found.k, (3, 3))
    scale = np.array([k[0, 0] / K[0, 0], k[1, 1] / K[1, 1]])
    for point in POINTS:
        seen = seen_at(modality, projected(K, point))
        np.testing.assert_allclose(projected(k, point) + (scale - 1.0) / 2.0, seen, atol=0.1)
    np.testing.assert_allclose(np.reshape(found.p, (3, 4))[:, :3], k)
    assert found.p[3] == pytest.approx(-15.0 * scale[0])


def test_the_view_is_that_of_the_binned_region_of_interest() -> None:
    """Its declared crop counts the pixels of the image, the intrinsics those of the sensor."""
    roi = SimpleNamespace(x_offset=40, y_offset=20, height=80, width=120)
    modality = sensor(32, 32, fit="stretch", crop=(5, 10, 35, 50))
    found = calibration(modality, camera(roi=roi, binning_x=2, binning_y=2))
    for point in POINTS:
        u, v = projected(K, point)
        in_image = np.array([(u - 40) / 2, (v - 20) / 2])
        expected = (in_image - [10, 5]) * [32 / 40, 32 / 30]
        np.testing.assert_allclose(projected(np.reshape(found.k, (3, 3)), point), expected)


def test_a_camera_info_that_says_nothing_gives_none() -> None:
    assert calibration(sensor(64, 64), None) is None
    assert calibration(sensor(64, 64), camera(height=0, width=0)) is None


def test_a_camera_smaller_than_the_declared_crop_is_refused() -> None:
    with pytest.raises(SampleError, match="at least 130 x 180 pixels for the declared crop"):
        calibration(sensor(64, 64, crop=(0, 0, 130, 180)), camera())
