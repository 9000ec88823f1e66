"""Modalities are declared in one place, checked there, and survive JSON."""

from __future__ import annotations

import pytest

from smvae_core.errors import ConfigError, UnknownModality
from smvae_core.modality import (
    VISION_TOUCH,
    Modality,
    all_subsets,
    find,
    subset_name,
    vision_touch,
)
from smvae_core.preprocessing import prepare


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
        ({"shape": (3, 48, 48)}, "28 or 32 or 64 or 128 square"),
        ({"shape": (3, 64, 32)}, "28 or 32 or 64 or 128 square"),
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
