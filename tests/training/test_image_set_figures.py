"""Figures of image-set runs, and what they are made of."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smvae_core.errors import ConfigError
from smvae_core.presets import MNIST
from smvae_datasets.dataset import ArrayDataset
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.commands.figures import data_of, figures, write_figures
from smvae_training.evaluate.images.evaluate import evaluate_image_run
from smvae_training.evaluate.images.grids import mosaic
from smvae_training.evaluate.images.items import Items
from smvae_training.evaluate.images.pictures import check_names, pictures
from smvae_training.evaluate.images.reliability import bins
from smvae_training.evaluate.images.settings import ImageEvaluateConfig
from smvae_training.evaluate.images.tsne import latents, neighbour_accuracy
from smvae_training.presets import debug
from smvae_training.run import Run, RunError, RunPaths, load_run
from smvae_training.trainer import train_on
from tests.training.image_set_runs import SETTINGS, given


def test_one_command_writes_each_figure(
    digits: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the data are is known from the run."""
    out = tmp_path / "figures"
    more = ["--points", "12", "--count", "2", "--dpi", "30"]
    assert figures([str(digits[0]), "--out", str(out), *more], "smvae figures") == 0
    written = [Path(line) for line in capsys.readouterr().out.splitlines()]
    names = ["tsne", "label_to_image", "reconstruction", "label_probabilities", "prior"]
    assert written == [out / f"{name}.png" for name in names]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)
    only = given(digits[0], tmp_path / "few", only="generation", count=1)
    assert len(list(write_figures(load_run(digits[0]), only))) == 4


def test_figure_7_of_episodes_and_the_grid_of_many_modalities(
    tasks: tuple[Run, Any], episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    train_on(debug(), episodes, RunPaths(tmp_path), None, "memory")
    (picture,) = pictures(load_run(tmp_path), episodes, count=2)
    assert picture.name == "figure7"
    assert len(picture.draw().axes) == 2 * (2 + 1 + 2 * 2)  # images, force, images of two subsets
    shared = {f.name: getattr(episodes, f.name) for f in fields(ArrayDataset)}
    (picture,) = pictures(load_run(tmp_path), ArrayDataset(**shared), count=2)
    assert picture.name == "figure7"  # recordings of a robot are such a data set
    (picture,) = pictures(*tasks, count=2)
    assert picture.name == "translations"
    assert len(picture.draw().axes) == 2


def test_figures_that_a_run_does_not_have_are_refused_in_one_line(
    digits: tuple[Path, Path], tasks: tuple[Run, Any], tmp_path: Path
) -> None:
    run = load_run(digits[0])
    with pytest.raises(ConfigError, match=r"unknown figure 'tnse': have .*Did you mean 'tsne'"):
        next(write_figures(run, given(digits[0], tmp_path, only="tnse")))
    with pytest.raises(RunError, match="a run on mnist has no 'figure7', it has tsne and genera"):
        next(write_figures(run, given(digits[0], tmp_path, only="figure7")))
    with pytest.raises(RunError, match="a run on vision_tasks has no 'tsne', it has generation"):
        check_names(tasks[0], ["tsne"])
    with pytest.raises(ConfigError, match="count must be at least 1, got 0"):
        given(digits[0], tmp_path, count=0)
    with pytest.raises(ConfigError, match="samples must be at least 1, got 0"):
        ImageEvaluateConfig(samples=0)


def test_data_are_where_the_run_found_them(digits: tuple[Path, Path], tmp_path: Path) -> None:
    run = load_run(digits[0])
    assert data_of(run, None) == digits[1]
    assert data_of(run, tmp_path) == tmp_path
    found = replace(run, record=replace(run.record, data_path="mnist"))
    assert data_of(found, None) is None
    gone = replace(run, record=replace(run.record, data_path=str(tmp_path / "gone")))
    with pytest.raises(RunError, match=r"no longer at .*gone: say where with --data"):
        data_of(gone, None)


def test_other_data_are_refused(tasks: tuple[Run, Any], tmp_path: Path) -> None:
    run, records = tasks
    other = replace(records, arrays=records.arrays | {"grey": 255 - records.arrays["grey"]})
    with pytest.raises(RunError, match="was trained on other data"):
        evaluate_image_run(run, other, tmp_path, SETTINGS)


def made_items(count: int) -> Items:
    inputs = {m.name: torch.from_numpy(m.example(count)) for m in MNIST}
    classes = torch.arange(count) % 4
    inputs["label"] = torch.nn.functional.one_hot(classes, 10).float()
    return Items(modalities=MNIST, inputs=inputs, index=np.arange(count))


def test_pictures_show_the_first_of_each_class_then_the_second() -> None:
    member, names = made_items(12).one_of_each_class(6).classes()
    assert member.tolist() == [0, 1, 2, 3, 0, 1]
    assert made_items(12).one_of_each_class(6).index.tolist() == [0, 1, 2, 3, 4, 5]
    assert names == tuple("0123456789")


def test_only_what_is_given_decides_a_latent(digits: tuple[Path, Path]) -> None:
    model, items = load_run(digits[0]).model, made_items(8)
    given_image = latents(model, items, ("image",))
    assert given_image.shape == (8, 4)
    assert len(np.unique(given_image, axis=0)) == 8
    samples = latents(model, items, ("label",))
    assert len(np.unique(samples, axis=0)) == 8  # one sample per item, not four points
    np.testing.assert_array_equal(samples, latents(model, items, ("label",)))
    other = Items(
        modalities=MNIST,
        inputs=items.inputs | {"label": items.inputs["label"].flip(0)},
        index=items.index,
    )
    np.testing.assert_array_equal(given_image, latents(model, other, ("image",)))


def test_neighbours_tell_the_class_where_latents_lie_apart() -> None:
    rng = np.random.default_rng(0)
    member = np.arange(60) % 2
    z = rng.normal(size=(60, 3)).astype(np.float32)
    assert neighbour_accuracy(z + 20 * member[:, None], member) == 1.0
    assert 0.2 < neighbour_accuracy(z, member) < 0.8


def test_a_mosaic_holds_every_image_at_its_place() -> None:
    rows = np.random.default_rng(0).random((2, 3, 4, 5, 3)).astype(np.float32)
    picture = mosaic(rows, (1, 2))
    assert picture.shape == (2 * 4 + 1, 3 * 5 + 2 * 2, 3)
    np.testing.assert_array_equal(picture[5:9, 7:12], rows[1, 1])
    assert (picture[4] == 1).all()


def test_reliability_by_hand() -> None:
    stated = np.array([0.01, 0.05, 0.99, 1.0])
    mean, share, count = bins(stated, np.array([False, True, True, True]))
    assert (count[0], count[-1], count.sum()) == (2, 2, 4)
    assert (mean[0], share[0], share[-1]) == (pytest.approx(0.03), 0.5, 1.0)
    assert np.isnan(share[5])
