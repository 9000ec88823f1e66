"""Every pooling from the mathematics of sets; those by evidence also from that of precisions."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from smvae_core.bundle import Bundle
from smvae_core.graphs.pooled_set import PooledSet
from smvae_core.graphs.sessions import Placement, Sessions
from smvae_core.model import SMVAE
from smvae_core.model.config import Pooling
from smvae_core.model.evidence import Evidence
from smvae_core.model.export import PARITY_TOLERANCE, export_bundle
from smvae_core.model.pooling import PMA
from smvae_core.model.set_encoder import SetEncoder
from tests.model.conftest import (
    PRESENT,
    added_pairs,
    example_encoder,
    example_statistics,
    small_config,
)

POOLINGS = get_args(Pooling)
BY_EVIDENCE = ("evidence", "evidence_attention")
COUNTING = ("sum", "count", "hirt", *BY_EVIDENCE)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_order_of_the_set_changes_nothing(pooling: str):
    encoder = example_encoder(pooling=pooling)
    embeddings = torch.randn(15, 4, 32)
    order = torch.tensor([2, 0, 3, 1])
    got = encoder(embeddings[:, order], PRESENT[:, order])
    torch.testing.assert_close(got, encoder(embeddings, PRESENT), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_absent_rows_change_nothing_and_get_exactly_zero_gradient_even_if_nan(pooling: str):
    encoder = example_encoder(pooling=pooling)
    embeddings = torch.randn(15, 4, 32)
    expected = encoder(embeddings, PRESENT)
    embeddings[~PRESENT] = float("nan")
    embeddings.requires_grad_(True)
    got = encoder(embeddings, PRESENT)
    assert torch.equal(got[0], expected[0])
    assert torch.equal(got[1], expected[1])
    (got[0].sum() + got[1].square().sum()).backward()
    assert torch.count_nonzero(embeddings.grad[~PRESENT]) == 0
    assert (embeddings.grad[PRESENT] != 0).any(dim=1).all()
    assert all(bool(p.grad.isfinite().all()) for p in encoder.parameters())


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_set_is_encoded_the_same_whether_or_not_absent_slots_are_there(pooling: str):
    encoder = example_encoder(pooling=pooling)
    embeddings = torch.randn(15, 4, 32)
    together = encoder(embeddings, PRESENT)
    for i, row in enumerate(PRESENT):
        alone = encoder(embeddings[i : i + 1, row], row[row][None])
        torch.testing.assert_close(alone[0][0], together[0][i], atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(alone[1][0], together[1][i], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_several_subsets_of_one_set_get_what_each_gets_alone(pooling: str):
    encoder = example_encoder(pooling=pooling)
    embeddings = torch.randn(1, 4, 32)
    recorded = torch.tensor([[True, True, False, True]])
    embeddings[~recorded] = float("nan")
    sets = (recorded, torch.tensor([[True, False, False, True]]), torch.tensor([[0, 1, 0, 0]]) > 0)
    for found, present in zip(encoder.nested(embeddings, sets), sets, strict=True):
        alone = encoder(embeddings, present)
        torch.testing.assert_close((found.mean, found.log_var), alone, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("pooling", COUNTING)
def test_a_pooling_that_counts_tells_one_piece_of_evidence_from_three(pooling: str):
    encoder = example_encoder(pooling=pooling)
    one = torch.randn(1, 1, 32)
    once = encoder(one, torch.ones(1, 1, dtype=torch.bool))[1]
    thrice = encoder(one.expand(1, 3, 32), torch.ones(1, 3, dtype=torch.bool))[1]
    assert (once - thrice).abs().max() > 0.01


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_exported_encoder_gives_torchs_numbers(pooling: str, tmp_path: Path):
    """Through the bundle's own check, over all subsets, and again with NaN in absent rows."""
    torch.manual_seed(0)
    model = SMVAE(small_config(pooling=pooling))
    model.set_encoder = example_encoder(pooling=pooling)
    bundle = Bundle.load(export_bundle(model, example_statistics(model), tmp_path / "bundle"))
    pooled = PooledSet(Sessions(bundle, Placement()), bundle.manifest)
    embeddings = torch.randn(1, 4, 32)
    apart = []
    for row in PRESENT:
        rows = torch.where(row[None, :, None], embeddings, torch.nan)
        for index in range(4):
            pooled.put(index, rows[0, index].numpy())
        apart.append(pooled.posteriors(row[None].numpy()))
        expected = model.set_encoder(rows, row[None])
        for a, b in zip(expected, apart[-1], strict=True):
            a = a.detach().numpy()
            assert np.max(np.abs(a - b) / (1 + np.abs(a))) < PARITY_TOLERANCE
    for index in range(4):
        pooled.put(index, embeddings[0, index].numpy())
    together = pooled.posteriors(PRESENT.numpy())
    for one, several in zip(zip(*apart, strict=True), together, strict=True):
        np.testing.assert_allclose(np.concatenate(one), several, atol=1e-5, rtol=1e-5)


