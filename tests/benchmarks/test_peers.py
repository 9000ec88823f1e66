"""The peers compute what MultiVae computes, with our networks, likelihoods, weights and beta.

Runs in the environment of scripts/setup_peers.sh, and says so where MultiVae is missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.peers import METHODS, build
from smvae_core.modality import Modality, all_subsets
from smvae_core.model import ElboTerms, ModelConfig, ObjectiveConfig
from smvae_core.presets import MNIST, vision_touch
from smvae_training.config import TrainConfig
from smvae_training.evaluate.likelihood.estimate import EstimateConfig, estimate
from smvae_training.evaluate.likelihood.method import CannotEncode
from smvae_training.evaluate.likelihood.mixture import log_standard_normal

try:
    from benchmarks.peers.library import MMVAE, MultimodalBaseDataset
    from benchmarks.peers.mmvae import AnnealedMMVAE
    from benchmarks.peers.model import PeerModel
    from benchmarks.peers.networks import Decoder
    from benchmarks.peers.objective import objective
except ImportError as err:
    pytest.skip(str(err), allow_module_level=True)

SIZE = 12
LABELLED = ModelConfig(
    modalities=MNIST, latent_dim=4, embedding_dim=16, num_heads=1, image_network="mlp"
)
ROBOT = ModelConfig(
    modalities=vision_touch(32), latent_dim=4, embedding_dim=16, num_heads=1, base_channels=4
)
GAUSSIAN = ("mvae", "jmvae")
every_method = pytest.mark.parametrize("method", METHODS)
both_configs = pytest.mark.parametrize("config", [LABELLED, ROBOT], ids=["labelled", "robot"])


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def make(method: str, config: ModelConfig, seed: int = 0) -> PeerModel:
    torch.manual_seed(seed)
    model, used = build(method)(TrainConfig(model=config))
    assert used is objective
    return model


def example(modalities: Sequence[Modality], size: int = SIZE) -> dict[str, Tensor]:
    return {m.name: torch.from_numpy(m.example(size)) for m in modalities}


def step(
    model: PeerModel, beta: float = 1.0, seed: int = 1, **weights: float
) -> tuple[ElboTerms, dict[str, Tensor]]:
    batch = example(model.modalities)
    everything = torch.ones(SIZE, len(model.names), dtype=torch.bool)
    torch.manual_seed(seed)
    config = ObjectiveConfig(weights=weights)
    return objective(model, batch, everything, everything, beta, config), batch


@both_configs
@every_method
def test_every_parameter_that_is_trained_gets_a_finite_gradient(method, config):
    model = make(method, config)
    terms, _ = step(model, beta=0.5)
    terms.loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name
    torch.testing.assert_close(terms.elbo, sum(terms.log_likelihood.values()) - terms.kl)


@every_method
def test_the_loss_is_linear_in_beta_and_in_each_weight(method):
    model = make(method, ROBOT)

    def loss(beta: float, weight: float) -> float:
        return step(model, beta, rgb=0.01, depth=0.01, force=weight)[0].loss.item()

    assert loss(0.0, 1.0) != pytest.approx(loss(1.0, 1.0), abs=1e-4)
    middle = 0.7 * loss(0.0, 1.0) + 0.3 * loss(1.0, 1.0)
    assert loss(0.3, 1.0) == pytest.approx(middle, rel=1e-5)
    slope = loss(1.0, 2.0) - loss(1.0, 1.0)
    assert loss(1.0, 11.0) - loss(1.0, 1.0) == pytest.approx(10 * slope, rel=1e-4)
    assert slope > 0


@pytest.mark.parametrize("method", ["jmvae", "mopoe"])
def test_a_weight_multiplies_the_log_likelihood_of_its_modality(method):
    model = make(method, LABELLED)
    plain, weighted = step(model)[0], step(model, label=10.0)[0]
    nats = -9.0 * plain.log_likelihood["label"]
    torch.testing.assert_close(
        weighted.loss.detach() - plain.loss.detach(), nats, rtol=1e-3, atol=0
    )
    torch.testing.assert_close(weighted.elbo, plain.elbo)  # the bound that is shown is unweighted


@pytest.mark.parametrize("method", ["mvae", "jmvae", "mopoe"])
def test_the_loss_is_that_of_multivae_itself(method):
    """Without our memory, wrapper or annealing: the library's forward, at its own full beta."""
    model = make(method, LABELLED)
    model.set_weights({"image": 1.0, "label": 1.0})
    terms, batch = step(model)
    torch.manual_seed(1)
    theirs = model.library(MultimodalBaseDataset(batch)).loss
    torch.testing.assert_close(terms.loss, theirs)


@pytest.mark.parametrize("loss", ["iwae_looser", "dreg_looser"])
def test_the_annealed_mmvae_equals_multivaes_at_beta_1(loss):
    model = make("mmvae", ROBOT)
    model.set_weights(dict.fromkeys(model.names, 2.0))
    model.library.model_config.K, model.library.model_config.loss = 3, loss
    data = MultimodalBaseDataset(example(model.modalities))
    found = []
    for weights in (AnnealedMMVAE.compute_k_lws, MMVAE.compute_k_lws):
        model.library.compute_k_lws = weights.__get__(model.library)
        torch.manual_seed(1)
        model.zero_grad()
        value = model.library(data).loss
        value.backward()
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        found.append((value.item(), torch.cat(gradients)))
    (our_loss, ours), (their_loss, theirs) = found
    assert our_loss == pytest.approx(their_loss, rel=1e-5)
    assert (ours - theirs).norm() < 1e-4 * theirs.norm()


