"""Small valid episodes to test with; `fields` are what one file holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from smvae_datasets.vision_touch.files import FIELDS, file_path, write_file

Fields = dict[str, NDArray[Any]]

HOLE_POSE = (0.5, 0.02, 0.1, 0.2)


def make_fields(seed: int = 0) -> Fields:
    """Return the fields of one valid file; images are ramps, so that they compress fast."""
    rng = np.random.default_rng(seed)
    fields: Fields = {}
    for field in FIELDS:
        shape = (50, *field.shape)
        if field.name in ("image", "depth_data", "optical_flow"):
            ramp = np.arange(128, dtype=np.float32)[None, :, None, None]
            level = rng.uniform(0.0, 100.0, (50, 1, 1, field.shape[-1]))
            scale = 1.0 if field.name == "image" else 0.005
            fields[field.name] = np.broadcast_to(scale * (ramp + level), shape).astype(field.dtype)
        elif field.name == "contact":
            fields[field.name] = rng.integers(0, 2, shape).astype(field.dtype)
        else:
            fields[field.name] = rng.normal(0.0, 0.5, shape).astype(field.dtype)
        if field.name in ("ee_ori", "ee_yaw", "ee_yaw_delta"):
            fields[field.name] /= np.linalg.norm(fields[field.name], axis=1, keepdims=True)
    return fields


@pytest.fixture
def fields() -> Fields:
    return make_fields()


@pytest.fixture
def episode(tmp_path: Path, fields: Fields) -> Path:
    """Path of one valid file, alone in its folder."""
    path = file_path(tmp_path, "peg", 0)
    write_file(path, fields, {"hole_pose": np.array(HOLE_POSE)})
    return path


@pytest.fixture
def make_episodes(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes trajectories: name -> number of files."""

    def make(attributes: dict[str, Any] | None = None, **files: int) -> Path:
        root = tmp_path / "episodes"
        root.mkdir(exist_ok=True)
        for index, (name, count) in enumerate(files.items()):
            for k in range(count):
                write_file(file_path(root, name, k), make_fields(100 * index + k), attributes)
        return root

    return make
