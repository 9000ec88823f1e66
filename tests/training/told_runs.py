"""A small run on episode files whose sensors all tell where the peg is; fixtures of two tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from smvae_datasets.vision_touch.files import FIELDS, file_path, write_file
from smvae_datasets.vision_touch.prepared import prepare_episodes
from smvae_training.cli import main
from smvae_training.evaluate.records import Records
from smvae_training.exporting import export_run
from smvae_training.run import load_run

TRIALS, STEPS = 6, 50


def write_episodes(root: Path, seed: int) -> Path:
    """Write random trajectories whose position is told by all of their sensors."""
    rng = np.random.default_rng(seed)
    for trial in range(TRIALS):
        place = rng.random() + np.linspace(0.0, 0.5, STEPS)
        arrays = {}
        for field in FIELDS:
            shape = (STEPS, *field.shape)
            told = (place.reshape(-1, *(1,) * len(field.shape)) * np.ones(shape)) % 1.0
            noise = rng.normal(0.0, 0.01, shape)
            if field.name == "contact":
                arrays[field.name] = (told > 0.5).astype(np.uint8)
            elif field.dtype == "uint8":
                arrays[field.name] = (60 + 120 * told + 300 * noise).clip(0, 255).astype(np.uint8)
            elif field.name in ("ee_ori", "ee_yaw", "ee_yaw_delta"):
                arrays[field.name] = np.tile(np.float32([0, 0, 0, 1]), (STEPS, 1))
            else:
                arrays[field.name] = (0.3 + 0.5 * told + noise).astype(np.float32)
        write_file(file_path(root, f"t{trial}", 0), arrays, {"hole_pose": [0.5, 0.5, 0.1, 0.0]})
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_episodes(tmp_path_factory.mktemp("episodes"), 0)


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run") / "run"
    arguments = ["--preset", "debug", "--data", str(folder), "--out", str(run), "--no-report"]
    assert main(["train", *arguments, "--data.held-out", "0.5", "--max-steps", "30"]) == 0
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_run(trained, tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.fixture(scope="module")
def held_out(trained: Path, folder: Path) -> Records:
    run = load_run(trained)
    episodes = prepare_episodes(folder, run.model_config.modalities, progress=False)
    return Records.of(episodes, run.split(episodes).held_out, 1000)
