"""The shipped parameter file is the node's table, written out."""

from __future__ import annotations

from pathlib import Path

from smvae_tools.parameter_file import to_yaml

from smvae_core.modality import VISION_TOUCH

FILE = Path(__file__).parents[2] / "smvae_ros/config/perception.yaml"


def test_the_parameter_file_is_the_table() -> None:
    assert FILE.read_text() == to_yaml(VISION_TOUCH), (
        "write it again: python -m smvae_tools.parameter_file > config/perception.yaml"
    )
