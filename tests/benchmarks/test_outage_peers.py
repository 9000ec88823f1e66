"""The peers of memory: they hear the same contexts, and learn from them in the same stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.outage.__main__ import Condition
from benchmarks.outage.__main__ import Embedded as EveryRecord
from benchmarks.outage.peers import PEERS, Peer
from benchmarks.outage.start import LaterStages, begin, check_start, load
from smvae_core.model.config import MemoryConfig
from smvae_core.model.matching import matching
from smvae_core.model.memory.context import Elements
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.config import TrainConfig
from smvae_training.presets import debug
from smvae_training.resume import check_folder
from smvae_training.run import RunError, RunPaths, load_run
from smvae_training.steps.contexts import Contexts
from smvae_training.steps.subsets import draw_subsets
from smvae_training.trainer import train_on
from tests.training.conftest import make_episodes
from tests.training.short_runs import run

BATCH = 16


@pytest.fixture(scope="module")
def episodes() -> PreparedEpisodes:
    return make_episodes(steps=20)


def config(match: int = 1, tune: int = 1) -> TrainConfig:
    base = debug()
    model = replace(base.model, pooling="evidence", memory=MemoryConfig(horizon_s=1.0, width=4))
    context = replace(base.context, outage_s=(0.05, 0.3), match=match / 4, tune=tune / 4)
    return replace(base, model=model, context=context)


def instant(settings: TrainConfig) -> TrainConfig:
    return replace(settings, model=replace(settings.model, memory=None))


@pytest.fixture(scope="module")
def start(episodes: PreparedEpisodes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(instant(config()), episodes, tmp_path_factory.mktemp("start") / "run").root


def contexts(data: PreparedEpisodes) -> tuple[Tensor, Tensor, Elements]:
    """Return embeddings at random of a drawn batch, what is present, and what is remembered."""
    settings, index = config(), np.arange(len(data))
    places = np.linspace(0, len(data) - 1, BATCH).astype(np.int64)
    subset = draw_subsets(data.recorded[places], np.random.default_rng(0))
    drawn = Contexts(data, index, settings.context, 1.0, 0).draw(places, subset, 0)
    torch.manual_seed(1)
    dim = settings.model.embedding_dim
    parts: Mapping[str, tuple[Tensor, Tensor, Tensor]] = {
        name: (
            torch.randn(len(r.record), dim),
            torch.from_numpy(r.owner),
            torch.from_numpy(r.age_s),
        )
        for name, r in drawn.remembered.items()
    }
    columns = ({n: p[i] for n, p in parts.items()} for i in range(3))
    embeddings = torch.randn(BATCH, len(data.sensors), dim)
    return embeddings, torch.from_numpy(drawn.present), Elements(*columns)


def stirred(kind: str) -> Peer:
    """Return a peer in which nothing is zero."""
    torch.manual_seed(0)
    peer = Peer(config().model, kind)
    assert peer.memory is not None
    with torch.no_grad():
        for weight in (*peer.memory.parameters(), *peer.set_encoder.parameters()):
            weight.add_(0.1 * torch.randn_like(weight))
    return peer.eval()


@pytest.mark.parametrize("kind", PEERS)
def test_every_weight_of_a_peer_learns(kind: str, episodes: PreparedEpisodes) -> None:
    embeddings, present, elements = contexts(episodes)
    peer = stirred(kind)
    best = peer.set_encoder.nested(embeddings, (torch.ones_like(present),))[0].detach()
    matching(best, peer.posterior(embeddings, present, elements)).mean().backward()
    assert peer.memory is not None
    behind = dict(peer.memory.named_parameters()) | dict(peer.set_encoder.named_parameters())
    assert not [n for n, w in behind.items() if w.grad is None or not w.grad.any()]


@pytest.mark.parametrize("kind", PEERS)
@torch.no_grad()
def test_order_of_elements_and_the_rest_of_the_batch_do_not_matter(
    kind: str, episodes: PreparedEpisodes
) -> None:
    embeddings, present, elements = contexts(episodes)
    peer = stirred(kind)
    found = peer.posterior(embeddings, present, elements)
    turned = Elements(*({n: x.flip(0) for n, x in part.items()} for part in elements))
    twice = Elements(*({n: torch.cat([x, x]) for n, x in part.items()} for part in elements))
    for other in (turned, twice):
        again = peer.posterior(embeddings, present, other)
        torch.testing.assert_close(again.mean, found.mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(again.log_var, found.log_var, rtol=1e-5, atol=1e-5)
    owned = {n: owner == 3 for n, owner in elements.owner.items()}
    alone = Elements(*({n: x[owned[n]] for n, x in part.items()} for part in elements))
    alone = alone._replace(owner={n: torch.zeros_like(x) for n, x in alone.owner.items()})
    by_itself = peer.posterior(embeddings[3:4], present[3:4], alone)
    torch.testing.assert_close(by_itself.mean, found.mean[3:4], rtol=1e-4, atol=1e-5)
    without = peer.posterior(embeddings, present)
    assert not torch.allclose(without.mean, found.mean, atol=1e-2)


@pytest.mark.parametrize("kind", ["rssm", "transformer"])
@torch.no_grad()
def test_a_peer_begins_as_the_model_of_one_instant(kind: str, episodes: PreparedEpisodes) -> None:
    embeddings, present, _ = contexts(episodes)
    torch.manual_seed(0)
    peer = Peer(config().model, kind)
    torch.nn.init.normal_(peer.set_encoder.head.weight)
    found = peer.posterior(embeddings, present)
    expected = peer.set_encoder.nested(embeddings, (present,))[0]
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.log_var, expected.log_var, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["memory", *PEERS])
def test_later_stages_begin_with_the_weights_of_a_run_without_memory(
    kind: str, episodes: PreparedEpisodes, start: Path, tmp_path: Path
) -> None:
    begun, settings = load_run(start), LaterStages.of(config())
    check_start(begun, settings)
    paths = RunPaths(tmp_path)
    train_on(settings, episodes, paths, None, build=begin(kind, begun))
    ended = load(kind, tmp_path)
    assert ended.record.finished
    assert ended.record.step == 2
    before, after = load_file(RunPaths(start).weights), load_file(paths.weights)
    assert all(torch.equal(after[n], before[n]) for n in before if n.startswith("embeddings."))
    assert any(not torch.equal(after[n], before[n]) for n in before if n.startswith("decoders."))
    fresh = begin(kind, begun)(settings)[0].state_dict()
    assert all(torch.equal(fresh[n], before[n]) for n in before)
    every = EveryRecord(ended, episodes)
    remembered = {"rgb": (0.25, 1.0), "force": (0.0, 1.0)}
    case = Condition(name="", present=("force", "action"), remembered=remembered)
    q = every.posterior(np.array([15, 39, 58]), case)
    assert torch.isfinite(q.mean).all()
    assert not torch.equal(
        q.mean, every.posterior(np.array([15, 39, 58]), replace(case, remembered={})).mean
    )


@pytest.mark.parametrize("kind", PEERS)
def test_stopping_between_the_stages_and_resuming_equals_going_straight(
    kind: str, episodes: PreparedEpisodes, start: Path, tmp_path: Path
) -> None:
    begun, settings = load_run(start), LaterStages.of(config())
    straight, parts = RunPaths(tmp_path / "straight"), RunPaths(tmp_path / "parts")
    train_on(settings, episodes, straight, None, build=begin(kind, begun))
    train_on(settings, episodes, parts, None, stop_after=1, build=begin(kind, begun))
    old = check_folder(parts, settings, resume=True, overwrite=False)
    assert old is not None
    assert old.step == 1
    train_on(settings, episodes, parts, old, build=begin(kind, begun))
    ours, theirs = load_file(parts.weights), load_file(straight.weights)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_start_of_other_settings_is_refused(start: Path) -> None:
    found, wanted = load_run(start), config()
    for other, what in (
        (replace(wanted, model=replace(wanted.model, latent_dim=4)), "latent-dim"),
        (replace(wanted, objective=replace(wanted.objective, matching=0.5)), "objective.matching"),
        (replace(wanted, batch_size=wanted.batch_size + 1), "--batch-size"),
        (replace(wanted, seed=7), "--seed 0 -> 7"),
    ):
        with pytest.raises(RunError, match=f"is finished, with other settings: .*{what}.*--start"):
            check_start(found, other)
    half = replace(found, record=replace(found.record, step=1))
    with pytest.raises(RunError, match="is no start: 1 of 4 steps are trained"):
        check_start(half, wanted)
