"""Memory from the mathematics: sets of stamped samples, over random weights, ages and kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smvae_core.errors import ConfigError, EmptySubset, UnknownModality
from smvae_core.model import SMVAE, Context, Elements, MemoryConfig, ModelConfig, Posterior
from smvae_core.presets import VISION_TOUCH
from tests.declared import EVERY_KIND, POSE
from tests.model.conftest import example_batch, small_config

#: Sensors without images: what is tested of embeddings does not depend on whose they are.
SENSORS = (*VISION_TOUCH[2:], POSE)
COUNT, DIM, BATCH = len(SENSORS), 16, 5
SEEDS, SIZES = st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.5, 3.0])
ROUNDING, COUNT_OF_SET = 1e-6, 50


class Set(NamedTuple):
    """Elements of a batch, any order: what `Elements` holds, in one list."""

    embedding: torch.Tensor
    sensor: torch.Tensor
    owner: torch.Tensor
    age_s: torch.Tensor

    def take(self, rows: torch.Tensor) -> Set:
        return Set(*(x[rows] for x in self))

    def plus(self, other: Set) -> Set:
        return Set(*(torch.cat(pair) for pair in zip(self, other, strict=True)))

    def elements(self, model: SMVAE) -> Elements:
        rows = {n: self.sensor == i for i, n in enumerate(model.names)}
        return Elements(*({n: x[r] for n, r in rows.items()} for x in (self[0], self[2], self[3])))


def drawn_model(seed: int, size: float, **changes: object) -> SMVAE:
    """Return a model whose every weight is drawn, times and exponents too; odd ones bend."""
    torch.manual_seed(seed)
    config = ModelConfig(
        modalities=SENSORS,
        latent_dim=4,
        embedding_dim=DIM,
        pooling="evidence",
        memory=MemoryConfig(width=3, time_constants_s=(0.1, 1.0), bend=5 * (seed % 2)),
        **changes,  # type: ignore[arg-type]
    )
    model = SMVAE(config).eval().double()
    with torch.no_grad():
        for part in (model.set_encoder, model.memory):
            for parameter in part.parameters():
                parameter.add_(size * torch.randn_like(parameter))
    assert model.set_encoder.evidence is not None
    model.set_encoder.evidence.widen(3.0 * torch.rand(4, dtype=torch.float64))
    return model


def drawn_set(count: int = COUNT_OF_SET) -> Set:
    """Return elements whose stamps often coincide, of different sensors and of one."""
    return Set(
        torch.randn(count, DIM, dtype=torch.float64),
        torch.randint(0, COUNT, (count,)),
        torch.randint(0, BATCH, (count,)),
        torch.randint(0, 12, (count,))
        * torch.tensor([0.05, 0.3], dtype=torch.float64)[torch.randint(0, 2, (count,))],
    )


def drawn_now() -> torch.Tensor:
    return torch.randn(BATCH, COUNT, DIM, dtype=torch.float64)


def encode(
    model: SMVAE,
    every: Set,
    present: torch.Tensor | None = None,
    now: torch.Tensor | None = None,
    later_s: float = 0.0,
) -> Posterior:
    """Return the posterior, every sample of the batch knowing something, in the set's precision."""
    present = torch.zeros(BATCH, COUNT, dtype=torch.bool) if present is None else present
    now = every.embedding.new_full((BATCH, COUNT, DIM), torch.nan) if now is None else now
    known = every.embedding.new_full((BATCH, DIM), 1.0), torch.zeros(BATCH).long()
    whole = Set(*known, torch.arange(BATCH), every.age_s.new_full((BATCH,), 9.0)).plus(every)
    told = whole._replace(age_s=whole.age_s + later_s).elements(model)
    encoder, memory = model.set_encoder, model.memory
    return memory.combine(encoder, memory.read(encoder.evidence, now, present, told), present)


def close(got: Posterior, expected: Posterior, tolerance: float = ROUNDING) -> None:
    for a, b in ((got.mean, expected.mean), (got.log_var, expected.log_var)):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


def never_above(surer: Posterior, less: Posterior) -> None:
    assert bool(surer.log_var.isfinite().all())
    rounding = ROUNDING * (1.0 + less.log_var.abs())
    assert bool((surer.log_var <= less.log_var + rounding).all())


def drawn(test: Callable[..., None]) -> Callable[..., None]:
    found: Callable[..., None] = settings(max_examples=6, deadline=None)(
        given(seed=SEEDS, size=SIZES)(test)
    )
    return found


