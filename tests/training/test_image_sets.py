"""Image-set runs: the evaluation of an image and its label, of many modalities, and the figures."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smvae_core.errors import ConfigError
from smvae_core.modality import CELEBA, MNIST, Modality, vision_tasks
from smvae_core.model.config import ModelConfig
from smvae_core.model.smvae import SMVAE
from smvae_datasets.image_sets.idx import write_idx
from smvae_datasets.image_sets.places import IDX_FILES
from smvae_datasets.prepared import PreparedEpisodes
from smvae_datasets.records import ImageRecords
from smvae_training.commands.figures import FiguresArguments, data_of, figures, write_figures
from smvae_training.image_sets.errors import subset_errors
from smvae_training.image_sets.evaluate import evaluate_image_run
from smvae_training.image_sets.grids import mosaic
from smvae_training.image_sets.items import Items, read_items
from smvae_training.image_sets.pictures import check_names, pictures
from smvae_training.image_sets.reliability import bins
from smvae_training.image_sets.sections import score_lines
from smvae_training.image_sets.settings import ImageEvaluateConfig
from smvae_training.image_sets.subset_checks import subset_checks
from smvae_training.image_sets.tsne import latents, neighbour_accuracy
from smvae_training.likelihood.checks import SanityError
from smvae_training.likelihood.method import SMVAEMethod
from smvae_training.likelihood.subsets import SubsetConfig, subset_likelihoods
from smvae_training.presets import debug, preset
from smvae_training.run import Run, RunError, RunPaths, load_run
from smvae_training.trainer import prepare_data, train, train_on

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
    records = ImageRecords(name=source, arrays=arrays, group=groups, origin="made")
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


def test_an_image_and_its_label_get_every_number_of_the_specification(
    evaluated: tuple[dict[str, Any], str],
) -> None:
    results, _ = evaluated
    found = results["likelihoods"]
    assert list(found["proposals"]) == ["image+label", "image"]
    for values in found["proposals"].values():
        for key in ("joint", "marginal", "conditional"):
            assert values[key]["standard_error"] > 0
        assert 1 <= values["ess_joint"]["min"] <= values["ess_joint"]["median"] <= 20
        joint, log_p_y = values["joint"]["mean"], found["log_p_y"]["mean"]
        assert joint <= values["marginal"]["mean"]
        assert values["conditional"]["mean"] == pytest.approx(joint - log_p_y)
    assert (found["items"], found["settings"]["prior_samples"]) == (6, 200)
    assert results["checks_passed"]
    assert all(c["passed"] for c in results["checks"])
    assert any(c["name"].startswith("joint <= marginal") for c in results["checks"])
    assert results["calibration"]["items"] == 30
    assert 0 <= results["calibration"]["calibration_error"] <= 1
    assert len(results["coherence"]["label_to_image_by_class"]) == 10
    assert set(results["entropy"]["subsets"]) == {"image", "label", "image+label"}
    assert 0 <= results["entropy"]["share_not_rising"] <= 1
    lines = score_lines(results)
    assert lines[0].startswith("q(z|image+label): log p(x,y) -")
    count = len(results["checks"])
    assert lines[-1] == f"sanity checks that hold: {count} of {count}"
    data = results["data"]
    assert (data["name"], data["pixels"]) == ("mnist_binarised", "binarised")
    assert (data["held_out_records"], data["published_files"]) == (TEST, False)


def test_the_report_holds_all_pictures_and_fetches_nothing(
    evaluated: tuple[dict[str, Any], str],
) -> None:
    _, text = evaluated
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]*", "", text)
    assert text.count('<img src="data:image/png;base64,') == 7  # pictures, reliability, curves
    for title in ("Pictures", "Likelihoods", "Labels from images", "Coherence"):
        assert f"<h2>{title}</h2>" in text
    for title in ("Entropy of the posterior", "Sanity checks", "Training curves", "Set-up"):
        assert f"<h2>{title}</h2>" in text
    assert "Never compare with numbers of grey pixels" in text


class Weighted(SMVAE):
    """Keeps a training weight in its likelihood, the usual mistake."""

    def log_likelihood(self, name: str, x: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        return (10.0 if name == "label" else 1.0) * super().log_likelihood(name, x, output)


def test_a_label_weight_in_the_likelihood_stops_the_evaluation(
    digits: tuple[Path, Path], tmp_path: Path
) -> None:
    run = load_run(digits[0])
    wrong = Weighted(run.model_config)
    wrong.load_state_dict(run.model.state_dict())
    records = prepare_data(run.config, digits[1])
    with pytest.raises(SanityError, match=r"sum of p\(y\) is 1"):
        evaluate_image_run(replace(run, model=wrong.eval()), records, tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out").exists()


def test_more_modalities_get_likelihoods_and_errors_of_each_alone_and_of_all(
    tasks: tuple[Run, Any], tmp_path: Path
) -> None:
    run, records = tasks
    names = run.model.names
    results = evaluate_image_run(run, records, tmp_path, SETTINGS)
    assert list(results["likelihoods"]["subsets"]) == [*names, "+".join(names)]
    assert results["checks_passed"]
    assert any(c["name"].startswith("log p(all|S)") for c in results["checks"])
    for found in results["errors"]["subsets"].values():
        assert set(found) == set(names)
        for name, error in found.items():
            own = results["errors"]["training_mean"][name]["mean_squared_error"]["mean"]
            assert error["ratio"] == pytest.approx(error["mean_squared_error"]["mean"] / own)
    assert results["entropy"]["pairs"] == 28  # of 15 subsets
    text = (tmp_path / "report.html").read_text()
    assert text.count("<img ") >= 1
    assert "<h2>Errors</h2>" in text
    every = ImageEvaluateConfig(subsets="all").chosen_subsets(names)
    assert len(every) == 15
    assert score_lines(results)[0].startswith("log p(all|image): -")


def test_errors_are_those_of_the_decoded_mean(tasks: tuple[Run, Any]) -> None:
    run, records = tasks
    items = read_items(run.model.config.modalities, run.statistics, records, np.arange(3))
    method = SMVAEMethod(run.model)
    zero = {"grey": np.zeros((1, 64, 64))}
    found = subset_errors(method, items, [("image",)], zero)
    with torch.inference_mode():
        present = torch.tensor([[True, False, False, False]]).expand(3, -1)
        mean = run.model.encode({"image": items.inputs["image"]}, present).mean
        drawn = run.model.reconstruct(mean, ["grey"])["grey"]
    error = (drawn - items.inputs["grey"]).square().mean()
    values = found["subsets"]["image"]["grey"]
    assert values["mean_squared_error"]["mean"] == pytest.approx(float(error), rel=1e-5)
    assert values["psnr_db"] == pytest.approx(-10 * np.log10(float(error)), rel=1e-5)
    own = float(items.inputs["grey"].square().mean())
    assert found["training_mean"]["grey"]["mean_squared_error"]["mean"] == pytest.approx(own)


def test_checks_of_subsets_name_what_is_impossible(tasks: tuple[Run, Any]) -> None:
    run, records = tasks
    items = read_items(run.model.config.modalities, run.statistics, records, np.arange(3))
    config = SubsetConfig(samples=3, items=None)
    found = subset_likelihoods(
        SMVAEMethod(run.model), items.inputs, config, subsets=[run.model.names]
    )
    assert all(c["passed"] for c in subset_checks(found, run.model.config.modalities))
    (scores,) = found.subsets.values()
    for broken, words in (
        (replace(scores, predictive=scores.each["grey"] + 10.0), "log p\\(all"),
        (replace(scores, ess=scores.ess * np.nan), "ess"),
    ):
        wrong = replace(found, subsets={"all": broken})
        with pytest.raises(SanityError, match=words):
            subset_checks(wrong, run.model.config.modalities, require=True)


def test_faces_and_attributes_are_scored_without_a_classifier(tmp_path: Path) -> None:
    run, records = made_run(tmp_path / "run", CELEBA, "celeba")
    results = evaluate_image_run(run, records, tmp_path / "out", SETTINGS)
    assert "28 x 28" in results["coherence"]["missing"]
    assert len(results["calibration"]["by_attribute"]) == 18
    assert results["likelihoods"]["ceiling"]["mean"] < 0  # grey levels cannot be certain
    text = (tmp_path / "out" / "report.html").read_text()
    assert "Never compare with numbers of binarised pixels" in text
    assert "Wearing Hat" in text
    names = [p.name for p in pictures(run, records)]
    assert "attributes_to_image" in names


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
