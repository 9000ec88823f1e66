"""What the node publishes beside the latent: timing, images for listeners, novelty."""

from __future__ import annotations

import json
import math
import shutil
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from in_process_node import InProcess
from lifecycle_msgs.msg import Transition
from node_harness import LATCHED, ModelInfo, camera_info, fused
from sensor_msgs.msg import CameraInfo, Image
from smvae_msgs.msg import LatentState, Timing
from smvae_ros.report.latencies import WINDOW_S, Latencies

from smvae_core.kinds.depth_color import colored, limits_m
from smvae_core.messages.image_data import fill
from smvae_core.modality import all_subsets, find, subset_name
from smvae_core.novelty.scale import Novelty, Tail, component
from smvae_core.preprocessing import measure_statistics, prepare
from smvae_core.presets import VISION_TOUCH

COLOR = "/smvae/predicted/depth/color/image"


def _stamp(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def _seconds(duration: Any) -> float:
    return float(duration.sec + duration.nanosec * 1e-9)


def test_timing_accounts_for_every_published_latent(start_node, client, bundle, strict) -> None:
    start_node(bundle=bundle, parameters=strict)
    timings = client.listen(Timing, "/smvae/debug/timing")
    client.activate()

    def pairs() -> list[tuple[Timing, LatentState]]:
        latents = {(m.epoch, m.sequence): m for m in client.latents if m.valid}
        keys = [(t, (t.epoch, t.sequence)) for t in timings]
        return [(t, latents[k]) for t, k in keys if k in latents]

    client.play_until(("rgb", "action"), lambda: len(pairs()) >= 3)
    for timing, latent in pairs():
        assert timing.header == latent.header
        assert timing.trigger in ("rgb", "action")
        parts = (timing.waiting, timing.inference, timing.publishing)
        assert sum(map(_seconds, parts)) == pytest.approx(_seconds(timing.node_latency), abs=1e-6)
        assert timing.inference == latent.inference_time
        assert _seconds(timing.node_latency) >= _seconds(latent.node_latency)
        published = timing.published.sec * 10**9 + timing.published.nanosec
        assert timing.stamp_to_published_s == pytest.approx((published - _stamp(timing)) * 1e-9)
        source = timing.source.sec * 10**9 + timing.source.nanosec
        received = timing.received.sec * 10**9 + timing.received.nanosec
        assert _stamp(timing) <= source <= received <= published


def test_a_depth_prediction_comes_in_colours_too(
    start_node, client, bundle, runtime, strict
) -> None:
    limits = {"modalities.depth.color_min_m": 0.2, "modalities.depth.color_max_m": 1.5}
    start_node(bundle=bundle, parameters=strict | limits)
    plain = client.listen(Image, "/smvae/predicted/depth/image")
    colors = client.listen(Image, COLOR)
    client.activate()

    def both() -> list[tuple[Image, Image]]:
        return [(c, p) for c in colors for p in plain if _stamp(c) == _stamp(p)]

    color, depth = client.play_until(("depth",), both)[-1]
    assert (color.encoding, depth.encoding) == ("rgb8", "32FC1")
    assert color.header.frame_id == depth.header.frame_id == "depth_optical"
    assert color.step == 3 * color.width
    metres = np.frombuffer(depth.data, np.float32).reshape(depth.height, depth.width)
    pixels = np.frombuffer(color.data, np.uint8).reshape(color.height, color.width, 3)
    np.testing.assert_array_equal(pixels, colored(metres, 0.2, 1.5))
    refused = client.set_parameter("modalities.depth.color_max_m", 0.1)
    assert "color_max_m 0.1 must exceed color_min_m 0.2" in refused.reason


def test_images_are_published_for_listeners_only(start_node, client, bundle, strict) -> None:
    """A recorder that only wants calibration gets it, scaled to an image that is not decoded."""
    start_node(bundle=bundle, parameters=strict)
    infos = client.listen(CameraInfo, "/smvae/predicted/rgb/camera_info")
    cameras = client.node.create_publisher(CameraInfo, "rgb/camera_info", 1)
    client.activate()
    client.until(cameras.get_subscription_count)

    def scaled() -> list[CameraInfo]:
        cameras.publish(camera_info(128, 64))
        return infos

    info = client.play_until(("rgb",), scaled)[-1]
    assert (info.width, info.height) == (32, 32)
    assert info.header.frame_id == "rgb_optical"
    assert _stamp(info) in {_stamp(m) for m in client.latents if m.valid}
    client.set_parameter("publish_predicted", "never")
    images = client.listen(Image, "/smvae/predicted/rgb/image")
    client.latents.clear()
    client.play_until(("rgb",), lambda: len([m for m in client.latents if m.valid]) >= 5)
    assert not images
    client.set_parameter("publish_predicted", "auto")
    client.play_until(("rgb",), lambda: images)


def test_the_frame_is_that_of_the_modalitys_own_camera(start_node, client, bundle, strict) -> None:
    """Depth drawn from force alone carries the frame of the depth camera, once it was seen."""
    start_node(bundle=bundle, parameters=strict)
    images = client.listen(Image, "/smvae/predicted/depth/image")
    client.activate()
    client.play_until(("depth",), lambda: images)
    client.latents.clear()
    images.clear()

    def from_force() -> list[Image]:
        alone = {_stamp(m) for m in client.latents if m.valid and fused(m) == ("force",)}
        return [i for i in images if _stamp(i) in alone]

    image = client.play_until(("force",), from_force)[0]
    assert image.header.frame_id == "depth_optical"


@pytest.fixture
def calibrated(bundle: Path, runtime: Any, tmp_path: Path) -> Any:
    """Make a copy of the bundle in which every sample has the same novelty: 1."""
    names = tuple(m.name for m in runtime.modalities)
    tail = Tail(values=(-1e9,), surprises=(1.0,), slope=1e-12)
    kinds = ("reconstruction", "conflict", "texture", "smooth")

    def make(warn: float, error: float) -> Path:
        subsets = all_subsets(names)
        novelty = Novelty(
            warn=warn,
            error=error,
            components={component(s, k, n): tail for s in subsets for k in kinds for n in s},
            subsets={
                subset_name(s): Tail(values=(0.0, 2.0), surprises=(0.0, 2.0), slope=1.0)
                for s in subsets
            },
        )
        copy = tmp_path / f"calibrated{error:g}"
        shutil.copytree(bundle, copy)
        file = copy / "manifest.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"novelty": novelty.to_json()}))
        return copy

    return make


def test_novelty_above_its_threshold_is_out_of_distribution(
    start_node, client, calibrated, strict
) -> None:
    start_node(bundle=calibrated(0.1, 0.5), parameters=strict)
    client.activate()
    client.play_until(("rgb", "force"), lambda: [m for m in client.latents if m.valid])
    latent = next(m for m in client.latents if m.valid)
    assert latent.status == LatentState.OUT_OF_DISTRIBUTION
    assert latent.novelty == pytest.approx(1.0, abs=0.01)
    by_state = {s.name: math.isfinite(s.nll) for s in latent.modalities if s.state == s.FUSED}
    assert any(by_state.values())
    assert all(math.isnan(s.nll) for s in latent.modalities if s.state != s.FUSED)
    infos = client.listen(ModelInfo, "/smvae/model_info", LATCHED)
    info = client.until(lambda: infos)[0]
    assert (info.novelty_warn, info.novelty_error) == pytest.approx((0.1, 0.5))


def test_what_is_most_unusual_is_of_the_newest_latent(
    start_node, client, calibrated, strict
) -> None:
    """Without sensors there is no novelty, nor anything that it owes most to."""
    soon = {"modalities.rgb.max_age_s": 1.0}
    start_node(bundle=calibrated(0.1, 0.5), parameters=strict | soon, diagnostics_period_s=0.1)
    received = client.listen(DiagnosticArray, "/diagnostics")
    client.activate()

    def most_unusual(said: str) -> list[str]:
        """Return it of the newest diagnostics, if they say this of the newest latent."""
        found = [s for m in received[-1:] for s in m.status if s.name == "smvae: latent"]
        values = [v.value for s in found for v in s.values if v.key == "most_unusual"]
        return values if found and said in found[0].message else []

    assert client.play_until(("rgb",), lambda: most_unusual("out of distribution")) != [""]
    assert client.until(lambda: most_unusual("no input")) == [""]


def test_novelty_below_its_threshold_is_not(start_node, client, calibrated, bundle, strict) -> None:
    start_node(bundle=calibrated(1.5, 2.5), parameters=strict)
    client.activate()
    client.play_until(("action",), lambda: [m for m in client.latents if m.valid])
    latent = next(m for m in client.latents if m.valid)
    assert latent.status == LatentState.DEGRADED
    assert latent.novelty == pytest.approx(1.0, abs=0.01)
    assert client.change(Transition.TRANSITION_DEACTIVATE)
    assert client.set_parameter("bundle", str(bundle)).successful  # not calibrated
    client.latents.clear()
    assert client.change(Transition.TRANSITION_ACTIVATE)
    client.play_until(("action",), lambda: [m for m in client.latents if m.valid])
    assert math.isnan(next(m for m in client.latents if m.valid).novelty)


def test_pixels_are_written_into_the_messages_own_array() -> None:
    """A setter would copy an array once more, and loop over every byte of anything else."""
    message = Image()
    pixels = message.data
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    fill(message, image, "rgb8")
    assert message.data is pixels
    assert isinstance(pixels, array)
    assert pixels.tobytes() == image.tobytes()
    assert (message.height, message.width, message.step) == (2, 4, 12)


def test_colours_are_of_fixed_limits_and_no_return_is_black() -> None:
    depth = np.array([[0.1, 0.5, 1.0, 9.0], [0.0, np.nan, np.inf, -1.0]], np.float32)
    image = colored(depth, 0.5, 1.0)
    assert image.shape == (2, 4, 3)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image[0, 0], image[0, 1])  # nearer than near
    np.testing.assert_array_equal(image[0, 2], image[0, 3])  # farther than far
    assert tuple(image[0, 1]) == (253, 231, 37)
    assert tuple(image[0, 2]) == (68, 1, 84)
    assert not image[1].any()


