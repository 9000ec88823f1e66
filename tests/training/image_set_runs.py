"""Small image-set runs for tests: digits with labels, and any declared modalities."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.presets import vision_tasks
from smvae_datasets.dataset import ImageRecords
from smvae_datasets.image_sets.places import IDX_FILES
from smvae_training.commands.figures import FiguresArguments
from smvae_training.evaluate.images.evaluate import evaluate_image_run
from smvae_training.evaluate.images.settings import ImageEvaluateConfig
from smvae_training.presets import debug, preset
from smvae_training.run import Run, RunPaths, load_run
from smvae_training.trainer import prepare_data, train, train_on
from tests.idx_files import write_idx

TRAIN, TEST = 120, 40
SETTINGS = ImageEvaluateConfig(
    samples=20,
    prior_samples=200,
    items=6,
    quick_items=30,
    label_samples=5,
    coherence_samples=4,
    classifier_epochs=1,
    subset_samples=4,
    tsne_items=12,
)


def bars(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images whose bar stands where the class says, and the classes."""
    rng = np.random.default_rng(seed)
    classes = np.arange(count, dtype=np.uint8) % 10
    images = rng.integers(0, 40, (count, 28, 28), dtype=np.uint8)
    for image, c in zip(images, classes, strict=True):
        image[:, 2 * c + 3 : 2 * c + 6] = 220
    return images, classes


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a run of 30 steps on binarised digits, and the folder of their files."""
    root = tmp_path_factory.mktemp("digits")
    folder = root / "files"
    folder.mkdir()
    arrays = [*bars(TRAIN, 0), *bars(TEST, 1)]
    for name, array in zip(IDX_FILES, arrays, strict=True):
        (folder / name).write_bytes(write_idx(array))
    config = preset("mnist")
    config = replace(
        config,
        model=replace(config.model, latent_dim=4, embedding_dim=32),
        log=replace(config.log, every=10, tensorboard=False),
        batch_size=20,
        max_steps=30,
    )
    return train(config, folder, root / "run"), folder


@pytest.fixture(scope="module")
def evaluated(digits: tuple[Path, Path]) -> tuple[dict[str, Any], str]:
    """Return what results.json holds, read back, and the report."""
    run = load_run(digits[0])
    evaluate_image_run(run, prepare_data(run.config, digits[1]), None, SETTINGS)
    folder = RunPaths(digits[0]).evaluation
    results = json.loads((folder / "results.json").read_text(), parse_constant=pytest.fail)
    return results, (folder / "report.html").read_text()


def made_run(folder: Path, modalities: tuple[Modality, ...], source: Any) -> tuple[Run, Any]:
    """Return a run of two steps on drawn records of any modalities, and these records."""
    groups = np.repeat(np.arange(2, dtype=np.int32), [24, 12])
    examples = {m.name: m.example(36) for m in modalities}
    scale = {m.name: 255 if m.is_image else 1 for m in modalities}
    arrays = {name: (x * scale[name]).round().astype(np.uint8) for name, x in examples.items()}
    records = ImageRecords(
        name=source, sensors=modalities, arrays=arrays, group=groups, origin="made"
    )
    like = preset(source)
    config = replace(
        debug(),
        model=ModelConfig(modalities=modalities, latent_dim=4, embedding_dim=32, base_channels=2),
        data=replace(like.data, validation=0.0),
        max_steps=2,
    )
    paths = RunPaths(folder)
    train_on(config, records, paths, None, source)
    return load_run(folder), records


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Any]:
    return made_run(tmp_path_factory.mktemp("tasks"), vision_tasks()[:4], "vision_tasks")


def given(run: Path, out: Path, **more: Any) -> FiguresArguments:
    return FiguresArguments(run=run, out=out, dpi=30, **more)
