"""Bags of other message types: the bag's own type decides, and the samples stay the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytest.importorskip("rosbags")
from small_bag import SmallBag

from smvae_core.fusion.rules import FusionState
from smvae_core.runtime import Runtime
from smvae_training.evaluate.bag.evaluate import LATENTS, evaluate_bag
from smvae_training.evaluate.bag.options import BagOptions

NAMES = ("rgb", "depth", "force", "action")


class Compressed(SmallBag):
    """Colour images as PNG, which loses nothing."""

    def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
        if topic != "/rgb/image":
            super().write(topic, type_name, message, received_ns)
            return
        image = np.asarray(message.data).reshape(message.height, message.width, 3)
        name = "sensor_msgs/msg/CompressedImage"
        _, png = cv2.imencode(".png", np.ascontiguousarray(image[:, :, ::-1]))
        compressed = self.type(name)(
            header=message.header, format="rgb8; png compressed bgr8", data=png.reshape(-1)
        )
        super().write(topic, name, compressed, received_ns)


class Unstamped(SmallBag):
    """Commands as bare numbers, without a header."""

    def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
        if topic != "/action":
            super().write(topic, type_name, message, received_ns)
            return
        layout = self.type("std_msgs/msg/MultiArrayLayout")(dim=[], data_offset=0)
        name, numbers = "std_msgs/msg/Float32MultiArray", np.arange(4, dtype=np.float32)
        super().write(topic, name, self.type(name)(layout=layout, data=numbers), received_ns)


def columns(maker: SmallBag, bundle: Path, out: Path) -> dict[str, np.ndarray]:
    bag = maker.play((NAMES, 16))
    evaluate_bag(bag, bundle, out, BagOptions(subsets="none", video=False))
    with np.load(out / LATENTS, allow_pickle=False) as file:
        return dict(file)


def test_compressed_images_give_the_latents_of_raw_ones(bundle: Path, tmp_path: Path) -> None:
    runtime = Runtime(bundle)
    raw = columns(SmallBag(tmp_path / "raw", runtime), bundle, tmp_path / "1")
    compressed = columns(Compressed(tmp_path / "png", runtime), bundle, tmp_path / "2")
    for name, values in raw.items():
        np.testing.assert_array_equal(compressed[name], values, err_msg=name)
    assert (raw["state"][:, 0] == FusionState.FUSED).sum() > 10


def test_numbers_without_a_header_count_as_of_their_receive_time(
    bundle: Path, tmp_path: Path
) -> None:
    found = columns(Unstamped(tmp_path / "bare", Runtime(bundle)), bundle, tmp_path / "out")
    fused = found["state"][:, 3] == FusionState.FUSED
    assert fused.sum() > 10
    assert (np.diff(found["sample_stamp_ns"][fused, 3]) >= 0).all()
    assert np.isfinite(found["action_rmse_linear_m"][fused]).all()
