"""The launch file, wherever launch_ros is installed (it is not on PyPI)."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is not installed here: it is not on PyPI")

FILE = Path(__file__).parents[1] / "launch" / "perception.launch.py"


def test_every_argument_is_declared_at_top_level_and_described() -> None:
    from launch import LaunchContext

    description = runpy.run_path(str(FILE))["generate_launch_description"]()
    arguments = description.get_launch_arguments()
    assert {a.name for a in arguments} >= {"bundle", "namespace", "provider", "use_sim_time"}
    assert all(a.description for a in arguments)
    required = [a.name for a in arguments if a.default_value is None]
    assert required == ["bundle"]
    assert LaunchContext().launch_configurations == {}


def test_topic_arguments_default_to_the_parameter_table() -> None:
    from launch.utilities import perform_substitutions
    from smvae_ros.parameters import default_topic

    from launch import LaunchContext
    from smvae_core.modality import VISION_TOUCH

    description = runpy.run_path(str(FILE))["generate_launch_description"]()
    defaults = {
        a.name: perform_substitutions(LaunchContext(), a.default_value)
        for a in description.get_launch_arguments()
        if a.name.endswith("_topic")
    }
    assert set(defaults.values()) == {default_topic(m) for m in VISION_TOUCH}
