"""Targets are decoded and never observed: likelihood, rows without a label, what stays without."""

from __future__ import annotations

import math

import pytest
import torch

from smvae_core.errors import ConfigError
from smvae_core.model import SMVAE, ModelConfig, ObjectiveConfig, elbo
from smvae_core.model.targets import NOISE_POWER, TargetDecoder
from smvae_core.target import DecodedTarget
from tests.model.conftest import example_batch, presence, small_config

OFFSET = DecodedTarget(
    name="offset", mean=(0.1, 0.2), deviation=(0.03, 2.0), unit="m", fields=("x", "y")
)
CONTACT = DecodedTarget(name="contact", mean=(0.4,), deviation=(0.5,), binary=True)


@pytest.fixture
def told() -> SMVAE:
    torch.manual_seed(0)
    return SMVAE(small_config(targets=(OFFSET, CONTACT)))


def labels(size: int) -> dict[str, torch.Tensor]:
    offset = torch.linspace(-1.0, 1.0, 2 * size).view(size, 2)
    return {"offset": offset, "contact": (torch.arange(size) % 2.0).view(size, 1)}


def loss(model: SMVAE, targets: dict[str, torch.Tensor] | None, **settings) -> torch.Tensor:
    size = 4
    return elbo(
        model,
        example_batch(model, size),
        presence(model, size, *model.names),
        presence(model, size, "force"),
        1.0,
        ObjectiveConfig(**settings),
        torch.Generator().manual_seed(0),
        targets=targets,
    ).loss


def test_likelihoods_equal_those_of_torch() -> None:
    torch.manual_seed(0)
    z, y = torch.randn(5, 8), torch.randn(5, 2)
    decoder = TargetDecoder(OFFSET, 8)
    mean, log_var = decoder(z)
    normal = torch.distributions.Normal(mean, (0.5 * log_var).exp())
    numbers = (y - torch.tensor(OFFSET.mean)) / torch.tensor(OFFSET.deviation)
    likelihood, learned = decoder.log_likelihood(y, z)
    torch.testing.assert_close(likelihood, normal.log_prob(numbers).sum(-1))
    weighted = normal.scale.detach() ** NOISE_POWER * normal.log_prob(numbers)
    torch.testing.assert_close(learned, weighted.sum(-1))
    yes = TargetDecoder(CONTACT, 8)
    answer = torch.tensor([[0.0], [1.0], [1.0], [0.0], [1.0]])
    bernoulli = torch.distributions.Bernoulli(logits=yes(z)[0])
    expected = bernoulli.log_prob(answer).sum(-1)
    torch.testing.assert_close(yes.log_likelihood(answer, z)[0], expected)


