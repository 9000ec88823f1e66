"""Bad messages, stamps, predicted images and large frames, over real DDS."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_harness import camera_info, fused
from sensor_msgs.msg import CameraInfo, Image
from smvae_msgs.msg import LatentState
from std_msgs.msg import Header

from smvae_core.kinds.base import Prediction
from smvae_core.kinds.image import fill_camera_info
from smvae_core.messages import ConversionOptions
from smvae_core.modality import Modality

REJECTED = 3


def _status(latent: LatentState, name: str) -> Any:
    return next(s for s in latent.modalities if s.name == name)


def _cut_short(message: Image) -> None:
    message.data = message.data[:-1]


def _unknown_encoding(message: Image) -> None:
    message.encoding = "hsv8"


def _narrow_step(message: Image) -> None:
    message.step = 3


def _no_size(message: Image) -> None:
    message.width = 0


def _zero_stamp(message: Image) -> None:
    message.header.stamp.sec = message.header.stamp.nanosec = 0


def _future_stamp(message: Image) -> None:
    message.header.stamp.sec += 3600


def rescaled(info: CameraInfo, height: int, width: int, header: Header) -> CameraInfo:
    """Return what a sensor of a size, its view stretched, makes of a camera_info."""
    sensor = Modality(
        name="rgb",
        kind="color_image",
        shape=(3, height, width),
        unit="1",
        options={"fit": "stretch"},
    )
    prediction = Prediction(
        decode=lambda: pytest.fail("a size is known without decoding"),
        stamp_ns=0,
        frame_id=header.frame_id,
        options=ConversionOptions(),
        camera_info=info,
    )
    return fill_camera_info(sensor, CameraInfo(), prediction)


SPOILERS = [_cut_short, _unknown_encoding, _narrow_step, _no_size, _zero_stamp, _future_stamp]


def test_malformed_images_are_rejected_counted_and_survived(
    start_node, client, bundle, strict, modalities
) -> None:
    start_node(bundle=bundle, parameters=strict, diagnostics_period_s=0.2)
    client.activate()
    rgb = modalities[0]
    diagnostics = client.listen(DiagnosticArray, "/diagnostics")
    for count, spoil in enumerate(SPOILERS, start=1):
        client.latents.clear()
        stamp = client.now_ns()
        message = client.message("rgb", rgb.example_sample(), stamp)
        spoil(message)
        client.publish("rgb", stamp, message)
        client.publish("action", stamp)
        client.until(lambda n=count: [m for m in client.latents if _status(m, "rgb").rejected == n])
        assert all("rgb" not in fused(m) for m in client.latents), spoil.__name__
    assert _status(client.latents[-1], "rgb").state == REJECTED
    reasons = {"encoding", "size", "step", "zero stamp", "future stamp"}
    wanted = {f"rejected: {r}" for r in reasons}
    client.until(
        lambda: [
            s
            for message in diagnostics
            for s in message.status
            if s.name == "smvae: modality rgb" and wanted <= {v.key for v in s.values}
        ]
    )
    client.latents.clear()
    client.play_until(("rgb",), lambda: [m for m in client.latents if fused(m) == ("rgb",)])


def test_nan_in_a_wrench_or_a_command_is_rejected(
    start_node, client, bundle, strict, modalities
) -> None:
    start_node(bundle=bundle, parameters=strict)
    client.activate()
    for name in ("force", "action"):
        modality = client.modalities[name]
        client.latents.clear()
        stamp = client.now_ns()
        sample = np.full(modality.shape[0], np.nan, np.float32)
        client.publish(name, stamp, client.message(name, sample, stamp))
        client.until(lambda n=name: [m for m in client.latents if _status(m, n).rejected == 1])
        assert not any(m.valid for m in client.latents)


def test_predicted_images_carry_the_stamp_of_their_latent(
    start_node, client, bundle, runtime, strict
) -> None:
    start_node(bundle=bundle, parameters=strict)
    images = {n: client.listen(Image, f"/smvae/predicted/{n}/image") for n in ("rgb", "depth")}
    infos = client.listen(CameraInfo, "/smvae/predicted/rgb/camera_info")
    cameras = client.node.create_publisher(CameraInfo, "rgb/camera_info", 1)
    client.activate()
    client.until(cameras.get_subscription_count)
    cameras.publish(camera_info(128, 64))

    def all_seen() -> bool:
        return bool(images["rgb"] and images["depth"] and infos)

    client.play_until(("rgb", "depth"), all_seen)
    latents = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in client.latents if m.valid}
    for name, encoding in (("rgb", "rgb8"), ("depth", "32FC1")):
        image = images[name][-1]
        assert image.encoding == encoding
        assert image.header.frame_id == f"{name}_optical"
        latent = latents[(image.header.stamp.sec, image.header.stamp.nanosec)]
        expected = runtime.reconstruct(name, np.asarray(latent.mean, np.float32))
        got = np.frombuffer(image.data, expected.dtype).reshape(expected.shape)
        np.testing.assert_allclose(got.astype(float), expected.astype(float), atol=1.0)
    side = runtime.modality("rgb").shape[-1]
    info = infos[-1]
    assert (info.width, info.height) == (side, side)
    assert info.k[0] == pytest.approx(100.0 * side / 128)
    assert info.k[5] == pytest.approx(32.0 * side / 64)
    assert info.p[3] == pytest.approx(10.0 * side / 128)


def test_a_camera_info_follows_its_image_to_another_size() -> None:
    half = rescaled(camera_info(128, 64), 32, 64, Header(frame_id="rgb_optical"))
    assert (half.width, half.height, half.header.frame_id) == (64, 32, "rgb_optical")
    np.testing.assert_allclose(half.k, [50, 0, 32, 0, 100, 16, 0, 0, 1])
    np.testing.assert_allclose(half.p, [50, 0, 32, 5, 0, 100, 16, 0, 0, 0, 1, 0])


def test_a_camera_info_of_a_binned_region_of_interest_is_that_of_its_image() -> None:
    """A pixel of the image is found where the pinhole model of the whole sensor puts the point."""
    info = camera_info(128, 64)
    info.binning_x = info.binning_y = 2
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 32, 8, 64, 48
    found = rescaled(info, 96, 32, Header())
    x, y, z = 0.3, -0.2, 1.5
    u, v = info.k[0] * x / z + info.k[2], info.k[4] * y / z + info.k[5]
    assert found.k[0] * x / z + found.k[2] == pytest.approx((u - 32) * 32 / 64)
    assert found.k[4] * y / z + found.k[5] == pytest.approx((v - 8) * 96 / 48)
    u = (info.p[0] * x + info.p[3]) / z + info.p[2]
    assert (found.p[0] * x + found.p[3]) / z + found.p[2] == pytest.approx((u - 32) * 32 / 64)


def test_stamps_that_jump_back_begin_a_new_epoch(start_node, client, bundle, strict) -> None:
    start_node(bundle=bundle, parameters=strict)
    client.activate()
    client.play_until(("action",), lambda: [m for m in client.latents if m.valid])
    epoch = client.latents[-1].epoch
    client.latents.clear()
    start = client.now_ns() - 3600 * 10**9  # a bag that starts again
    steps = iter(range(1000))

    def next_latent() -> list[LatentState]:
        client.publish("action", start + next(steps) * 50_000_000)
        return [m for m in client.latents if m.valid and m.epoch == epoch + 1]

    latent = client.until(next_latent)[0]
    assert latent.header.stamp.sec < client.now_ns() // 10**9 - 3000


def test_a_padded_big_endian_depth_image_gives_the_same_latent(
    start_node, client, bundle, strict, modalities
) -> None:
    start_node(bundle=bundle, parameters=strict)
    client.activate()
    depth = modalities[1]
    millimetres = (depth.example_sample(5) * 1000.0).astype(np.uint16)
    height, width = millimetres.shape
    means = []
    for order, padding in (("<", 0), (">", 6)):
        client.latents.clear()
        stamp = client.now_ns()
        rows = np.zeros((height, width * 2 + padding), np.uint8)
        rows[:, : width * 2] = millimetres.astype(f"{order}u2").view(np.uint8).reshape(height, -1)
        message = Image(height=height, width=width, encoding="16UC1", step=rows.shape[1])
        message.is_bigendian = int(order == ">")
        message.data = array("B", rows.tobytes())
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        client.publish("depth", stamp, message)
        latent = client.until(lambda: [m for m in client.latents if m.valid])[0]
        means.append(np.asarray(latent.mean))
    np.testing.assert_array_equal(means[0], means[1])


def test_large_best_effort_images_arrive(start_node, client, bundle, strict) -> None:
    """3.7 MB a frame: Fast DDS's default shared memory (0.5 MB) loses many, our profile none."""
    process = start_node(bundle=bundle, parameters=strict)
    client.activate()
    image = np.random.default_rng(0).integers(0, 256, (960, 1280, 3), dtype=np.uint8)
    sent = 20
    for _ in range(sent):
        stamp = client.now_ns()
        client.latents.clear()
        client.publish("rgb", stamp, client.message("rgb", image, stamp))
        client.until(lambda: [m for m in client.latents if fused(m) == ("rgb",)])
    assert _status(client.latents[-1], "rgb").received == sent
    assert process.interrupt() == 0
