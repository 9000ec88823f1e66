"""Learned baselines of the closed loop: what each computes, and that all are asked alike."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from benchmarks.closed_loop import train
from benchmarks.closed_loop.baselines.networks import Supervised, mixture, objective
from benchmarks.closed_loop.baselines.product import mvae, of_product, product_of_experts
from benchmarks.closed_loop.baselines.trained import NETWORKS, Supervision, Trained
from benchmarks.closed_loop.methods import identity, make
from benchmarks.tables.paired import ResultsError
from smvae_core.bundle import MANIFEST
from smvae_core.modality import all_subsets, subset_name
from smvae_core.model.config import ModelConfig
from smvae_core.target import DecodedTarget
from smvae_datasets.simulation.closed_loop.methods import Latents
from smvae_datasets.vision_touch.prepared import prepare_episodes
from smvae_training.config import TrainConfig
from smvae_training.presets import debug
from smvae_training.run import split_episodes
from tests.training.told_runs import write_episodes

FROZEN = Path(__file__).parents[1] / "frozen" / "bundle"
OFFSET = DecodedTarget(name="offset", mean=(0.0, 0.01), deviation=(0.1, 0.2))
CONTACT = DecodedTarget(name="contact", mean=(0.5,), deviation=(0.5,), binary=True)
MODEL: ModelConfig = replace(debug().model, targets=(OFFSET, CONTACT))
NAMES = tuple(m.name for m in MODEL.modalities)
TARGETS = {"offset": torch.tensor([[0.1, 0.2]] * 6), "contact": torch.ones(6, 1)}


def batch(count: int = 6) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return {m.name: torch.from_numpy(m.example(count)) for m in MODEL.modalities}


def of(subset: tuple[str, ...], count: int = 6) -> torch.Tensor:
    return torch.tensor([name in subset for name in NAMES]).expand(count, -1)


@pytest.mark.parametrize("network", [NETWORKS["concat"], NETWORKS["router"]])
def test_what_is_absent_tells_nothing_and_learns_nothing(network: type[Supervised]) -> None:
    torch.manual_seed(0)
    model = network(MODEL).eval()
    for subset in all_subsets(NAMES):
        present = of(subset)
        inputs = batch()
        first = model.tell(model.embed(inputs, present), present)
        for name in set(NAMES) - set(subset):
            inputs[name] = torch.full_like(inputs[name], torch.nan)
        again = model.tell(model.embed(inputs, present), present)
        for target in first:
            torch.testing.assert_close(first[target], again[target], rtol=0.0, atol=0.0)
        model.zero_grad()
        terms = objective(
            model, batch(), of(NAMES), present, 1.0, debug().objective, targets=TARGETS
        )
        terms.loss.backward()
        moved = {
            name
            for name in NAMES
            if any(
                p.grad is not None and p.grad.abs().max() > 0
                for p in model.embeddings[name].parameters()
            )
        }
        assert moved == set(subset)


def test_a_router_mixes_experts_as_a_mixture_of_gaussians() -> None:
    torch.manual_seed(1)
    weights = torch.softmax(torch.randn(5, 4), 1)
    means, log_vars = torch.randn(5, 4, 2), torch.randn(5, 4, 2)
    mean, log_var = mixture(OFFSET, weights.unsqueeze(2), means, log_vars)
    experts = Independent(Normal(means, (0.5 * log_vars).exp()), 1)
    expected = MixtureSameFamily(Categorical(weights), experts)
    torch.testing.assert_close(mean, expected.mean)
    torch.testing.assert_close(log_var.exp(), expected.variance)
    logit, _ = mixture(CONTACT, weights.unsqueeze(2), means[..., :1], log_vars[..., :1])
    share = (weights * torch.sigmoid(means[..., 0])).sum(1, keepdim=True)
    torch.testing.assert_close(torch.sigmoid(logit), share)


def test_a_router_asks_the_only_sensor_there_is() -> None:
    torch.manual_seed(0)
    model = NETWORKS["router"](MODEL).eval()
    for index, name in enumerate(NAMES):
        embeddings = model.embed(batch(), of((name,)))
        told = model.tell(embeddings, of((name,)))["offset"]
        token = model.tokens[name](embeddings[:, index])  # type: ignore[operator, index]
        torch.testing.assert_close(told, model.experts[name]["offset"](token))  # type: ignore[index]


def test_the_product_of_experts_stays_one_while_it_is_trained() -> None:
    torch.manual_seed(0)
    model = product_of_experts(of_product(MODEL))
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    loss = torch.zeros(())
    for _ in range(3):
        optimiser.zero_grad()
        terms = mvae(
            model, batch(), of(NAMES), of(("rgb", "force")), 1.0, debug().objective, None,
            targets=TARGETS,
        )  # fmt: skip
        loss = terms.loss
        loss.backward()
        optimiser.step()
    assert torch.isfinite(loss)
    assert {"offset", "contact"} <= set(terms.log_likelihood)
    model.eval()
    with torch.inference_mode():
        embeddings = model.embed(batch(), of(NAMES))
        alone = [model.posterior(embeddings, of((name,))) for name in NAMES]
        together = model.posterior(embeddings, of(NAMES))
    precision = 1.0 + sum(1.0 / q.variance - 1.0 for q in alone)
    torch.testing.assert_close(1.0 / together.variance, precision, rtol=1e-4, atol=1e-4)
    mean = sum(q.mean / q.variance for q in alone) / precision
    torch.testing.assert_close(together.mean, mean, rtol=1e-3, atol=1e-4)


def test_mvae_pays_the_divergence_of_all_of_each_and_of_the_drawn_subset() -> None:
    torch.manual_seed(0)
    model = product_of_experts(of_product(MODEL)).eval()
    present = of(("depth", "action"))

    def loss(beta: float) -> torch.Tensor:
        noise = torch.Generator().manual_seed(5)
        return mvae(model, batch(), of(NAMES), present, beta, debug().objective, noise).loss

    with torch.inference_mode():
        embeddings = model.embed(batch(), of(NAMES))
        sets = (of(NAMES), *(of((n,)) for n in NAMES), present)
        paid = sum(model.posterior(embeddings, s).kl().mean() for s in sets)
        torch.testing.assert_close(loss(1.0) - loss(0.0), paid, rtol=1e-3, atol=1e-2)


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_episodes(tmp_path_factory.mktemp("episodes"), 0)


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    few = debug()
    return replace(few, data=replace(few.data, targets=("all",), held_out=0.5), max_steps=30)


@pytest.fixture(scope="module")
def runs(episodes: Path, config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for method in ("concat", "router"):
        train.make(method, config, episodes, folder / method)
    return folder


@pytest.mark.parametrize("method", ["concat", "router"])
def test_a_baseline_sees_by_whatever_is_delivered(runs: Path, method: str) -> None:
    seeing = make(method, runs / method)
    assert isinstance(seeing, Supervision)
    tip = np.array([0.5, 0.0, 0.1, 0.0])
    samples = {m.name: m.example_sample() for m in MODEL.modalities}
    for subset in all_subsets(NAMES):
        seen = seeing.see({name: samples[name] for name in subset}, tip, tip)
        assert seen is not None
        assert np.isfinite(seen.pose).all()
    assert seeing.see({}, tip, tip) is None
    bad = samples | {"force": np.full((32, 6), np.nan, np.float32)}
    without = seeing.see({n: samples[n] for n in NAMES if n != "force"}, tip, tip)
    again = seeing.see(bad, tip, tip)
    assert without is not None
    assert again is not None
    np.testing.assert_array_equal(without.pose, again.pose)


@pytest.mark.parametrize("method", ["concat", "router"])
def test_deviations_hold_nine_in_ten_errors_of_held_out_records(
    runs: Path, episodes: Path, config: TrainConfig, method: str
) -> None:
    trained = Trained.load(runs / method / "any")
    data = prepare_episodes(episodes, config.model.modalities, progress=False)
    index = split_episodes(config, data).held_out
    inputs = {
        m.name: torch.from_numpy(train.Records.of(data, index, 10**6).inputs(
            m, trained.record.statistics[m.name]))
        for m in config.model.modalities
    }  # fmt: skip
    truth = data.targets["offset"].values[index]
    held = []
    for row in range(len(index)):
        told = trained.tell({n: x[row : row + 1] for n, x in inputs.items()})["offset"]
        held.append(np.abs(told.value - truth[row]) <= 1.645 * told.std * (1 + 1e-6))
    known = ~np.isnan(trained.calibration.factor(NAMES, "offset"))
    assert known.any()
    assert np.mean(held, axis=0)[known] == pytest.approx(0.9, abs=0.02)


def test_training_again_trains_nothing_again(
    runs: Path, episodes: Path, config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    before = identity(runs / "concat")
    train.make("concat", config, episodes, runs / "concat")
    assert "training" not in capsys.readouterr().out
    assert identity(runs / "concat") == before


def test_an_oracle_is_asked_for_the_subset_that_it_knows(
    episodes: Path,
    config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = (("rgb", "force"), ("force", "action"))
    monkeypatch.setattr(train, "ALIVE", known)
    short = replace(config, max_steps=2)
    train.make("oracle", short, episodes, tmp_path / "oracle")
    seeing = make("oracle", tmp_path / "oracle")
    assert seeing.perceives
    tip = np.array([0.5, 0.0, 0.1, 0.0])
    samples = {m.name: m.example_sample() for m in MODEL.modalities}
    for subset in known:
        assert seeing.see({n: samples[n] for n in subset}, tip, tip) is not None
        run = Trained.load(tmp_path / "oracle" / subset_name(subset))
        assert set(run.calibration.subsets) == {subset_name(subset)}
    with pytest.raises(ResultsError, match=r"no network for rgb was trained: have .*force\+action"):
        seeing.see({"rgb": samples["rgb"]}, tip, tip)


def test_a_product_of_experts_is_a_bundle_like_ours(
    episodes: Path, config: TrainConfig, tmp_path: Path
) -> None:
    train.make("poe", replace(config, max_steps=2), episodes, tmp_path / "poe")
    seeing = make("poe", tmp_path / "poe")
    assert isinstance(seeing, Latents)


def test_a_bundle_that_is_exported_again_is_the_same(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(FROZEN, tmp_path / "bundle"))
    before = identity(bundle)
    manifest = json.loads((bundle / MANIFEST).read_text())

    def changed(**facts: object) -> str:
        (bundle / MANIFEST).write_text(json.dumps(manifest | facts))
        return identity(bundle)

    assert changed(created="2030-01-01T00:00:00+00:00") == before
    assert changed(noise_scale=manifest["noise_scale"] | {"rgb": 9.0}) != before


def test_a_folder_of_nothing_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="neither a bundle nor made by"):
        make("concat", tmp_path)