def test_a_row_without_a_label_has_exactly_zero_gradient(told: SMVAE) -> None:
    """NaN labels, of all or of one number, leave loss and gradients as if the row told nothing."""
    some = labels(4)
    some["offset"][1], some["offset"][3, 0] = math.nan, math.nan
    some["contact"][:] = math.nan
    changed = {name: y.clone() for name, y in some.items()}
    changed["offset"][3, 1] = 1e6  # beside a NaN nothing is read
    grads = []
    for targets in (some, changed):
        told.zero_grad()
        value = loss(told, targets)
        value.backward()
        assert torch.isfinite(value)
        grads.append([p.grad.clone() for p in told.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
    assert all(p.grad is None for p in told.targets["contact"].parameters())
    told.zero_grad()
    nothing = {name: torch.full_like(y, math.nan) for name, y in some.items()}
    assert loss(told, nothing) == loss(told, None)


def test_a_label_reaches_what_is_observed_and_without_the_rest_nothing_else(told: SMVAE) -> None:
    told.zero_grad()
    own = {"targets_from_rest": False}
    (loss(told, labels(4), **own) - loss(told, None, **own)).backward()
    assert any(p.grad.abs().sum() > 0 for p in told.embeddings["force"].parameters())
    assert all(p.grad is None or not p.grad.any() for p in told.embeddings["rgb"].parameters())


def test_a_target_weighs_what_the_largest_sensor_does(told: SMVAE) -> None:
    config = ObjectiveConfig(balance=0.5, weights={"contact": 3.0})
    largest = max(m.size for m in told.config.modalities)
    sensors = told.config.modalities
    assert config.target_weight(OFFSET, sensors) == largest / 2
    assert config.target_weight(CONTACT, sensors) == 3.0 * largest
    assert loss(told, labels(4), weights={"offset": 0.0, "contact": 0.0}) == loss(told, None)


@pytest.mark.parametrize(
    "settings",
    [
        {"target": "joint", "samples": 2},
        {"target": "remaining"},
        {"complement": True},
        {"targets_from_rest": False},
        {"target": "subset"},
    ],
)
def test_every_bound_counts_targets(told: SMVAE, settings: dict) -> None:
    assert loss(told, labels(4), **settings) != loss(told, None, **settings)


def test_the_rest_of_a_record_tells_targets_and_nothing_else(told: SMVAE) -> None:
    """Half of a target's weight each; sensors and KL are those of the subset alone."""
    plain, both = loss(told, None, targets_from_rest=False), loss(told, None)
    torch.testing.assert_close(both, plain)
    found = [
        told.encode(example_batch(told, 4), presence(told, 4, *names))
        for names in (("force",), [n for n in told.names if n != "force"])
    ]
    noise = torch.Generator().manual_seed(0)
    y = labels(4)
    expected = plain
    for name, decoder in told.targets.items():
        weight = ObjectiveConfig().target_weight(decoder.target, told.config.modalities)
        noise.manual_seed(0)
        each = [decoder.log_likelihood(y[name], q.rsample(noise))[1].mean() for q in found]
        expected = expected - weight * 0.5 * sum(each)
    torch.testing.assert_close(loss(told, y), expected)
    told.zero_grad()
    (loss(told, y) - plain).backward()
    assert all(
        any(p.grad is not None and p.grad.any() for p in told.embeddings[name].parameters())
        for name in told.names
    )


def test_the_rest_of_a_whole_record_is_the_record(told: SMVAE) -> None:
    every = presence(told, 4, *told.names)
    value = elbo(
        told,
        example_batch(told, 4),
        every,
        every,
        1.0,
        ObjectiveConfig(),
        torch.Generator().manual_seed(0),
        targets=labels(4),
    ).loss
    assert torch.isfinite(value)


@pytest.mark.parametrize(
    "settings", [{"complement": True}, {"target": "joint"}, {"target": "remaining"}], ids=str
)
def test_what_has_a_rest_of_its_own_takes_no_other(told: SMVAE, settings: dict) -> None:
    y = labels(4)
    assert loss(told, y, **settings) == loss(told, y, targets_from_rest=False, **settings)


def test_without_targets_keys_and_random_numbers_stay(told: SMVAE) -> None:
    torch.manual_seed(0)
    plain = SMVAE(small_config())
    after = torch.rand(3)
    torch.manual_seed(0)
    again = SMVAE(small_config(targets=(OFFSET, CONTACT)))
    assert torch.equal(torch.rand(3), after)
    assert list(again.state_dict())[: len(plain.state_dict())] == list(plain.state_dict())
    assert all(torch.equal(again.state_dict()[k], v) for k, v in plain.state_dict().items())
    assert set(again.state_dict()) - set(plain.state_dict()) == {
        f"targets.{name}.{layer}.{what}"
        for name in ("offset", "contact")
        for layer in ("hidden", "head")
        for what in ("weight", "bias")
    }


def test_a_configuration_comes_back_also_one_of_before(told: SMVAE) -> None:
    data = told.config.to_json()
    assert ModelConfig.from_json(data) == told.config
    data.pop("targets")
    assert ModelConfig.from_json(data) == small_config()


def test_names_of_targets_and_sensors_differ() -> None:
    clash = DecodedTarget(name="rgb", mean=(0.0,), deviation=(1.0,))
    with pytest.raises(ConfigError, match="must differ"):
        small_config(targets=(clash,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deviation": (1.0,)}, "one mean and one deviation"),
        ({"deviation": (1.0, 0.0)}, "positive deviations"),
        ({"fields": ("x",)}, "2 fields"),
    ],
)
def test_impossible_targets_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DecodedTarget(**{"name": "a", "mean": (0.0, 0.0), "deviation": (1.0, 1.0), **changes})