@both_configs
def test_products_of_experts_are_multivaes_for_every_subset(config):
    model = make("mvae", config).eval()
    data = MultimodalBaseDataset(example(config.modalities))
    for subset in all_subsets(model.names):
        found = model.proposal(data.data, subset)
        theirs = model.library.encode(data, list(subset), return_mean=True).z
        torch.testing.assert_close(found.mean, theirs[None])
        own = [model.library.encoders[n](data.data[n]).log_covariance for n in subset]
        precision = torch.stack([-v for v in [*own, torch.zeros_like(own[0])]]).exp().sum(0)
        torch.testing.assert_close(found.log_var[0], -precision.log())


def test_the_mixture_of_mopoe_is_that_of_multivae():
    model = make("mopoe", ROBOT).eval()
    data = MultimodalBaseDataset(example(ROBOT.modalities))
    theirs = model.library.inference(data)
    found = model.proposal(data.data, model.names)
    torch.testing.assert_close(found.mean, theirs["mus"])
    torch.testing.assert_close(found.log_var, theirs["logvars"])
    part = model.proposal(data.data, ("force", "rgb"))
    assert part.components == 3  # rgb, force, both
    both = model.library.encode(data, ["rgb", "force"], return_mean=True).z
    torch.testing.assert_close(part.mean[2], both)


def test_mixtures_of_experts_are_those_of_multivae():
    model = make("mmvae", ROBOT).eval()
    data = MultimodalBaseDataset(example(ROBOT.modalities))
    for subset in all_subsets(model.names):
        found = model.proposal(data.data, subset)
        theirs = model.library.encode(data, list(subset), return_mean=True)
        assert found.components == len(subset)
        torch.testing.assert_close(found.mean.mean(0), theirs.z)


def test_jmvae_encodes_all_or_one_and_says_so_otherwise():
    model = make("jmvae", ROBOT).eval()
    data = MultimodalBaseDataset(example(ROBOT.modalities))
    for subset in (model.names, *[(name,) for name in model.names]):
        found = model.proposal(data.data, subset)
        theirs = model.library.encode(data, list(subset), return_mean=True).z
        torch.testing.assert_close(found.mean, theirs[None])
    with pytest.raises(CannotEncode, match=r"jmvae has no posterior given rgb\+force"):
        model.proposal(data.data, ("force", "rgb"))


@pytest.mark.parametrize("method", GAUSSIAN)
def test_our_joint_likelihood_agrees_with_compute_joint_nll(method):
    model, count, samples = make(method, LABELLED).eval(), 3, 8000
    batch = example(MNIST, count)
    with torch.no_grad():
        theirs = -model.library.compute_joint_nll(MultimodalBaseDataset(batch), samples, samples)
        q = model.proposal(batch, model.names)
        rng = torch.Generator().manual_seed(0)
        z = q.place(torch.randn(samples, *q.mean.shape[1:], generator=rng))
        log_weight = log_standard_normal(z) - q.log_prob(z)
        outputs = model.decode(z.reshape(-1, q.latent_dim), model.names)
        for name, x in batch.items():
            output = outputs[name].reshape(samples, count, *outputs[name].shape[1:])
            log_weight = log_weight + model.log_likelihood(name, x, output)
    ours = torch.logsumexp(log_weight, 0) - math.log(samples)
    ess = 1.0 / log_weight.softmax(0).square().sum(0)
    error = math.sqrt(2.0 * float((1.0 / ess - 1.0 / samples).sum()))  # of both estimates
    assert error < 0.3, "too few effective samples to tell"
    assert float(ours.sum()) == pytest.approx(float(theirs), abs=4.0 * error)


@every_method
def test_the_evaluator_takes_a_peer_as_it_takes_ours(method):
    model = make(method, LABELLED).eval()
    settings = EstimateConfig(samples=60, prior_samples=500)
    found = estimate(model, example(MNIST), settings)
    for values in found.proposals.values():
        assert (values.joint <= values.marginal + 1e-4).all()


@both_configs
@every_method
def test_a_step_makes_as_many_passes_as_it_states(method, config):
    model = make(method, config)
    counts = {"embedding": 0, "decoder": 0}
    for module in model.modules():
        if isinstance(module, Decoder):
            module.register_forward_hook(lambda m, x, y: _count(counts, "decoder", x))
    networks = [e.embedding for e in model.library.encoders.values()]
    networks += getattr(model.library, "joint_encoder", _Nothing).embeddings.values()
    for network in networks:
        network.register_forward_hook(lambda m, x, y: _count(counts, "embedding", x))
    steps = 40 if method == "mvae" else 1
    for seed in range(steps):
        step(model, seed=seed)
    whole = SIZE * len(model.names) * steps
    assert counts["embedding"] / whole == model.passes.embedding
    tolerance = 0.1 if (method, config) == ("mvae", ROBOT) else 0.0  # its subset is drawn
    assert counts["decoder"] / whole == pytest.approx(model.passes.decoder, abs=tolerance)


class _Nothing:
    embeddings: dict[str, Any] = {}  # noqa: RUF012


def _count(counts: dict[str, int], what: str, inputs: tuple[Tensor, ...]) -> None:
    counts[what] += len(inputs[0])


@every_method
def test_batchnorm_statistics_move_once_per_step(method):
    model = make(method, ROBOT)
    step(model)
    tracked = {int(v) for k, v in model.state_dict().items() if k.endswith("num_batches_tracked")}
    assert tracked == {1}


def test_mvaes_partial_subset_comes_from_torchs_generator():
    model, losses = make("mvae", ROBOT), []
    for seed in (0, 1, 2, 3):
        np.random.seed(seed)  # noqa: NPY002, the state that MultiVae reads
        losses.append(step(model, seed=5)[0].loss.item())
    assert len(set(losses)) == 1
    assert len({step(model, seed=s)[0].loss.item() for s in range(4)}) == 4
