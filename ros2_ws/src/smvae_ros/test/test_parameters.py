"""The parameter table: its file, its checks, and what the running node answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from node_harness import fused, nanoseconds
from smvae_msgs.msg import LatentState
from smvae_ros.bundle_path import resolve
from smvae_ros.parameters.declared import descriptor

from smvae_core.errors import ConfigError
from smvae_core.presets import VISION_TOUCH
from smvae_core.settings import (
    check,
    conversion_options,
    fusion_rule,
    message_converter,
    table,
    unknown,
)

FILE = Path(__file__).parents[1] / "config" / "perception.yaml"
TABLE = table(VISION_TOUCH)
DEFAULTS = {name: p.default for name, p in TABLE.items()}


def test_the_defaults_are_valid_and_every_parameter_is_explained() -> None:
    assert check(TABLE, DEFAULTS) == ""
    assert all(p.description.endswith(".") for p in TABLE.values())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"max_rate_hz": 0.0}, "max_rate_hz must lie in [0.1, 1000]"),
        ({"provider": "tpu"}, "provider must be one of cpu, cuda, tensorrt"),
        ({"device_id": -1}, "device_id must lie in [0, 63], got -1"),
        ({"gpu_mem_limit_mb": -1.0}, "gpu_mem_limit_mb must lie in [0, 1e+06], got -1"),
        ({"trigger": "lidar"}, "trigger must be one of any, timer, rgb"),
        ({"trigger": "rgb", "modalities.rgb.enabled": False}, "trigger must be one of"),
        (
            {"modalities.rgb.max_age_s": 0.1, "modalities.rgb.max_skew_s": 0.2},
            "modalities.rgb: max_age_s 0.1 must exceed max_skew_s 0.2",
        ),
        (
            {"modalities.force.max_age_s": 0.2, "modalities.force.max_skew_s": 0.2},
            "modalities.force: max_age_s 0.2 must exceed max_skew_s 0.2",
        ),
        (
            {"modalities.action.hold_last_s": 0.5, "modalities.action.max_age_s": 0.5},
            "modalities.action: hold_last_s 0.5 must exceed max_age_s 0.5, or be 0 (never hold)",
        ),
        (
            {"modalities.rgb.message_type": "sensor_msgs/msg/PointCloud2"},
            "modalities.rgb.message_type must be one of sensor_msgs/msg/Image, "
            "sensor_msgs/msg/CompressedImage, or empty, got 'sensor_msgs/msg/PointCloud2'",
        ),
        (
            {"modalities.action.joint_names": "a, b, a"},
            "modalities.action.joint_names must differ, got 'a, b, a'",
        ),
        ({"modalities.rgb.max_skew_s": float("nan")}, "max_skew_s must lie in [0, 60], got nan"),
        ({"predict_ahead_s": 0.6}, "predict_ahead_s must lie in [0, 0.5], got 0.6"),
        ({"predict_ahead_s": 0.1, "memory_s": 0.0}, "predict_ahead_s 0.1 needs memory_s above 0"),
        (
            {f"modalities.{m.name}.enabled": False for m in VISION_TOUCH},
            "at least one modality must stay enabled",
        ),
    ],
)
def test_values_that_cannot_be_are_refused(change: dict[str, Any], reason: str) -> None:
    assert reason in check(TABLE, DEFAULTS | change)


def test_zero_limits_mean_measured_periods() -> None:
    rule = fusion_rule(DEFAULTS, VISION_TOUCH[0])
    assert (rule.max_skew_s, rule.max_age_s) == (None, None)
    given = DEFAULTS | {"modalities.rgb.max_skew_s": 0.02, "modalities.action.step_time_s": 0.1}
    assert fusion_rule(given, VISION_TOUCH[0]).max_skew_s == 0.02
    assert conversion_options(given, VISION_TOUCH[3]).step_time_s == 0.1


def test_what_a_topic_carries_picks_the_conversion() -> None:
    action = VISION_TOUCH[3]
    assert message_converter(DEFAULTS, action).message_type == "geometry_msgs/msg/TwistStamped"
    joints = {
        "modalities.action.message_type": "sensor_msgs/msg/JointState",
        "modalities.action.joint_names": "x, y ,z,yaw",
    }
    assert check(TABLE, DEFAULTS | joints) == ""
    assert message_converter(DEFAULTS | joints, action).message_type == "sensor_msgs/msg/JointState"
    assert conversion_options(DEFAULTS | joints, action).joint_names == ("x", "y", "z", "yaw")


def test_only_what_can_be_held_has_the_parameter() -> None:
    held = [name for name in TABLE if name.endswith(".hold_last_s")]
    assert held == [f"modalities.{n}.hold_last_s" for n in ("rgb", "depth", "action")]
    given = DEFAULTS | {"modalities.action.hold_last_s": 2.0}
    assert fusion_rule(given, VISION_TOUCH[3]).hold_last_s == 2.0


def test_when_a_parameter_may_change_is_one_of_three() -> None:
    assert TABLE["max_rate_hz"].when == "any"
    assert TABLE["bundle"].when == "inactive"
    assert TABLE["modalities.rgb.message_type"].when == "unconfigured"
    text = FILE.read_text()
    assert "[inactive]\n    bundle:" in text
    assert "CompressedImage.\n        message_type:" in text


def test_topics_follow_kind_and_name() -> None:
    assert [m.default_topic for m in VISION_TOUCH] == [
        "rgb/image",
        "depth/image",
        "wrench",
        "action",
    ]


def test_a_bundle_must_be_absolute() -> None:
    assert resolve("file:///a/b") == Path("/a/b")
    for path in ("/my models/peg 7%", "/models/k\u00fchl#1?", "/a/b"):
        uri = Path(path).as_uri()
        assert resolve(uri) == resolve(path) == Path(path)
        assert resolve(uri.replace("file://", "file://localhost")) == Path(path)
    assert resolve("FILE:/a%20b") == Path("/a b")
    for uri, said in (("http://robot/b", "absolute, file:// or"), ("file:///a#1", "written %23")):
        with pytest.raises(ConfigError, match=said):
            resolve(uri)
    with pytest.raises(ConfigError, match="must be absolute"):
        resolve("a/b")
    with pytest.raises(ConfigError, match="is empty"):
        resolve("")


def test_the_node_refuses_with_a_reason_and_obeys_live(start_node, client, bundle, strict) -> None:
    start_node(bundle=bundle, parameters=strict)
    client.activate()
    for name, value, reason in (
        ("max_rate_hz", 5000.0, "max_rate_hz"),
        ("bundle", "/elsewhere", "only while the node is unconfigured"),
        ("modalities.rgb.topic", "other", "only while the node is unconfigured"),
        ("trigger", "lidar", "trigger must be one of"),
        ("max_rate_hz", "fast", ""),
    ):
        result = client.set_parameter(name, value)
        assert not result.successful, name
        assert reason in result.reason
    assert client.set_parameter("modalities.rgb.enabled", False).successful
    since_ns = client.now_ns()  # a latent of before may still be on its way

    def later() -> list[LatentState]:
        return [m for m in client.latents if m.valid and nanoseconds(m.header.stamp) >= since_ns]

    client.play_until(("rgb", "action"), later)
    assert {fused(m) for m in later()} == {("action",)}
    assert client.latents[-1].modalities[0].state == 4
    assert client.latents[-1].status == 1  # two enabled ones are absent
    for name in ("depth", "force"):
        assert client.set_parameter(f"modalities.{name}.enabled", False).successful
    refused = client.set_parameter("modalities.action.enabled", False)
    assert not refused.successful
    assert "at least one modality" in refused.reason


def test_a_modality_as_trigger_waits_for_its_companions(start_node, client, bundle, strict) -> None:
    parameters = strict | {"collect_timeout_s": 1.0}
    start_node(bundle=bundle, parameters=parameters, trigger="rgb")
    client.activate()
    client.play_until(("rgb", "action"), lambda: [m for m in client.latents if len(fused(m)) == 2])
    since_ns = client.now_ns()  # a latent of before may still be on its way
    for _ in range(5):
        client.moment(("rgb", "action"))
        client.spin(0.05)
    latents = client.until(
        lambda: [m for m in client.latents if m.valid and nanoseconds(m.header.stamp) >= since_ns]
    )
    assert {fused(m) for m in latents} == {("rgb", "action")}


def test_parameters_that_nothing_reads_are_named() -> None:
    known = table(VISION_TOUCH)
    given = ["trigger", "use_sim_time", "max_rate", "modalities.rgb.topicc", "qos_overrides./a.b"]
    assert unknown(given, known) == {
        "max_rate": "did you mean max_rate_hz?",
        "modalities.rgb.topicc": "did you mean modalities.rgb.topic?",
    }
    lidar = ["modalities.lidar.topic", "modalities.lidar.enabled", "x"]
    assert unknown(lidar, known) == {
        "modalities.lidar": "the bundle has action, depth, force, rgb",
        "x": "no such parameter",
    }


def test_a_parameter_that_nothing_reads_is_warned_of(start_node, client, bundle) -> None:
    given = {"modalities.rgb.max_age": 1.0, "memory_s": 2.0}
    process = start_node(bundle=bundle, parameters=given)
    client.activate()
    said = "parameter modalities.rgb.max_age is ignored: did you mean modalities.rgb.max_age_s?"
    without = "parameter memory_s is ignored: the bundle has no memory"
    log = process.log.read_text(encoding="utf-8")
    assert (log.count(said), log.count(without), log.count("is ignored")) == (1, 1, 2)


def test_looking_ahead_without_a_memory_is_refused(start_node, client, bundle) -> None:
    process = start_node(bundle=bundle, parameters={"predict_ahead_s": 0.1})
    reason = "predict_ahead_s must be 0, got 0.1: the bundle has no memory (model.memory)"
    assert not client.change(Transition.TRANSITION_CONFIGURE)
    assert reason in process.log.read_text(encoding="utf-8")
    assert client.set_parameter("predict_ahead_s", 0.0).successful
    assert client.change(Transition.TRANSITION_CONFIGURE)
    assert client.set_parameter("predict_ahead_s", 0.2).reason == reason.replace("0.1", "0.2")


def test_two_sensors_of_one_topic_are_refused(start_node, client, bundle) -> None:
    """One message would count as two pieces of evidence; a disabled one counts as none."""
    process = start_node(bundle=bundle, parameters={"modalities.depth.topic": "/rgb/image"})
    reason = "rgb and depth cannot both be read from /rgb/image: one message would count as two"
    assert not client.change(Transition.TRANSITION_CONFIGURE)
    assert reason in process.log.read_text(encoding="utf-8")
    assert client.set_parameter("modalities.depth.enabled", False).successful
    assert client.change(Transition.TRANSITION_CONFIGURE)
    refused = client.set_parameter("modalities.depth.enabled", True)
    assert not refused.successful
    assert refused.reason.startswith(reason)


@pytest.mark.parametrize("topic", ["a b", "/rgb/", "//rgb", "2rgb"])
def test_a_topic_that_is_no_name_is_refused_by_the_name_of_its_parameter(
    start_node, client, bundle, topic: str
) -> None:
    process = start_node(bundle=bundle, parameters={"modalities.rgb.topic": f"'{topic}'"})
    said = f"modalities.rgb.topic must name a topic, such as /camera/image, got '{topic}': "
    assert not client.change(Transition.TRANSITION_CONFIGURE)
    assert f"configure failed: {said}" in process.log.read_text(encoding="utf-8")
    assert client.set_parameter("modalities.rgb.topic", "rgb/image").successful
    assert client.change(Transition.TRANSITION_CONFIGURE)


def test_a_topic_that_the_node_itself_has_with_another_type_is_refused(
    start_node, client, bundle
) -> None:
    process = start_node(bundle=bundle, parameters={"modalities.rgb.topic": "~/latent"})
    assert client.change(Transition.TRANSITION_CONFIGURE)
    assert not client.change(Transition.TRANSITION_ACTIVATE)
    assert (
        "rgb cannot be read from /smvae/latent as sensor_msgs/msg/Image: this node itself has that "
        "topic as smvae_msgs/msg/LatentState" in process.log.read_text(encoding="utf-8")
    )


def test_a_descriptor_says_what_is_allowed_and_when() -> None:
    said = descriptor(TABLE["provider"]).additional_constraints
    assert said == "one of cpu, cuda, tensorrt; may change only while the node is unconfigured"
    live = descriptor(TABLE["publish_predicted"]).additional_constraints
    assert live == "one of auto, always, never"
    assert "inactive" in descriptor(TABLE["bundle"]).additional_constraints


def test_a_value_of_the_wrong_type_ends_the_start_with_one_line(start_node) -> None:
    process = start_node(max_rate_hz="fast")
    assert process.process.wait(60.0) == 1
    text = process.log.read_text()
    assert "parameter max_rate_hz must be a float" in text
    assert "Traceback" not in text
