"""The set encoder from the mathematics: a set has no order, and what is absent does not exist."""

from __future__ import annotations

import pytest
import torch

from smvae_core.errors import EmptySubset, UnknownModality
from smvae_core.modality import all_subsets
from smvae_core.model import SMVAE
from smvae_core.model.set_encoder import SetEncoder
from tests.model.conftest import example_batch, presence, small_config

SUBSETS = all_subsets(("rgb", "depth", "force", "action"))


def test_pooling_ignores_the_order_of_the_set():
    torch.manual_seed(1)
    encoder = SetEncoder(small_config())
    embeddings = torch.randn(5, 4, 32)
    present = torch.tensor([[1, 1, 0, 1]] * 5, dtype=torch.bool)
    order = torch.tensor([2, 0, 3, 1])
    mean, log_var = encoder(embeddings, present)
    permuted = encoder(embeddings[:, order], present[:, order])
    torch.testing.assert_close(permuted[0], mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(permuted[1], log_var, atol=1e-6, rtol=0)


def test_pooling_equals_torchs_attention_with_identity_query_projection():
    """Eq. 8 by torch.nn.functional.scaled_dot_product_attention on the observed rows alone."""
    torch.manual_seed(2)
    config = small_config()
    pool = SetEncoder(config).pool
    embeddings = torch.randn(1, 4, 32)
    present = torch.tensor([[True, False, True, True]])
    rows = embeddings[0, present[0]]
    heads, width = config.num_heads, config.embedding_dim // config.num_heads

    def split(x):
        return x.view(-1, heads, width).transpose(0, 1)

    silu = torch.nn.functional.silu
    attended = torch.nn.functional.scaled_dot_product_attention(
        split(pool.query), split(silu(pool.key(rows))), split(silu(pool.value(rows)))
    )
    hidden = pool.norm(pool.query + attended.transpose(0, 1).reshape(1, -1))
    expected = hidden + silu(pool.feed_forward(hidden))
    torch.testing.assert_close(pool(embeddings, present), expected, atol=1e-6, rtol=1e-5)


def test_softmax_pooling_cannot_count_evidence():
    """The documented weakness of the paper's pooling: a duplicate embedding changes nothing."""
    torch.manual_seed(3)
    encoder = SetEncoder(small_config())
    one = torch.randn(1, 1, 32)
    once = encoder(one, torch.ones(1, 1, dtype=torch.bool))
    thrice = encoder(one.expand(1, 3, 32), torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(once[1], thrice[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
def test_nan_in_absent_slots_changes_nothing(model: SMVAE, subset: tuple[str, ...]):
    model.eval()
    batch, present = example_batch(model, 3), presence(model, 3, *subset)
    expected = model.encode(batch, present)
    for name in model.names:
        if name not in subset:
            batch[name] = torch.full_like(batch[name], float("nan"))
    got = model.encode(batch, present)
    assert torch.equal(got.mean, expected.mean)
    assert torch.equal(got.log_var, expected.log_var)


def test_nan_in_an_absent_embedding_changes_nothing():
    torch.manual_seed(4)
    encoder = SetEncoder(small_config())
    embeddings = torch.randn(2, 4, 32)
    present = torch.tensor([[True, False, True, False]] * 2)
    expected = encoder(embeddings, present)[0]
    embeddings[:, 1] = float("nan")
    assert torch.equal(encoder(embeddings, present)[0], expected)


def test_an_absent_modality_has_exactly_zero_gradient(model: SMVAE):
    batch, present = example_batch(model, 6), presence(model, 6, "rgb", "force")
    present[2, 0] = False  # one sample without rgb
    for x in batch.values():
        x.requires_grad_(True)
    posterior = model.encode(batch, present)
    (posterior.mean.sum() + posterior.log_var.sum()).backward()
    assert torch.count_nonzero(batch["rgb"].grad[2]) == 0
    assert torch.count_nonzero(batch["rgb"].grad[3]) > 0
    for name in ("depth", "action"):
        assert batch[name].grad is None
        assert all(p.grad is None for p in model.embeddings[name].parameters())


def test_absent_rows_do_not_reach_batchnorm_statistics(model: SMVAE):
    """Training on [a, b, anything absent] leaves the statistics of training on [a, b]."""
    twin = SMVAE(model.config)
    twin.load_state_dict(model.state_dict())
    batch = example_batch(model, 3)
    present = presence(model, 3, "rgb", "action")
    present[2, 0] = False
    batch["rgb"][2] = 1e6
    model.train().encode(batch, present)
    twin.train().encode({k: v[:2] for k, v in batch.items()}, present[:2])
    for (name, got), expected in zip(model.named_buffers(), twin.buffers(), strict=True):
        assert torch.equal(got, expected), name


def test_each_sample_of_a_batch_may_have_its_own_subset(model: SMVAE):
    model.eval()
    batch = example_batch(model, len(SUBSETS))
    present = torch.tensor([[n in s for n in model.names] for s in SUBSETS])
    together = model.encode(batch, present).mean
    for i in range(len(SUBSETS)):
        alone = model.encode({k: v[i : i + 1] for k, v in batch.items()}, present[i : i + 1]).mean
        torch.testing.assert_close(together[i], alone[0], atol=1e-5, rtol=1e-5)


def test_the_empty_subset_is_refused_by_name(model: SMVAE):
    present = presence(model, 3, "rgb")
    present[1] = False
    with pytest.raises(EmptySubset, match="sample 1 of the batch"):
        model.encode(example_batch(model, 3), present)


def test_an_unknown_modality_is_refused_with_a_suggestion(model: SMVAE):
    batch = example_batch(model, 1) | {"forces": torch.zeros(1, 6, 32)}
    with pytest.raises(UnknownModality, match="Did you mean 'force'"):
        model.encode(batch, presence(model, 1, "rgb"))
