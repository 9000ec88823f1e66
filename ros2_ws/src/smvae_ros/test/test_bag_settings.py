"""The offline evaluation reads a parameter file as the node's own table does."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from smvae_core.errors import ConfigError
from smvae_core.presets import VISION_TOUCH
from smvae_core.settings import check, conversion_options, fusion_rule, table

pytest.importorskip("smvae_training", reason="the offline evaluation is not installed")

CHANGES: dict[str, Any] = {
    "trigger": "depth",
    "max_rate_hz": 12.5,
    "collect_timeout_s": 0.03,
    "max_future_s": 0.25,
    "modalities.rgb.max_skew_s": 0.04,
    "modalities.rgb.max_age_s": 0.4,
    "modalities.rgb.stamp_offset_s": 0.02,
    "modalities.rgb.topic": "camera/image",
    "modalities.depth.depth_scale": 0.0001,
    "modalities.depth.frame_id": "optical",
    "modalities.force.min_samples": 7,
    "modalities.action.step_time_s": 0.1,
    "modalities.action.hold_last_s": 1.5,
    "modalities.action.joint_names": "a, b,c, d",
    "modalities.action.enabled": False,
}


@pytest.mark.parametrize("changes", [{}, CHANGES], ids=["defaults", "changed"])
def test_rules_options_and_pace_are_those_of_the_node(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    from smvae_training.evaluate.bag.parameter_files import read_parameters
    from smvae_training.evaluate.bag.settings import node_settings

    known = table(VISION_TOUCH)
    assert set(changes) <= set(known)
    values = {name: p.default for name, p in known.items()} | changes
    assert check(known, values) == ""
    file = tmp_path / "perception.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    settings = node_settings(VISION_TOUCH, read_parameters(file)[1])
    for modality in VISION_TOUCH:
        name = modality.name
        assert settings.rules[name] == fusion_rule(values, modality)
        assert settings.sources[name].options == conversion_options(values, modality)
        assert settings.topics[name] == f"/{values[f'modalities.{name}.topic']}"
        assert settings.sources[name].frame_id == values[f"modalities.{name}.frame_id"]
    for field in ("trigger", "max_rate_hz", "collect_timeout_s", "max_future_s"):
        assert getattr(settings.pace, field) == values[field]


NAMES = ("/**", "/*", "/*/smvae", "/**/smvae", "/left/smvae", "smvae", "/left/*", "/right/smvae",
         "/left/**", "**", "*", "other", "/a/left/smvae")  # fmt: skip
VALUES = ("1", "2.5", "1e3", "yes", "off", "True", "'on'", "text", "0x10", ".inf", "[1, 2]")


def as_rclpy_reads(file: Path, namespace: str) -> dict[str, Any]:
    """Return the parameters that a node of this namespace is given by a file."""
    import rclpy
    from rclpy.node import Node

    context = rclpy.Context()
    rclpy.init(args=["x", "--ros-args", "--params-file", str(file)], context=context)
    try:
        node = Node(
            "smvae",
            namespace=namespace,
            context=context,
            automatically_declare_parameters_from_overrides=True,
            start_parameter_services=False,
        )
        found = {name: p.value for name, p in node._parameters.items() if name[0] == "p"}
        node.destroy_node()
    finally:
        context.try_shutdown()
    return found


@pytest.mark.parametrize("seed", range(6))
def test_entries_of_a_file_are_for_whom_they_are_for_in_ros(seed: int, tmp_path: Path) -> None:
    """Namespaces, several nodes, wildcards, values: whatever rcl makes of them."""
    from smvae_training.evaluate.bag.parameter_files import read_parameters

    draw = random.Random(seed)
    file = tmp_path / "params.yaml"
    text = ""
    for name in draw.sample(NAMES, 8):
        values = "".join(
            f"    p{part}:\n      {draw.randrange(3)}: {draw.choice(VALUES)}\n"
            if draw.random() < 0.3
            else f"    p{part}.{draw.randrange(3)}: {draw.choice(VALUES)}\n"
            for part in draw.sample("abcdefgh", 3)
        )
        text += f"{json.dumps(name)}:\n  ros__parameters:\n{values}"
    text += "right:\n  inner:\n    smvae:\n      ros__parameters:\n        p: 9\n"
    file.write_text(text)
    for namespace in ("/", "/left", "/a/left", "/right/inner"):
        expected = as_rclpy_reads(file, namespace)
        node = f"{namespace.rstrip('/')}/smvae"
        if not expected:
            with pytest.raises(ConfigError, match=f"holds nothing for node {node}"):
                read_parameters(file, node)
            continue
        assert read_parameters(file, node) == (node, expected), text
