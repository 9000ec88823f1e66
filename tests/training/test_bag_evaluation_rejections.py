"""Messages that cannot be used: rejected with the reason, by name, while the rest goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytest.importorskip("rosbags")
from small_bag import SmallBag, read_by

from smvae_core.bags import Bag, BagError
from smvae_core.fusion.rules import FusionState
from smvae_core.runtime import Runtime
from smvae_training.evaluate.bag.evaluate import LATENTS, evaluate_bag
from smvae_training.evaluate.bag.inputs import find_inputs
from smvae_training.evaluate.bag.options import BagOptions
from smvae_training.evaluate.bag.replay import BagReplay, Moment
from smvae_training.evaluate.bag.settings import node_settings

NAMES = ("rgb", "depth", "force", "action")


class WithBadImages(SmallBag):
    """Every third colour image has rows of one byte, which nobody can read."""

    count = 0

    def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
        if topic == "/rgb/image":
            self.count += 1
            message.step = 1 if self.count % 3 == 0 else message.step
        super().write(topic, type_name, message, received_ns)


@pytest.mark.parametrize("drop", ["", "rgb"])
def test_a_bad_image_is_rejected_with_its_reason_and_the_rest_goes_on(
    bundle: Path, runtime: Runtime, tmp_path: Path, drop: str
) -> None:
    bag = WithBadImages(tmp_path / "bag", runtime).play((NAMES, 30))
    options = BagOptions(trigger="depth", video=False, drop=drop)
    found = evaluate_bag(bag, bundle, tmp_path / "out", options)
    with np.load(tmp_path / "out" / LATENTS, allow_pickle=False) as file:
        columns = dict(file)
    assert len(columns["mean"]) == 30
    bad = 10
    rgb = found["modalities"]["rgb"]
    assert rgb["messages"] == 30
    assert rgb["unreadable"] >= bad - 1
    assert found["subsets"]["rgb"]["rgb"]["moments"] <= 30
    scored = np.isfinite(columns["rgb_squared_error"])
    if drop:  # a bad image is nothing to compare with
        assert scored.sum() == 30 - bad
    else:  # the one before it is still fresh, and is used in its place
        assert scored.sum() >= 30 - bad
        assert rgb["reasons"] == {"step": bad}
        assert set(columns["state"][:, 0]) <= {FusionState.FUSED, FusionState.REJECTED}
        assert (columns["state"][:, 0] == FusionState.FUSED).sum() >= 20


class Cut(SmallBag):
    """Messages of the wrench that were cut to nothing or to their head: every n-th, or all."""

    turn = 0
    every = 3

    def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
        super().write(topic, type_name, message, received_ns)
        if topic == "/wrench":
            self.turn += 1
            if self.turn % self.every == 0:
                cut = b"" if self.turn % 2 else b"\0\1\0\0"
                self.writer.write(self.connections[topic], received_ns, cut)


def test_a_message_that_was_cut_is_refused_and_the_rest_goes_on(
    bundle: Path, runtime: Runtime, tmp_path: Path
) -> None:
    maker = Cut(tmp_path / "bag", runtime)
    bag = maker.play((NAMES, 12))
    found = evaluate_bag(bag, bundle, tmp_path / "out", BagOptions(video=False))
    force = found["modalities"]["force"]
    assert force["reasons"] == {"decode": maker.turn // maker.every}
    assert force["states"]["fused"] > 0
    (warning,) = found["warnings"]
    assert "a message on /wrench is not a geometry_msgs/msg/WrenchStamped" in warning


def test_a_topic_of_which_no_message_can_be_read_ends_the_evaluation(
    bundle: Path, runtime: Runtime, tmp_path: Path
) -> None:
    class OfAnotherType(SmallBag):
        def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
            if topic != "/action":
                super().write(topic, type_name, message, received_ns)
                return
            if topic not in self.connections:
                self.connections[topic] = self.writer.add_connection(
                    topic, type_name, typestore=self.store
                )
            self.writer.write(self.connections[topic], received_ns, b"\0\1\0\0")

    bag = OfAnotherType(tmp_path / "bag", runtime).play((NAMES, 3))
    with pytest.raises(BagError, match="a message on /action is not a"):
        evaluate_bag(bag, bundle, tmp_path / "out", BagOptions(video=False))


def test_a_conversion_that_breaks_is_a_rejection_by_name(runtime: Runtime, tmp_path: Path) -> None:
    """As in the node: no message may stop the rest, and none is hidden."""

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("by the driver's field of view")

    with Bag(SmallBag(tmp_path / "small", runtime).standard()) as opened:
        settings = node_settings(runtime.modalities)
        inputs = find_inputs(opened, runtime.modalities, settings)
        inputs = read_by(inputs, "/depth/image", broken)
        replay = BagReplay(opened, Runtime(runtime.bundle), settings, inputs)
        moments: list[Moment] = []

        class Ear:
            def on_sample(self, *_: Any) -> None: ...

            def on_moment(self, moment: Moment) -> None:
                moments.append(moment)

        replay.run(Ear())
    assert len(moments) > 40
    assert not any("depth" in m.perceived.observation.samples for m in moments)
    reasons = replay.engine.collector.observe(0.0).status["depth"].reject_reasons
    assert reasons["unforeseen ZeroDivisionError"] >= 25
