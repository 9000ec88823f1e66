"""What a bag lacks or loses is said by name; what is dropped stops nothing."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytest.importorskip("rosbags")
from small_bag import SmallBag, untrained_bundle

from smvae_core.presets import vision_touch
from smvae_core.runtime import Runtime
from smvae_training.cli import main
from smvae_training.evaluate.bag.evaluate import LATENTS, REPORT, SHEET, SUMMARY

EVERY = ("rgb", "depth", "force", "action")
BLIND = ("force", "action")


class BareWrench(SmallBag):
    """Wrenches without a header, which no window can be made of."""

    def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
        if topic == "/wrench":
            type_name, message = "geometry_msgs/msg/Wrench", message.wrench
        super().write(topic, type_name, message, received_ns)


class GreyAtFirst(SmallBag):
    """The first three colour images are of an encoding that no camera has."""

    left = 3

    def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
        if topic == "/rgb/image" and self.left:
            self.left -= 1
            message.encoding = "ultraviolet8"
        super().write(topic, type_name, message, received_ns)


def run(bag: Path, bundle: Path, out: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit code and what it wrote."""
    code = main(["evaluate-bag", str(bag), "--bundle", str(bundle), "--out", str(out), *arguments])
    return code, json.loads((out / SUMMARY).read_text(encoding="utf-8"))


def warned(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().err.splitlines()
    return [line.removeprefix("warning: ") for line in lines if line.startswith("warning: ")]


def test_a_dropped_sensor_of_a_type_that_nobody_reads_changes_nothing(
    runtime: Runtime, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = BareWrench(tmp_path / "bare", runtime).play((EVERY, 12))
    usual = SmallBag(tmp_path / "usual", runtime).play((EVERY, 12))
    options = ("--no-video", "--drop", "force", "--strict")
    assert run(bare, bundle, tmp_path / "out", *options)[0] == 0
    assert run(usual, bundle, tmp_path / "expected", *options)[0] == 0
    assert warned(capsys) == []
    found, expected = (np.load(tmp_path / n / LATENTS) for n in ("out", "expected"))
    assert np.array_equal(found["mean"], expected["mean"])
    assert np.isnan(found["force_rmse_force_N"]).all(), "nothing to compare with"
    assert np.isfinite(expected["force_rmse_force_N"]).any()


def test_a_bag_without_images_is_evaluated_and_says_what_is_missing(
    runtime: Runtime, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = SmallBag(tmp_path / "bag", runtime).play((BLIND, 12))
    code, summary = run(bag, bundle, tmp_path / "out")
    assert code == 0
    assert summary["latents"]["fused"].keys() == {"force+action", "action"}
    assert summary["errors"]["action_rmse_linear_m"]["count"] == summary["latents"]["count"]
    assert summary["errors"]["rgb_squared_error"]["count"] == 0
    missing = [
        "rgb: the bag has nothing on /rgb/image",
        "depth: the bag has nothing on /depth/image",
    ]
    assert summary["warnings"] == warned(capsys) == missing
    report = (tmp_path / "out" / REPORT).read_text(encoding="utf-8")
    assert "What is missing" in report
    assert missing[0] in report
    assert (tmp_path / "out" / SHEET).stat().st_size > 0, "what the model guesses"
    assert run(bag, bundle, tmp_path / "out", "--no-video", "--strict")[0] == 1
    assert (
        run(bag, bundle, tmp_path / "out", "--no-video", "--strict", "--drop", "rgb,depth")[0] == 0
    )


def test_a_model_without_images_is_evaluated_without_pictures(
    runtime: Runtime, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blind = untrained_bundle(tmp_path, vision_touch(32)[2:])
    bag = SmallBag(tmp_path / "bag", runtime).play((EVERY, 12))
    code, summary = run(bag, blind, tmp_path / "out", "--strict")
    assert code == 0
    assert summary["video"]["why_not"] == "the model has no image"
    assert not (tmp_path / "out" / SHEET).exists()
    assert "see the contact sheet" not in capsys.readouterr().out


def test_lost_messages_are_counted_by_sensor_with_the_first_reason(
    runtime: Runtime, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = GreyAtFirst(tmp_path / "bag", runtime).play((EVERY, 12))
    code, summary = run(bag, bundle, tmp_path / "out", "--no-video")
    (line,) = warned(capsys)
    assert code == 0
    assert summary["warnings"] == [line]
    assert line.startswith(
        "rgb: 3 of 12 messages rejected (3 x encoding); the first: rgb: encoding"
    )
    assert line.endswith("got 'ultraviolet8'")
    strict = (bag, bundle, tmp_path / "out", "--no-video", "--strict")
    assert run(*strict)[0] == 1
    assert run(*strict, "--drop", "rgb")[0] == 0


class SlowWrench(SmallBag):
    """Every sixteenth reading alone is recorded: 62.5 Hz of the simulated robot's 1 kHz."""

    count = 0

    def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
        self.count += topic == "/wrench"
        if topic != "/wrench" or self.count % 8 == 0:
            super().write(topic, type_name, message, received_ns)


class CameraAhead(SmallBag):
    """The colour camera's clock is 0.3 s fast."""

    def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
        if topic == "/rgb/image":
            stamp = message.header.stamp
            nanoseconds = stamp.sec * 10**9 + stamp.nanosec + 300_000_000
            stamp.sec, stamp.nanosec = divmod(nanoseconds, 10**9)
        super().write(topic, type_name, message, received_ns)


def test_a_sensor_that_is_never_fused_is_named_with_the_reason(
    runtime: Runtime, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = SlowWrench(tmp_path / "bag", runtime).play((EVERY, 12))
    code, summary = run(bag, bundle, tmp_path / "out", "--no-video", "--strict")
    (line,) = warned(capsys)
    assert code == 1
    assert summary["warnings"] == [line]
    assert line.startswith("force: never fused: 2 readings in the window, 3 needed")
    assert summary["modalities"]["force"]["states"]["stale"] > 0.9


def test_a_sensor_that_hardly_any_latent_holds_is_named_with_the_reason(
    runtime: Runtime, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = SmallBag(tmp_path / "bag", runtime).play((EVERY, 5), (BLIND, 100))
    dropped = ("--drop", "depth")
    code, summary = run(bag, bundle, tmp_path / "out", "--no-video", "--strict", *dropped)
    (line,) = warned(capsys)
    assert code == 1
    assert summary["warnings"] == [line]
    assert re.fullmatch(r"rgb: fused in [1-9]\.\d% of the latents; at the end: .+", line)


def test_a_camera_whose_clock_is_ahead_is_named_and_the_others_are_fused(
    runtime: Runtime, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = CameraAhead(tmp_path / "bag", runtime).play((EVERY, 20))
    code, summary = run(bag, bundle, tmp_path / "out", "--no-video", "--strict")
    (line,) = warned(capsys)
    assert code == 1
    assert line.startswith("rgb: its clock is 0.30 s ahead of action, depth and force, left out")
    assert line.endswith("add 0.30 to its stamp_offset_s")
    fused = {n: found["states"]["fused"] for n, found in summary["modalities"].items()}
    assert min(fused["depth"], fused["force"], fused["action"]) > 0.85
    assert fused["rgb"] < 0.1
