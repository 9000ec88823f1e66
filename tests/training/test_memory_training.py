"""Training with memory: exact resume, every target, every weight in use, clear refusals."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from smvae_core.errors import ConfigError
from smvae_core.model.config import MemoryConfig
from smvae_core.model.distributions import Posterior
from smvae_core.model.matching import matched, matching
from smvae_core.model.memory.context import Embedded
from smvae_core.model.objective import ElboTerms, Objective
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.model.smvae import SMVAE
from smvae_datasets.dataset import DataSetError
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.config import AugmentConfig, TrainConfig
from smvae_training.evaluate.report.figures import curves
from smvae_training.presets import debug
from smvae_training.run import load_run, training_statistics
from smvae_training.steps.callbacks import read_metrics
from smvae_training.steps.contexts import Contexts
from smvae_training.steps.data import Batch, StepStream, batch_order
from smvae_training.steps.embedded import EmbeddedRecords
from smvae_training.steps.module import SMVAETraining
from smvae_training.steps.normalise import BatchNormaliser
from smvae_training.steps.stages import Stages
from smvae_training.trainer import build_smvae
from tests.training.short_runs import rows_without_speed, run


@pytest.fixture
def config() -> TrainConfig:
    base = debug()
    model = replace(base.model, pooling="evidence", memory=MemoryConfig(horizon_s=1.0, width=4))
    context = replace(base.context, match=0.5, tune=0.75, match_batches=2)
    return replace(base, model=model, context=context)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_stopping_in_every_stage_and_resuming_equals_going_straight(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path, ema: float
) -> None:
    config = replace(config, optimizer=replace(config.optimizer, ema=ema))
    augmented = replace(config, augment=AugmentConfig(noise=0.1, crop=0.1))  # 4, 2 and 3 steps
    straight = run(augmented, episodes, tmp_path / "straight")
    run(augmented, episodes, tmp_path / "parts", stop_after=2)
    for step in (4, 5, 8):
        run(augmented, episodes, tmp_path / "parts", resume=True, stop_after=step)
    parts = run(augmented, episodes, tmp_path / "parts", resume=True)
    ours, theirs = load_file(parts.weights), load_file(straight.weights)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert rows_without_speed(parts) == rows_without_speed(straight)
    found = load_run(parts.root)
    assert found.config == augmented
    assert found.record.finished
    assert found.record.step == 9


def test_the_curves_of_a_run_leave_out_the_stage_without_them(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    rows = read_metrics(run(config, episodes, tmp_path / "run").metrics)
    figure = curves(rows)
    assert figure is not None
    (line,) = figure.axes[0].lines
    drawn = np.asarray(line.get_xdata()).tolist()
    matched = [row["step"] for row in rows if "loss" in row and "elbo" not in row]
    assert matched
    assert drawn == [row["step"] for row in rows if "elbo" in row]
    assert min(drawn) < min(matched) < max(matched) < max(drawn)


def test_networks_are_those_that_are_trained_without_a_memory(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    ours = load_file(run(config, episodes, tmp_path / "memory").weights)
    without = replace(config, model=replace(config.model, memory=None))
    theirs = load_file(run(without, episodes, tmp_path / "without").weights)
    assert all(torch.equal(ours[n], theirs[n]) for n in theirs if n.startswith("embeddings."))
    moved = {n for n in theirs if not torch.equal(ours[n], theirs[n])}
    assert any(n.startswith("decoders.") for n in moved)
    assert any(n.startswith("set_encoder.") for n in moved)
    only_matched = replace(config, context=replace(config.context, tune=0.0))
    matched = load_file(run(only_matched, episodes, tmp_path / "matched").weights)
    assert all(torch.equal(matched[n], theirs[n]) for n in theirs if n.startswith("decoders."))


def references(
    config: TrainConfig, data: PreparedEpisodes, count: int
) -> Iterator[tuple[Batch, SMVAE, Embedded, Posterior]]:
    """Yield batches of the last stage for one model, with what they remember, embedded."""
    torch.manual_seed(0)
    model, index = SMVAE(config.model), np.arange(len(data))
    order = batch_order(index, config.batch_size, 0)
    contexts = Contexts(data, index, config.context, 1.0, 0)
    stages = Stages(own=0, tune=count)
    stream = StepStream(data, order, lambda: 0, contexts=contexts, stages=stages)
    statistics = training_statistics(config, data, index)
    normaliser = BatchNormaliser(config.model.modalities, statistics)
    with tempfile.TemporaryDirectory() as folder:
        records = EmbeddedRecords(data, index, Path(folder))
        records.make(model.eval(), model.set_encoder, normaliser, torch.device("cpu"))
        assert not list(Path(folder).iterdir())  # a crash leaves nothing behind
    for step in range(count):
        batch = stream.batch(step)
        assert batch.references is not None
        device = torch.device("cpu")
        batch = batch._replace(arrays=normaliser(batch.arrays))
        yield (
            batch,
            model,
            records.embedded(batch.references, device),
            records.best(batch.references, device),
        )


def tuned(
    batch: Batch, model: SMVAE, embedded: Embedded, best: Posterior, weight: float = 100.0
) -> ElboTerms:
    sensors = batch.arrays, batch.recorded, batch.present
    return matched(model, *sensors, ObjectiveConfig(), embedded, best, weight)


def test_tuning_decodes_means_and_learns_variances_by_matching_alone(
    config: TrainConfig, episodes: PreparedEpisodes
) -> None:
    for batch, model, embedded, best in references(config, episodes, 1):
        q = model.posterior(embedded.embeddings, batch.present, embedded.elements)
        without, half, whole = (tuned(batch, model, embedded, best, w) for w in (0.0, 0.5, 1.0))
        # nothing is drawn: equal but for the weight
        assert whole.log_likelihood == half.log_likelihood == without.log_likelihood
        found = (half.loss - without.loss, whole.loss - without.loss)
        expected = matching(best, q).mean().item()
        assert [x.item() for x in found] == pytest.approx([0.5 * expected, expected], rel=1e-2)
        decoded = {n: model.decode(q.mean, [n])[n] for n in model.names}
        for name, output in decoded.items():
            likelihood = model.log_likelihood(name, batch.arrays[name], output).mean()
            assert float(whole.log_likelihood[name]) == pytest.approx(float(likelihood), rel=1e-4)


def test_latents_may_spread_as_widely_as_those_of_the_first_stage(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    def build(settings: TrainConfig) -> tuple[SMVAE, Objective]:
        model, objective = build_smvae(settings)
        assert model.set_encoder.evidence is not None
        torch.nn.init.constant_(model.set_encoder.evidence.mean.bias[0], 5.0)
        return model, objective

    key, root = "set_encoder.evidence.log_spread", tmp_path / "run"
    run(config, episodes, root, stop_after=4, build=build)
    assert not load_file(root / "weights.safetensors")[key].any()
    run(config, episodes, root, resume=True, build=build)
    spread = load_file(root / "weights.safetensors")[key]
    assert (spread >= 0).all()
    assert spread[0] > 1.0
    assert not spread.all()


@pytest.mark.parametrize("stage", ["match", "tune"])
def test_every_weight_behind_the_embeddings_learns_in_every_later_stage(
    config: TrainConfig, episodes: PreparedEpisodes, stage: str
) -> None:
    behind, optimizer = {}, None
    context = replace(config.context, outage_s=(0.05, 0.2), absent=0.0)
    config = replace(config, batch_size=32, context=context)
    for batch, model, embedded, best in references(config, episodes, 3):
        # what begins at zero hides others for two steps
        optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=1e-6)
        optimizer.zero_grad()
        if stage == "match":
            found = model.posterior(embedded.embeddings, batch.present, embedded.elements)
            loss = matching(best, found).mean()
        else:
            loss = tuned(batch, model, embedded, best).loss
        assert torch.isfinite(loss)
        loss.backward()
        optimizer.step()
        behind = dict(model.set_encoder.named_parameters()) | dict(model.memory.named_parameters())
    assert not [n for n, w in behind.items() if w.grad is None or not w.grad.any()]


def test_records_are_embedded_as_the_model_does(
    config: TrainConfig, episodes: PreparedEpisodes
) -> None:
    for batch, model, embedded, best in references(config, episodes, 1):
        ours = model.eval().embed(batch.arrays, batch.recorded)
        assert torch.allclose(ours, embedded.embeddings, atol=1e-5)
        whole = model.posterior(ours, batch.recorded)
        assert torch.allclose(whole.mean, best.mean, atol=1e-5)
        assert sum(len(x) for x in embedded.elements.owner.values())


def test_matching_ends_where_mean_and_variance_are_those_of_what_is_matched() -> None:
    """The variance of what is not known is the scatter of what it might be."""
    torch.manual_seed(0)
    best = Posterior(torch.randn(4000, 1), torch.full((4000, 1), math.log(0.5)))
    mean, log_var = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([mean, log_var], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        found = Posterior(mean.expand(4000, 1), log_var.expand(4000, 1))
        matching(best, found).mean().backward()
        optimizer.step()
    assert mean.item() == pytest.approx(float(best.mean.mean()), abs=1e-3)
    assert log_var.exp().item() == pytest.approx(0.5 + float(best.mean.var()), rel=1e-2)


def test_an_image_set_cannot_be_trained_with_memory(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    still = replace(episodes, stamp_ns=np.zeros(len(episodes), np.int64))
    with pytest.raises(DataSetError, match=r"needs records with stamps.*without --model\.memory"):
        run(config, still, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_memory_is_given_steps_to_learn_in(config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match=r"context\.match and --context\.tune: one of them"):
        replace(config, context=replace(config.context, match=0.0, tune=0.0))
    short = replace(config, max_steps=1, context=replace(config.context, match=0.35, tune=0.35))
    assert short.stages(10) == Stages(own=1, match=1, tune=1)


def test_a_configuration_from_before_memory_still_loads(config: TrainConfig) -> None:
    old = debug().to_json()
    del old["context"], old["model"]["memory"]
    assert TrainConfig.from_json(old) == debug()
    assert TrainConfig.from_json(config.to_json()) == config
    first = config.to_json()  # of the first version with a memory
    first["context"] |= {"second": 0.15, "beside": 0.3}
    assert TrainConfig.from_json(first) == config


def test_the_times_of_memory_learn_as_fast_as_the_noise(
    config: TrainConfig, episodes: PreparedEpisodes
) -> None:
    """Logarithms of times: at the networks' rate they hardly leave where they begin."""
    model = SMVAE(config.model)
    assert model.memory is not None
    statistics = training_statistics(config, episodes, np.arange(len(episodes)))
    module = SMVAETraining(model, statistics, config, Stages(5), batch_size=1)
    networks, slow = module.configure_optimizers()["optimizer"].param_groups
    fast = {id(p) for p in slow["params"]}
    assert fast >= {id(p) for p in model.memory.times()}
    assert not fast & {id(p) for p in networks["params"]}
    assert len(networks["params"]) + len(slow["params"]) == len(list(model.parameters()))