def test_a_model_without_memory_is_the_model_of_before_and_its_common_weights_are_equal():
    torch.manual_seed(0)
    plain = SMVAE(small_config(pooling="evidence"))
    torch.manual_seed(0)
    memory = SMVAE(small_config(pooling="evidence", memory=MemoryConfig()))
    state, further = plain.state_dict(), memory.state_dict()
    spread = "set_encoder.evidence.log_spread"
    assert not further.pop(spread).any()
    assert list(further)[: len(state)] == list(state)
    assert all(torch.equal(value, further[key]) for key, value in state.items())
    assert all(key.startswith("memory.") for key in list(further)[len(state) :])
    memory.load_state_dict(further)  # of a run from before latents had a spread
    data = memory.config.to_json()
    assert ModelConfig.from_json(data) == memory.config
    before = {**data, "memory": {k: v for k, v in data["memory"].items() if k != "bend"}}
    straight = ModelConfig.from_json(before).memory
    assert straight == MemoryConfig(bend=0)
    assert ModelConfig.from_json({k: v for k, v in data.items() if k != "memory"}) == plain.config


@drawn
def test_a_set_of_one_instant_is_plain_evidence(seed: int, size: float):
    model = drawn_model(seed, size)
    encoder, memory = model.set_encoder, model.memory
    now, present = drawn_now(), torch.rand(BATCH, COUNT) < 0.6
    present[:, 0] |= ~present.any(1)
    expected = Posterior(*encoder(now, present))
    owner, sensor = present.nonzero(as_tuple=True)
    told = Set(now[present], sensor, owner, now.new_zeros(len(owner))).elements(model)
    for row, elements in ((present, Elements({}, {}, {})), (torch.zeros_like(present), told)):
        reading = memory.read(encoder.evidence, now, row, elements)
        close(memory.combine(encoder, reading, row), expected)


@drawn
def test_the_order_of_arrival_changes_nothing(seed: int, size: float):
    model, every = drawn_model(seed, size), drawn_set()
    close(encode(model, every.take(torch.randperm(COUNT_OF_SET))), encode(model, every))


@drawn
def test_the_same_sample_twice_changes_nothing(seed: int, size: float):
    model, every = drawn_model(seed, size), drawn_set()
    other = every.take(torch.arange(3))  # stamps with two different samples of one sensor
    every = every.plus(other._replace(embedding=torch.randn_like(other.embedding)))
    again = every.plus(every.take(torch.randint(0, COUNT_OF_SET, (20,))))
    alone = every.take(torch.tensor(first_of_each(every)))
    close(encode(model, alone.plus(alone.take(torch.arange(10)))), encode(model, alone))
    never_above(encode(model, again), encode(model, alone))


def first_of_each(every: Set) -> list[int]:
    found: dict[tuple[int, int, float], int] = {}
    for row, (_, sensor, owner, age) in enumerate(zip(*every, strict=True)):
        found.setdefault((int(sensor), int(owner), float(age)), row)
    return list(found.values())


@drawn
def test_a_further_sample_never_raises_the_entropy_wherever_it_is_inserted(seed: int, size: float):
    model, every = drawn_model(seed, size), drawn_set()
    known = every.take(torch.randperm(COUNT_OF_SET)[:20])
    before = encode(model, known)
    for row in torch.randperm(COUNT_OF_SET)[:8]:
        known = known.plus(every.take(row[None]))
        after = encode(model, known)
        never_above(after, before)
        before = after


@drawn
def test_age_never_lowers_the_entropy(seed: int, size: float):
    model, every = drawn_model(seed, size), drawn_set()
    for seconds, longer in ((0.0, 0.01), (0.01, 0.3), (0.3, 5.0), (5.0, 1e4)):
        sooner, later = (encode(model, every, later_s=s) for s in (seconds, longer))
        never_above(sooner, later)


@drawn
def test_after_a_long_silence_the_posterior_is_the_prior(seed: int, size: float):
    model, every = drawn_model(seed, size), drawn_set()
    with torch.no_grad():
        for times in (model.memory.log_drift_s, model.memory.log_fade_s):
            times.clamp_(max=4.0)
        model.set_encoder.evidence.log_exponent.clamp_(max=2.0)
    spread = torch.tensor([0.5, 1.0, 3.0, 30.0], dtype=torch.float64)
    prior = torch.zeros(BATCH, 4, dtype=torch.float64)
    for widest in (torch.ones_like(spread), spread):
        model.set_encoder.evidence.widen(widest)
        found = encode(model, every, later_s=1e5)
        close(found, Posterior(prior, widest.clamp(min=1.0).log().expand(BATCH, 4)))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [0.1, 5.0, 30.0])
def test_gradients_are_finite_whatever_the_weights_and_ages_are(size: float, training: bool):
    """In training the filter has the precision of the embeddings, here float32."""
    for seed in range(3):
        model, every = drawn_model(seed, size).train(training), drawn_set()
        ages = every.age_s * torch.tensor([1e-6, 1.0, 2e3])[every.owner % 3]
        precision = torch.float32 if training else torch.float64
        every = every._replace(age_s=ages.to(precision), embedding=every.embedding.to(precision))
        model.to(precision)
        every.embedding.requires_grad_(True)
        found = encode(model, every)
        (found.mean.sum() + found.log_var.square().sum()).backward()
        assert bool(found.mean.isfinite().all())
        parts = (model.set_encoder, model.memory)
        assert all(bool(p.grad.isfinite().all()) for part in parts for p in part.parameters())
        assert bool(every.embedding.grad.isfinite().all())