def test_colour_limits_come_from_parameters_or_are_the_models_range() -> None:
    depth = find(VISION_TOUCH, "depth")
    shown = depth.family.shown_range(depth)
    assert limits_m(shown) == limits_m(shown, 0.5, 0.0) == (0.0, 2.0)
    assert limits_m(shown, 0.2, 1.5) == (0.2, 1.5)


def test_training_data_say_nothing_about_the_limits_of_depth() -> None:
    """The model's depth is in metres, as ModalityInfo.scale says: images are not standardised."""
    depth = VISION_TOUCH[1]
    near = np.stack([prepare(depth, 0.3 * depth.example_sample(seed)) for seed in range(4)])
    assert measure_statistics(depth, near).scale == (1.0,)


def test_percentiles_are_those_of_the_last_ten_seconds() -> None:
    now = [100.0]
    latencies = Latencies(clock=lambda: now[0])
    assert math.isnan(latencies.summary()["inference_p50_ms"])
    for _ in range(50):
        now[0] += 0.01
        latencies.add(1.0, 2.0)  # slow runs of long ago
    now[0] += WINDOW_S
    for index in range(101):
        now[0] += 0.01
        latencies.add(index * 1e-3, 2e-3 * index)
    summary = latencies.summary()
    assert [summary[f"inference_p{q}_ms"] for q in (50, 95, 99)] == pytest.approx([50, 95, 99])
    assert summary["node_latency_p95_ms"] == pytest.approx(190)
    assert summary["rate_hz"] == pytest.approx(101 / WINDOW_S)
    assert latencies.published == 151


def test_nothing_is_decoded_twice_for_one_latent(client, domain, calibrated, strict) -> None:
    """Novelty decodes what was fused, predictions what else is wanted."""
    decoded: list[tuple[str, bytes]] = []
    given = strict | {"bundle": str(calibrated(1.5, 2.5)), "publish_predicted": "always"}
    with InProcess(domain, **given) as node:
        client.activate()
        runtime = node.session.runtime
        decode = runtime.decode

        def counted(name: str, mean: Any) -> Any:
            decoded.append((name, mean.tobytes()))
            return decode(name, mean)

        runtime.decode = counted
        client.latents.clear()
        client.play_until(
            ("rgb", "action"), lambda: [m for m in client.latents if len(fused(m)) == 2]
        )
        client.play_until(("action",), lambda: len(decoded) > 12)
        assert client.change(Transition.TRANSITION_DEACTIVATE)
    assert len(decoded) == len(set(decoded)), "one decoder, one mean"
    assert {"rgb", "depth", "force", "action"} == {name for name, _ in decoded}
