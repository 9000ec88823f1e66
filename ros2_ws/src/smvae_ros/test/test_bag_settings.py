"""The offline evaluation reads a parameter file as the node's own table does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from smvae_core.modality import VISION_TOUCH
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
    from smvae_training.bag_evaluation.settings import node_settings, read_parameters

    known = table(VISION_TOUCH)
    assert set(changes) <= set(known)
    values = {name: p.default for name, p in known.items()} | changes
    assert check(known, values) == ""
    file = tmp_path / "perception.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    settings = node_settings(VISION_TOUCH, read_parameters(file))
    for modality in VISION_TOUCH:
        name = modality.name
        assert settings.rules[name] == fusion_rule(values, modality)
        assert settings.sources[name].options == conversion_options(values, modality)
        assert settings.topics[name] == f"/{values[f'modalities.{name}.topic']}"
        assert settings.sources[name].frame_id == values[f"modalities.{name}.frame_id"]
    for field in ("trigger", "max_rate_hz", "collect_timeout_s", "max_future_s"):
        assert getattr(settings.pace, field) == values[field]