def test_in_training_the_filter_is_the_same_but_for_rounding():
    model, every = drawn_model(0, 0.3).float(), drawn_set()
    every = every._replace(age_s=every.age_s.float(), embedding=every.embedding.float())
    exact = encode(model, every)
    close(encode(model.train(), every), exact, 1e-5)


@drawn
def test_absent_rows_change_nothing_and_get_exactly_zero_gradient_even_if_nan(
    seed: int, size: float
):
    model, every = drawn_model(seed, size), drawn_set()
    now, present = drawn_now(), torch.rand(BATCH, COUNT) < 0.5
    expected = encode(model, every, present, now)
    now[~present] = torch.nan
    now.requires_grad_(True)
    got = encode(model, every, present, now)
    assert torch.equal(got.mean, expected.mean)
    assert torch.equal(got.log_var, expected.log_var)
    (got.mean.sum() + got.log_var.sum()).backward()
    assert torch.count_nonzero(now.grad[~present]) == 0
    assert (now.grad[present] != 0).any(dim=1).all()


@drawn
def test_a_sample_of_the_batch_does_not_depend_on_the_others(seed: int, size: float):
    model, every = drawn_model(seed, size), drawn_set()
    together = encode(model, every)
    for owner in range(BATCH):
        alone = encode(model, every.take(every.owner == owner))
        for a, b in ((alone.mean, together.mean), (alone.log_var, together.log_var)):
            torch.testing.assert_close(a[owner], b[owner], atol=ROUNDING, rtol=ROUNDING)


@drawn
def test_several_subsets_of_one_set_get_what_each_gets_alone(seed: int, size: float):
    model, every = drawn_model(seed, size), drawn_set()
    now = drawn_now().float()
    model.float()
    sets = [torch.rand(BATCH, COUNT) < 0.5 for _ in range(3)]
    for present in sets:
        present[:, 0] |= ~present.any(1)
    told = every.elements(model)
    for found, present in zip(model.posteriors(now, sets, told), sets, strict=True):
        close(found, model.posterior(now, present, told))


@pytest.fixture(scope="module")
def of_every_kind() -> SMVAE:
    torch.manual_seed(0)
    config = small_config(modalities=EVERY_KIND, pooling="evidence", memory=MemoryConfig())
    return SMVAE(config).eval()


def test_samples_of_every_kind_are_remembered_in_any_order_and_add_up(of_every_kind: SMVAE):
    model, rows = of_every_kind, 6
    inputs = example_batch(model, rows)
    age = {n: torch.rand(rows) for n in model.names}
    context = Context(inputs, {n: torch.arange(rows) % 2 for n in model.names}, age)
    now = example_batch(model, 2)
    present = torch.zeros(2, len(model.names), dtype=torch.bool)
    present[:, 0] = True
    found = model.encode(now, present, context)
    order = torch.randperm(rows)
    mixed = Context(*({n: x[order] for n, x in part.items()} for part in context))
    close(model.encode(now, present, mixed), found, 2e-6)
    for name in model.names:
        less = Context(*({n: x for n, x in part.items() if n != name} for part in context))
        without = model.encode(now, present, less)
        never_above(found, without)
        assert not torch.equal(found.log_var, without.log_var)


def test_what_no_model_can_encode_is_refused_by_name(of_every_kind: SMVAE):
    model = of_every_kind
    present = torch.zeros(2, len(model.names), dtype=torch.bool)
    force = {"force": torch.zeros(1, 6, 32)}
    one = {"force": torch.zeros(1, dtype=torch.long)}, {"force": torch.zeros(1)}
    with pytest.raises(EmptySubset, match="sample 1 of the batch"):
        model.encode({}, present, Context(force, *one))
    with pytest.raises(UnknownModality, match="Did you mean 'force'"):
        model.encode({}, present, Context({"forces": force["force"]}, {}, {}))
    plain = SMVAE(small_config(pooling="evidence"))
    with pytest.raises(ConfigError, match="this model has no memory"):
        plain.encode({}, present[:, :4], Context(force, *one))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"horizon_s": 0.0}, "memory.horizon_s must be a positive number, got 0.0"),
        ({"hold_s": float("inf")}, "memory.hold_s must be a positive number, got inf"),
        ({"width": 0}, "memory.width must be at least 1, got 0"),
        ({"time_constants_s": (0.1, -1.0)}, "memory.time_constants_s must be one or more"),
    ],
)
def test_a_memory_that_makes_no_sense_is_refused(changes: dict, match: str):
    with pytest.raises(ConfigError, match=match):
        MemoryConfig(**changes)


def test_memory_needs_precisions_that_add_up():
    with pytest.raises(ConfigError, match=r"needs --model.pooling evidence, got 'paper'"):
        small_config(memory=MemoryConfig())