def test_the_papers_parameters_keep_the_names_under_which_runs_were_saved():
    names = set(SetEncoder(small_config()).state_dict())
    layers = ("key", "value", "norm", "feed_forward")
    expected = {f"pool.{layer}.{p}" for layer in layers for p in ("weight", "bias")}
    assert names == expected | {"pool.query", "head.weight", "head.bias"}


def test_several_queries_give_the_features_of_each_side_by_side():
    torch.manual_seed(3)
    several, one = PMA(small_config(), num_queries=3), PMA(small_config())
    embeddings = torch.randn(15, 4, 32)
    features = several(embeddings, PRESENT).chunk(3, dim=1)
    for index, feature in enumerate(features):
        state = several.state_dict()
        one.load_state_dict(state | {"query": state["query"][index : index + 1]})
        torch.testing.assert_close(one(embeddings, PRESENT), feature, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("pooling", BY_EVIDENCE)
@pytest.mark.parametrize("limit", [0.0, 8.0])
@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("seed", range(5))
def test_evidence_never_raises_the_entropy_when_a_modality_is_added(
    seed: int, size: float, limit: float, pooling: str
):
    """Over all 28 pairs (S, S + one), random weights and embeddings, every latent dimension."""
    torch.manual_seed(seed)
    encoder = SetEncoder(small_config(pooling=pooling, log_precision_limit=limit))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    embeddings = torch.randn(1, 4, 32).expand(15, 4, 32)
    log_var = encoder(embeddings, PRESENT)[1]
    assert bool(log_var.isfinite().all())
    pairs = added_pairs()
    assert len(pairs) == 28
    for small, large in pairs:
        rounding = 1e-6 * (1.0 + log_var[small].abs())
        assert bool((log_var[large] <= log_var[small] + rounding).all())


def test_a_limit_holds_log_precisions_back_and_leaves_small_ones_as_they_are():
    torch.manual_seed(6)
    limited = Evidence(small_config(log_precision_limit=8.0))
    free = Evidence(small_config())
    free.load_state_dict(limited.state_dict())
    embeddings = torch.randn(1, 4, 32)
    everything = torch.ones(1, 4, dtype=torch.bool)
    torch.testing.assert_close(
        limited.read(embeddings, everything)[0],
        free.read(embeddings, everything)[0],
        atol=0.02,  # x^3 / (3 * 64) at |x| about 1.5
        rtol=0,
    )
    far = 1e4 * embeddings
    assert float(free.read(far, everything)[0].detach().abs().max()) > 100.0
    assert float(limited.read(far, everything)[0].detach().abs().max()) <= 8.0


def test_evidence_at_exponent_1_is_the_product_of_the_experts_and_the_prior():
    """N(mu_1, 1/lambda_1) ... N(mu_k, 1/lambda_k) N(0, 1), normalised, is Gaussian: its moments."""
    torch.manual_seed(4)
    evidence = Evidence(small_config()).double()
    embeddings = torch.randn(1, 4, 32, dtype=torch.float64)
    mean, log_var = evidence(embeddings, torch.ones(1, 4, dtype=torch.bool))
    experts = [evidence(embeddings[:, m : m + 1], torch.ones(1, 1, dtype=bool)) for m in range(4)]
    # One expert with the prior has precision 1 + lambda and mean lambda mu / (1 + lambda).
    lambdas = [torch.exp(-v) - 1.0 for _, v in experts]
    lambda_mus = [m * torch.exp(-v) for m, v in experts]
    precision = 1.0 + sum(lambdas)
    torch.testing.assert_close(log_var, -torch.log(precision), atol=1e-10, rtol=1e-8)
    torch.testing.assert_close(mean, sum(lambda_mus) / precision, atol=1e-10, rtol=1e-8)


def test_evidence_at_a_large_exponent_counts_the_best_sensor_alone():
    torch.manual_seed(5)
    evidence = Evidence(small_config())
    with torch.no_grad():
        evidence.log_exponent.fill_(10.0)
    embeddings = torch.randn(1, 4, 32)
    alone = [evidence(embeddings[:, m : m + 1], torch.ones(1, 1, dtype=bool))[1] for m in range(4)]
    together = evidence(embeddings, torch.ones(1, 4, dtype=torch.bool))[1]
    best = torch.stack(alone).min(dim=0).values
    torch.testing.assert_close(together, best, atol=np.log(4) / 64, rtol=0)


@pytest.mark.parametrize("pooling", ["paper", "sum", "self_attention", "hirt"])
def test_a_strange_record_draws_no_latent_far_out_with_a_limit(pooling: str):
    """Features a thousand times as large as any in training."""
    torch.manual_seed(6)
    limited = SetEncoder(small_config(pooling=pooling, log_var_limit=4.0))
    free = SetEncoder(small_config(pooling=pooling))
    free.load_state_dict(limited.state_dict())
    embeddings = torch.randn(1, 4, 32)
    everything = torch.ones(1, 4, dtype=torch.bool)
    usual = free(embeddings, everything)[1]
    torch.testing.assert_close(limited(embeddings, everything)[1], usual, atol=0.1, rtol=0)
    for encoder in (limited, free):
        with torch.no_grad():
            encoder.head.weight.mul_(1e3)
    mean, log_var = limited(embeddings, everything)
    assert float(free(embeddings, everything)[1].detach().max()) > 40.0
    assert float(log_var.detach().max()) <= 4.0
    log_var.exp().sum().backward()
    assert bool(mean.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in limited.parameters() if p.grad is not None)


def test_evidence_of_any_size_stays_finite_in_float32():
    evidence = Evidence(small_config())
    present = torch.tensor([[True, True, False, True]])
    for bias in (-1e4, -200.0, 200.0, 1e4):
        with torch.no_grad():
            evidence.log_precision.bias.fill_(bias)
        evidence.zero_grad()
        mean, log_var = evidence(torch.randn(1, 4, 32), present)
        (mean.sum() + log_var.sum()).backward()
        assert bool(mean.isfinite().all())
        assert bool(log_var.isfinite().all())
        assert all(bool(p.grad.isfinite().all()) for p in evidence.parameters())


@pytest.mark.parametrize("pooling", BY_EVIDENCE)
def test_the_mean_of_the_evidence_posterior_does_not_factorise(pooling: str):
    """With a product of experts, precision * mean adds up over modalities; here it does not."""
    encoder = example_encoder(pooling=pooling)
    embeddings = torch.randn(1, 2, 32)

    def natural(evidence, *row: bool) -> torch.Tensor:
        mean, log_var = evidence(embeddings, torch.tensor([row]))
        return mean / log_var.exp()

    with torch.no_grad():
        encoder.evidence.log_exponent.zero_()
    for part, adds_up in ((encoder.evidence, True), (encoder, False)):
        both = natural(part, True, True)
        apart = natural(part, True, False) + natural(part, False, True)
        assert torch.allclose(both, apart, atol=1e-4) == adds_up
