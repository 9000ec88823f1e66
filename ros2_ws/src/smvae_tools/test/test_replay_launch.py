"""The replay's launch file, wherever launch_ros is installed (it is not on PyPI)."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is not installed here: it is not on PyPI")

FILE = Path(__file__).parents[4] / "launch/replay_bag.launch.py"
GIVEN = {"bag": "/bags/one", "bundle": "/bundles/one"}


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
