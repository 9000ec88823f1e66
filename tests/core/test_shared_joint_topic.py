"""Arm and gripper publish their joints on one topic: each sensor hears its own."""

from __future__ import annotations

from array import array
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from smvae_core.fusion.engine import Engine, Stamps
from smvae_core.fusion.rules import OF_OTHERS, FusionState, Pace
from smvae_core.fusion.source import Source
from smvae_core.kinds.joint_state import JointOptions
from smvae_core.messages import ConversionOptions
from smvae_core.modality import Modality

T0, MS = 10**18, 10**6
ARM = Modality(
    name="arm",
    kind="joint_state",
    shape=(2,),
    unit="rad",
    fields=("position.a", "position.b"),
    options=JointOptions(joints=("a", "b")),
)
COMMAND = Modality(name="command", kind="command", shape=(2,), unit="rad", fields=("a", "b"))
JOINTS = "sensor_msgs/msg/JointState"


def message(at_ms: int, *names: str) -> Any:
    stamp = SimpleNamespace(sec=(T0 + at_ms * MS) // 10**9, nanosec=(T0 + at_ms * MS) % 10**9)
    values = array("d", [0.1] * max(1, len(names)))
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp, frame_id=""),
        name=list(names),
        position=values,
        velocity=values,
        effort=array("d"),
    )


def engine(modality: Modality, **options: Any) -> Engine:
    source = Source(converter=modality.converter(JOINTS), options=ConversionOptions(**options))
    return Engine((modality,), {}, Pace(), {modality.name: source})


@pytest.mark.parametrize(
    ("modality", "options"),
    [(ARM, {}), (COMMAND, {}), (replace(COMMAND, fields=()), {"joint_names": ("a", "b")})],
    ids=["joint_state", "command by its fields", "command by joint_names"],
)
def test_a_grippers_message_takes_the_place_of_no_sample(
    modality: Modality, options: dict[str, Any]
) -> None:
    found = engine(modality, **options)
    for turn in range(5):
        now_s = turn * 0.02
        assert not found.receive(modality.name, message(20 * turn, "b", "a"), Stamps(now_s)).reason
        verdict = found.receive(
            modality.name, message(20 * turn + 4, "finger"), Stamps(now_s + 0.004)
        )
        assert verdict.reason == OF_OTHERS
        assert verdict.text.endswith("the message is of joints finger")
        assert not verdict.wakes
        status = found.observe(now_s + 0.005).status[modality.name]
        assert status.state is FusionState.FUSED
        assert status.stamp_ns == T0 + 20 * turn * MS
    assert status.reject_reasons == {OF_OTHERS: 5}
    assert status.received == 5
    for turn in range(5, 100):
        at = message(20 * turn + 4, "finger")
        found.receive(modality.name, at, Stamps(turn * 0.02 + 0.004))
    status = found.observe(2.0).status[modality.name]
    assert status.state is FusionState.STALE
    assert status.reason.startswith("nothing for 1.92 s")


def test_a_sensor_whose_joints_nobody_sends_says_what_comes_instead() -> None:
    found = engine(ARM)
    found.receive("arm", message(0, *(f"joint_{n}" for n in range(9))), Stamps(0.0))
    status = found.observe(0.0).status["arm"]
    assert status.state is FusionState.REJECTED
    assert status.reason.endswith(
        "the message is of joints joint_0, joint_1, joint_2, joint_3, joint_4, joint_5, ..."
    )


@pytest.mark.parametrize("names", [(), ("a", "finger"), ("b",)])
def test_a_message_with_one_of_its_joints_or_without_names_is_its_own(names: tuple) -> None:
    assert not engine(ARM).receive("arm", message(0, *names), Stamps(0.0)).reason


def test_a_message_of_a_foreign_shape_is_left_to_the_conversion() -> None:
    odd = SimpleNamespace(header=message(0).header, name=5)
    assert not engine(ARM).receive("arm", odd, Stamps(0.0)).reason
