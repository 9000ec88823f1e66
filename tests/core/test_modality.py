"""Modalities are declared in one place, checked there, and survive JSON."""

from __future__ import annotations

import pytest

from smvae_core.errors import ConfigError, UnknownModality
from smvae_core.modality import Modality, all_subsets, find, subset_name
from smvae_core.preprocessing import prepare
from smvae_core.presets import VISION_TOUCH, vision_touch


def test_four_modalities_have_fifteen_subsets_each_once():
    subsets = all_subsets(tuple(m.name for m in VISION_TOUCH))
    assert len(subsets) == len(set(subsets)) == 15
    assert subset_name(subsets[-1]) == "rgb+depth+force+action"


@pytest.mark.parametrize("modality", vision_touch(128), ids=lambda m: m.name)
def test_a_modality_survives_json_and_prepares_its_own_example(modality: Modality):
    assert Modality.from_json(modality.to_json()) == modality
    assert prepare(modality, modality.example_sample()).shape == modality.shape
    assert modality.example(3).shape == (3, *modality.shape)
    assert modality.size == modality.example(1).size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "smell"}, "'smell' is not one of"),
        ({"shape": (3, 48, 48)}, "32, 64 or 128 px, .* got 48 x 48"),
        ({"shape": (3, 28, 28)}, "32, 64 or 128 px"),
        ({"kind": "grey_image", "shape": (1, 28, 64)}, "28, 32, 64 or 128 px"),
        ({"shape": (3, 64, 70)}, r"a multiple of .* 8 \(at 64\)"),
        ({"shape": (1, 64, 64)}, "color_image has 3 channels, got 1"),
        ({"kind": "depth_image"}, "depth_image has 1 channels, got 3"),
        ({"kind": "signal", "shape": (6, 15)}, "a multiple of 16 readings, got 15; .* 16 ms each"),
        ({"kind": "scan", "shape": (2, 100)}, "beams a multiple of 16"),
        (
            {"kind": "joint_state", "shape": (3,), "options": {"select": ("position", "effort")}},
            "unnamed joints with position, effort each, got 3 channels",
        ),
        ({"options": {"fit": "squeeze"}}, "fit must be one of crop, pad, stretch, got 'squeeze'"),
        ({"options": {"crop": (10, 0, 5, 20)}}, r"crop must be top, left, .* got \[10, 0, 5, 20\]"),
        ({"options": {"fits": "pad"}}, "no option 'fits', has fit, crop. Did you mean 'fit'"),
        (
            {"kind": "depth_image", "shape": (1, 64, 64), "options": {"range_m": (2.0, 1.0)}},
            "range_m must be near and far",
        ),
        ({"shape": (4,)}, "3 dimensions"),
        ({"kind": "vector", "shape": (4,), "fields": ("x",)}, "1 fields, 4 channels"),
    ],
)
def test_an_impossible_modality_is_refused(changes: dict, message: str):
    values = {"name": "rgb", "kind": "color_image", "shape": (3, 64, 64), "unit": "1"} | changes
    with pytest.raises(ConfigError, match=message):
        Modality(**values)


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(
        UnknownModality, match=r"this model has 'rgb', 'depth'.* Did you mean 'depth'"
    ):
        find(VISION_TOUCH, "deph")
