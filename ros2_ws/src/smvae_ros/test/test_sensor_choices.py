"""What launch arguments choose per sensor, without launch."""

from __future__ import annotations

from pathlib import Path

import pytest
from smvae_ros.parameters.choices import choices, chosen_topics, listened_to, parameters_of

from smvae_core.errors import ConfigError, UnknownModality
from smvae_core.presets import VISION_TOUCH


def test_a_list_names_values_by_sensor() -> None:
    assert choices("rgb=/a, force = /b/wrench,", "topics") == {"rgb": "/a", "force": "/b/wrench"}
    assert choices("", "topics") == {}


@pytest.mark.parametrize("text", ["rgb", "=/a", "rgb=", "rgb=/a,/b"])
def test_a_list_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="topics: expected NAME=VALUE"):
        choices(text, "topics")


def test_a_sensor_named_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="'rgb' is given twice, /a and /b"):
        choices("rgb=/a,rgb=/b", "topics")


def test_lists_and_arguments_of_one_sensor_become_the_same_parameters(bundle: Path) -> None:
    given = {"bundle": str(bundle), "modalities.rgb.topic": "/a"}
    types = "depth=sensor_msgs/msg/PointCloud2"
    assert parameters_of(given, topics="force=/b", message_types=types) == {
        **given,
        "modalities.force.topic": "/b",
        "modalities.depth.message_type": "sensor_msgs/msg/PointCloud2",
    }
    assert parameters_of(given, topics="rgb=/a") == given
    with pytest.raises(ConfigError, match=r"modalities.rgb.topic is given twice: /a, and /b in"):
        parameters_of(given, topics="rgb=/b")


@pytest.mark.parametrize("argument", ["topics", "message_types"])
def test_a_sensor_that_the_bundle_does_not_have_is_named_with_those_it_has(
    bundle: Path, argument: str
) -> None:
    reason = "unknown modality 'forces': .* has 'rgb', 'depth', 'force', 'action'. Did you mean"
    with pytest.raises(UnknownModality, match=reason):
        parameters_of({"bundle": str(bundle)}, **{argument: "forces=/b"})
    with pytest.raises(UnknownModality, match="unknown modality 'lidar'"):
        parameters_of({"bundle": str(bundle), "modalities.lidar.topic": "/scan"})


def test_without_a_sensor_no_bundle_is_read_and_without_a_bundle_no_sensor_is_judged() -> None:
    assert parameters_of({"bundle": "/nowhere"}, topics="") == {"bundle": "/nowhere"}
    assert parameters_of({}, topics="lidar=/scan") == {"modalities.lidar.topic": "/scan"}


def test_single_arguments_are_called_after_the_default_topic() -> None:
    arguments = {"wrench_topic": "/ft", "rgb_topic": "", "depth_topic": "/d", "bag": "/x"}
    found = chosen_topics(VISION_TOUCH, "depth=/other", arguments)
    assert found == {"depth": "/other", "force": "/ft"}
    with pytest.raises(UnknownModality, match="unknown modality 'wrench'"):
        chosen_topics(VISION_TOUCH, "wrench=/ft", {})


def test_what_a_node_listens_to_follows_choice_and_namespace() -> None:
    heard = listened_to(VISION_TOUCH, {"rgb": "/cam/image", "force": "ft"}, "left")
    assert heard[:3] == ["/cam/image", "/cam/camera_info", "/left/depth/image"]
    assert heard[-2:] == ["/left/ft", "/left/action"]
