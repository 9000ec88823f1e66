"""Bundles that declare a crop or a robot: their bags give what plain ones of the same give."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytest.importorskip("rosbags")
from live_bag import MS
from small_bag import SmallBag, untrained_bundle

from smvae_core.fusion.collector import Collector
from smvae_core.fusion.rules import FusionRule
from smvae_core.modality import Modality
from smvae_core.presets import vision_touch
from smvae_core.robot import Channel, Robot, Sensor
from smvae_core.runtime import Runtime
from smvae_training.audit.audit import audit
from smvae_training.evaluate.bag.evaluate import LATENTS, evaluate_bag
from smvae_training.evaluate.bag.options import BagOptions
from smvae_training.evaluate.live.bag import predicted_topic, read_bag
from smvae_training.evaluate.live.images import image_errors
from smvae_training.evaluate.live.replay import reproducer

#: Where the plain bag's 32 x 32 images stand in the larger ones, which have a frame of noise.
CROP = (8, 8, 40, 40)
CAMERA = (48, 48)
EVERY = ("rgb", "depth", "force", "action")
EARLY_NS = 400 * MS  # without the offset such images are too old
OFFSET_S = -EARLY_NS * 1e-9


class FramedBag(SmallBag):
    """Its cameras see the plain bag's images inside of larger ones."""

    def image(self, topic: str, modality: Modality, sample: Any, *stamps: int) -> None:
        if topic != predicted_topic(modality):
            noise = np.random.default_rng(5).uniform(0.1, 1.0, (*CAMERA, *sample.shape[2:]))
            framed = (noise * (255 if sample.dtype == np.uint8 else 1)).astype(sample.dtype)
            framed[8:40, 8:40] = sample.reshape(32, 32, *framed.shape[2:])
            sample = framed
        super().image(topic, modality, sample, *stamps)


class MovedBag(SmallBag):
    """On other topics, and its colour images are stamped too early, which its node corrects."""

    def __init__(self, path: Path, runtime: Runtime) -> None:
        super().__init__(path, runtime)
        self.collector = Collector(self.modalities, {"rgb": FusionRule(stamp_offset_s=OFFSET_S)})
        add = self.collector.add

        def add_early(name: str, stamp_ns: int, *rest: Any) -> Any:
            return add(name, stamp_ns - (EARLY_NS if name == "rgb" else 0), *rest)

        self.collector.add = add_early

    def image(self, topic: str, modality: Modality, sample: Any, stamp: int, received: int) -> None:
        early = EARLY_NS if topic == "/rgb/image" else 0
        super().image(topic, modality, sample, stamp - early, received)

    def write(self, topic: str, *rest: Any) -> None:
        inputs = {f"/{m.default_topic}" for m in self.modalities}
        super().write(f"/arm{topic}" if topic in inputs else topic, *rest)


def cropped() -> tuple[Modality, ...]:
    return tuple(
        replace(m, options=replace(m.options, crop=CROP)) if m.is_image else m
        for m in vision_touch(32)
    )


@pytest.fixture(scope="module")
def framed_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_bundle(tmp_path_factory.mktemp("framed"), cropped())


def latents_of(bag: Path, bundle: Path, out: Path) -> dict[str, Any]:
    evaluate_bag(bag, bundle, out, BagOptions(video=False, subsets="all"))
    with np.load(out / LATENTS, allow_pickle=False) as file:
        return dict(file)


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    assert np.isfinite(expected["rgb_squared_error"]).sum() > 10
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_a_cropped_camera_scores_as_the_part_that_it_looks_at(
    bundle: Path, framed_bundle: Path, runtime: Runtime, tmp_path: Path
) -> None:
    plain = SmallBag(tmp_path / "plain", runtime).play((EVERY, 20))
    framed = FramedBag(tmp_path / "framed", runtime).play((EVERY, 20))
    expected = latents_of(plain, bundle, tmp_path / "expected")
    assert_equal(latents_of(framed, framed_bundle, tmp_path / "found"), expected)
    assert audit(framed, framed_bundle)["holds"]


def marked(maker: SmallBag, sensors: Sequence[str] = ("rgb", "depth", "wrench", "action")) -> Path:
    with maker.writer:
        maker.mark("0", (), [])
        for _ in range(12):
            maker.step(tuple(sensors))
    return maker.path


def test_recorded_predictions_of_a_cropped_camera_are_not_cut_again(
    framed_bundle: Path, runtime: Runtime, tmp_path: Path
) -> None:
    runs = [
        (read_bag(marked(SmallBag(tmp_path / "a", runtime)), runtime.modalities), runtime),
        (read_bag(marked(FramedBag(tmp_path / "b", runtime)), cropped()), Runtime(framed_bundle)),
    ]
    found = []
    for run, seen_by in runs:
        replay = reproducer(run, seen_by)
        replayed = [replay.check(latent) for latent in run.latents if latent.valid][2:]
        assert max(each.mean_difference for each in replayed) < 1e-4
        for name in ("rgb", "depth"):
            found.append(image_errors(run, seen_by, seen_by.modality(name), replayed, {}))
            assert found[-1].images == len(replayed)
            assert found[-1].live == pytest.approx(found[-1].offline, rel=0.02)
    assert [e.live for e in found[:2]] == pytest.approx([e.live for e in found[2:]])


def test_a_robots_topics_and_settings_count(bundle: Path, runtime: Runtime, tmp_path: Path) -> None:
    robot = Robot(
        name="arm",
        sensors=tuple(
            Sensor(
                modality=m,
                channel=Channel(topic=f"/arm/{m.default_topic}"),
                settings={"stamp_offset_s": OFFSET_S} if m.name == "rgb" else {},
            )
            for m in runtime.modalities
        ),
    )
    declared = untrained_bundle(tmp_path, robot=robot)
    plain = SmallBag(tmp_path / "plain", runtime).play((EVERY, 20))
    moved = MovedBag(tmp_path / "moved", runtime).play((EVERY, 20))
    expected = latents_of(plain, bundle, tmp_path / "expected")
    found = latents_of(moved, declared, tmp_path / "found")
    found["sample_stamp_ns"][found["sample_stamp_ns"][:, 0] > 0, 0] += EARLY_NS  # the message's own
    for name in (
        *("stamp_ns", "sample_stamp_ns", "state", "mean", "rgb_squared_error"),
        *("rgb_squared_error_next", "rgb_unchanged_next"),
    ):
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert np.isfinite(found["rgb_squared_error_next"]).sum() > 5
    assert audit(moved, declared)["holds"]
