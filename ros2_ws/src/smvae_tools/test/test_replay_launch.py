"""The replay's launch file, wherever launch_ros is installed (it is not on PyPI)."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is not installed here: it is not on PyPI")

from sample_bag import write_bag
from test_launch import end, launch, needs_ros2

FILE = Path(__file__).parents[4] / "launch/replay_bag.launch.py"
GIVEN = {"bag": "/bags/one", "bundle": "/bundles/one", "topics": "/a /b"}


def context_with(**given: str) -> tuple[dict[str, Any], Any]:
    """Return the file's names, and a context with its arguments' values."""
    from launch import LaunchContext

    names = runpy.run_path(str(FILE))
    context = LaunchContext()
    context.launch_configurations.update(GIVEN | given)
    for argument in names["arguments"]():
        if argument.name not in context.launch_configurations:
            argument.execute(context)
    return names, context


def words(names: dict[str, Any], context: Any) -> list[str]:
    """Return the command line that plays."""
    from launch.utilities import perform_substitutions
    from launch_ros.actions import Node

    player = names["play"](context)
    if isinstance(player, Node):
        parts = player._Node__arguments
        return [p if isinstance(p, str) else perform_substitutions(context, p) for p in parts]
    return [perform_substitutions(context, part) for part in player.cmd]


def test_our_player_gets_offsets_jumps_and_topics() -> None:
    names, context = context_with(jump="5:2 8:9", loop="true", rate="2.0", topics="/a /b")
    assert not names["uses_rosbag2"](context)
    text = " ".join(words(names, context))
    assert text.startswith("/bags/one --rate 2.0 --start-offset 0.0 --loop --jump 5:2 --jump 8:9")
    assert text.endswith("--topics /a /b")


def test_rosbag2_plays_with_clock_where_it_is_asked_for() -> None:
    names, context = context_with(player="rosbag2", start_offset="3")
    text = " ".join(words(names, context))
    assert text.startswith("ros2 bag play /bags/one --clock-topics-all")
    assert "--start-offset 3" in text
    names, context = context_with(player="rosbag2", jump="5:2")
    with pytest.raises(RuntimeError, match="jump needs player:=smvae"):
        names["play"](context)


def test_rosbag2_plays_the_clock_that_stamps_in_the_bag_are_of(
    modalities: Any, tmp_path: Path
) -> None:
    bag = write_bag(tmp_path / "bag", modalities, 1.0, simulated=True)
    names, context = context_with(player="rosbag2", bag=str(bag), topics="/wrench /action")
    text = " ".join(words(names, context))
    assert "--clock-topics-all" not in text
    assert text.endswith("--topics /wrench /action /clock")


def test_topics_are_played_into_the_nodes_namespace() -> None:
    names, context = context_with(namespace="/left/", topics="/a /left/b", player="smvae")
    assert names["remappings"](context) == [("/a", "/left/a")]
    names, context = context_with(namespace="left", topics="/a /left/b", player="rosbag2")
    assert " ".join(words(names, context)).endswith("--topics /a /left/b --remap /a:=/left/a")
    names, context = context_with()
    assert names["remappings"](context) == []


def test_the_evaluation_follows_the_bag_only_where_asked_for() -> None:
    names, context = context_with()
    plain = len(names["start"](context))
    names, context = context_with(evaluate="true")
    assert len(names["start"](context)) == plain + 1
    assert context.launch_configurations["out"] == "/bags/one_evaluation"


def test_what_is_played_follows_the_bundles_sensors(bundle: Path) -> None:
    names, context = context_with(bundle=str(bundle), topics="")
    inputs = ["/rgb/image", "/rgb/camera_info", "/depth/image", "/depth/camera_info"]
    assert names["played"](context) == [*inputs, "/wrench", "/action"]
    names, context = context_with(
        bundle=str(bundle), topics="rgb=/cam/image,force=ft", wrench_topic="/x", namespace="left"
    )
    played = ["/cam/image", "/cam/camera_info", *inputs[2:], "/ft", "/action"]
    assert names["played"](context) == played
    assert names["remappings"](context) == [(t, f"/left{t}") for t in played[2:]]
    names, context = context_with(bundle=str(bundle), topics="", wrench_topic="/x")
    assert "/x" in names["played"](context)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"topics": ""}, "nothing is played: bundle /bundles/one: no such folder"),
        ({"topics": "lidar=/s"}, "lidar"),
    ],
)
def test_a_bundle_or_a_sensor_that_is_not_there_is_said(
    given: dict[str, str], reason: str, bundle: Path
) -> None:
    path = {"bundle": str(bundle)} if given["topics"] else {}
    names, context = context_with(**path, **given)
    with pytest.raises(RuntimeError, match=reason):
        names["start"](context)


def test_the_topics_of_sensors_reach_the_node_and_the_evaluation(bundle: Path) -> None:
    from launch.actions import IncludeLaunchDescription
    from launch.utilities import perform_substitutions

    names, context = context_with(bundle=str(bundle), topics="rgb=/a/b", evaluate="true")
    (include,) = (a for a in names["start"](context) if isinstance(a, IncludeLaunchDescription))
    assert dict(include.launch_arguments)["topics"] == "rgb=/a/b"
    process = names["evaluation"](context)
    command = [perform_substitutions(context, part) for part in process.cmd]
    assert command[-2:] == ["--topics", "rgb=/a/b"]


@pytest.mark.dds
@needs_ros2
def test_a_bag_is_played_to_its_end_with_the_topics_of_its_sensors(
    bundle: Path, modalities: Any, domain: int, tmp_path: Path
) -> None:
    bag = write_bag(tmp_path / "bag", modalities, 1.0)
    log = tmp_path / "launch.log"
    given = (f"bag:={bag}", f"bundle:={bundle}", "topics:=force=/wrench", "player:=smvae")
    process = launch(log, domain, FILE, *given)
    try:
        assert process.wait(60.0) == 0
        text = log.read_text(encoding="utf-8")
        assert "messages of 4 topics played" in text
        assert "nobody listens" not in text
    finally:
        end(process)
