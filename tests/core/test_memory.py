"""Samples by stamp give what torch gives of the whole set, in any order, at a bounded cost."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from smvae_core.bundle import MEMORY, Bundle, add_readout
from smvae_core.errors import BundleError, ConfigError
from smvae_core.memory.belief import Belief, Element, Filter, FilterParameters
from smvae_core.memory.recall import Recall
from smvae_core.memory.samples import LATE_S, Memory
from smvae_core.model.memory.belief import believe
from smvae_core.model.memory.context import Elements
from smvae_core.model.memory.export import filter_parameters
from smvae_core.model.smvae import SMVAE
from smvae_core.readout import Readout
from smvae_core.runtime import Runtime
from tests.remembering import MODALITIES, SPREAD, remembering_bundle, remembering_model

NAMES = tuple(m.name for m in MODALITIES)
FROZEN = Path(__file__).parents[1] / "frozen" / "bundle"
T0, SECOND = 1_700_000_000 * 10**9, 10**9
Sample = tuple[int, int, np.ndarray]


@pytest.fixture(scope="module", params=[0, 6], ids=["straight", "bent"])
def bend(request: pytest.FixtureRequest) -> int:
    """Rank of what bends the way."""
    return int(request.param)


@pytest.fixture(scope="module")
def model(bend: int) -> SMVAE:
    return remembering_model(bend=bend)


@pytest.fixture(scope="module")
def bundle(bend: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return remembering_bundle(tmp_path_factory.mktemp("memory") / "bundle", bend=bend)


@pytest.fixture
def recall(bundle: Path) -> Recall:
    found = Runtime(bundle).recall
    assert found is not None
    return found


def samples(count: int, span_s: float, seed: int = 0) -> list[Sample]:
    """Return random samples (sensor, stamp, embedding) of the time before T0, in order."""
    generator = np.random.default_rng(seed)
    stamps = np.sort(generator.integers(0, round(span_s * 1e9), count)) + T0 - round(span_s * 1e9)
    return [
        (int(generator.integers(4)), int(stamp), generator.standard_normal(32).astype(np.float32))
        for stamp in stamps
    ]


def batch(model: SMVAE, found: list[Sample], reference_ns: int = T0) -> tuple[Any, Any]:
    """Return torch's mean and log variance of a whole set."""
    rows = {n: [s for s in found if s[0] == i] for i, n in enumerate(NAMES)}
    rows = {n: each for n, each in rows.items() if each}
    elements = Elements(
        {n: torch.tensor(np.stack([e for _, _, e in each])) for n, each in rows.items()},
        {n: torch.zeros(len(each), dtype=torch.long) for n, each in rows.items()},
        {
            n: torch.tensor([(reference_ns - t) * 1e-9 for _, t, _ in each], dtype=torch.float64)
            for n, each in rows.items()
        },
    )
    nothing = torch.zeros(1, len(NAMES), dtype=torch.bool)
    with torch.no_grad():
        posterior = model.posterior(torch.zeros(1, len(NAMES), 32), nothing, elements)
    return posterior.mean[0].numpy(), posterior.log_var[0].numpy()


def feed(recall: Recall, found: list[Sample], every: int = 1) -> None:
    """Insert samples, and look at the belief in between, as a robot does."""
    for number, (sensor, stamp, embedding) in enumerate(found):
        assert recall.memory.insert(recall.read(sensor, stamp, embedding)) == ""
        if number % every == 0:
            recall.at(max(s[1] for s in found[: number + 1]), 60.0)


def difference(recall: Recall, expected: tuple[Any, Any], reference_ns: int = T0) -> float:
    """Return the largest difference, relative where a number is above 1: the graph is float32."""
    got = recall.at(reference_ns, 60.0)
    pairs = zip(got, expected, strict=True)
    return max(float((np.abs(a - b) / np.maximum(1.0, np.abs(b))).max()) for a, b in pairs)


@pytest.mark.parametrize(("count", "span_s"), [(1, 0.1), (30, 0.5), (120, 4.0), (300, 20.0)])
def test_streaming_equals_the_whole_set(
    model: SMVAE, recall: Recall, count: int, span_s: float
) -> None:
    found = samples(count, span_s, seed=count)
    feed(recall, found)
    assert difference(recall, batch(model, found)) < 1e-5
    later = T0 + SECOND
    assert difference(recall, batch(model, found, later), later) < 1e-5


def test_the_order_of_arrival_does_not_matter_within_what_may_be_late(
    model: SMVAE, recall: Recall
) -> None:
    found = samples(120, 4.0)
    expected = batch(model, found)
    jitter = np.random.default_rng(1).uniform(0.0, 0.9 * LATE_S, len(found))
    arrival = np.argsort([s[1] + late * 1e9 for s, late in zip(found, jitter, strict=True)])
    disordered = [found[i] for i in arrival]
    assert disordered != found
    feed(recall, disordered)
    assert difference(recall, expected) < 1e-5


@pytest.mark.parametrize("seed", range(4))
def test_the_filter_is_what_torch_believes_whatever_was_learned(seed: int) -> None:
    """Exponents and times as far apart as a model can learn them, silences of up to minutes."""
    rng = np.random.default_rng(seed)
    latent, sensors, steps = 48, 3, 80

    def between(low: float, high: float, *shape: int) -> np.ndarray:
        return np.exp(rng.uniform(np.log(low), np.log(high), shape))

    learned = FilterParameters(
        exponent=between(0.25, 64.0, latent),
        drift_s=between(1e-4, 1e4, latent),
        repeat_s=between(1e-4, 1e4, sensors, latent),
        value_weight=np.zeros((sensors, 2, 5)),
        value_bias=np.zeros((sensors, 2)),
        shift=np.zeros((latent, sensors * 2)),
        hold_s=np.asarray(0.5),
        time_constants_s=np.asarray([1.0]),
    )
    model = Filter(learned)
    elapsed_s = between(1e-3, 300.0, steps).round(3)
    sensor = rng.integers(sensors, size=steps)
    read = 6.0 * rng.standard_normal((2, steps, latent)).astype(np.float32)
    log_power = np.full((1, steps, sensors, latent), -np.inf)
    log_power[0, np.arange(steps), sensor] = learned.exponent * read[0]
    belief, stamp_ns, nothing = model.blank(), T0, np.zeros(5, np.float32)
    for step in range(steps):
        stamp_ns += round(elapsed_s[step] * 1e9)
        element = model.element(int(sensor[step]), stamp_ns, nothing, nothing, *read[:, step])
        belief = model.added(belief, element)
        if step % 8 != 7:
            continue
        expected = believe(
            torch.tensor(log_power[:, : step + 1]),
            torch.tensor(read[1])[None, : step + 1, None].expand(-1, -1, sensors, -1),
            torch.zeros(1, step + 1, latent),
            torch.tensor(elapsed_s[None, : step + 1]),
            torch.tensor(learned.exponent),
            torch.tensor(learned.drift_s),
            torch.tensor(learned.repeat_s),
        )
        model.put(belief)
        for name, of_torch in zip(("log_precision", "told"), expected, strict=True):
            off = np.abs(model.inputs[name] - of_torch.numpy())
            assert (off < 1e-5 * (1.0 + of_torch.abs().numpy())).all(), (name, step)


@pytest.mark.parametrize("ahead_s", [0.02, 0.1, 0.5])
def test_looking_ahead_is_the_whole_set_grown_older(
    model: SMVAE, recall: Recall, ahead_s: float
) -> None:
    """No element has age 0 then; what is held goes on as long as it is held."""
    found = [*samples(60, 2.0), (0, T0, np.ones(32, np.float32)), (3, T0, np.ones(32, np.float32))]
    feed(recall, found)
    expected = batch(model, found, T0 + round(ahead_s * 1e9))
    for got, of_torch in zip(recall.at(T0, 60.0, (), ahead_s), expected, strict=True):
        assert np.abs(got - of_torch).max() < 1e-5
    now = batch(model, found)
    assert difference(recall, now) < 1e-5, "and now is as it was"
    assert (expected[1] > now[1]).all(), "less is known of later"


def test_what_the_filter_learned_is_read_and_the_model_left_as_it_is(bend: int) -> None:
    """In double precision too, where an array of numpy shares the weights."""
    model = remembering_model(bend=bend).double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, again = filter_parameters(model), filter_parameters(model)
    assert first is not None
    assert again is not None
    assert first.to_bytes() == again.to_bytes()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_shifting_all_stamps_changes_nothing(recall: Recall) -> None:
    found = samples(60, 2.0)
    feed(recall, found)
    expected = recall.at(T0, 60.0)
    recall.forget()
    shift = 12_345_678_901
    feed(recall, [(sensor, stamp + shift, e) for sensor, stamp, e in found])
    assert difference(recall, expected, T0 + shift) < 1e-6


def test_a_set_of_one_instant_is_what_the_set_encoder_gives(bundle: Path) -> None:
    runtime = Runtime(bundle)
    recall = runtime.recall
    assert recall is not None
    for modality in MODALITIES:
        runtime.observe(modality.name, modality.example_sample(3))
        sensor = NAMES.index(modality.name)
        recall.memory.insert(recall.read(sensor, T0, runtime.reading(modality.name)[0]))
    posterior = runtime.posterior(NAMES)
    assert difference(recall, (posterior.mean, posterior.log_var)) < 1e-5


def test_the_same_sample_twice_changes_nothing(recall: Recall) -> None:
    found = samples(40, 0.8)
    feed(recall, found)
    expected = recall.at(T0, 60.0)
    feed(recall, found)
    assert difference(recall, expected) == 0.0
    assert sum(each.elements for each in recall.memory.listed().values()) == 40


def test_a_sample_older_than_the_fold_is_refused_with_a_reason(recall: Recall) -> None:
    feed(recall, samples(60, 5.0))
    expected = recall.at(T0, 60.0)
    late = recall.read(0, T0 - 3 * SECOND, np.ones(32, np.float32))
    assert "older than what memory has folded, 1 s at most" in recall.memory.insert(late)
    assert difference(recall, expected) == 0.0


def test_neither_a_sample_nor_eviction_raises_entropy_and_age_never_lowers_it(
    recall: Recall,
) -> None:
    whole, ringed = Memory(recall.filter, ring=10_000), Memory(recall.filter, ring=3)
    before = None

    def entropy(memory: Memory, at_ns: int) -> np.ndarray:
        """Return what the entropy of each latent dimension rises with."""
        return -recall.filter.log_precision(memory.at(at_ns, 60.0))

    for sensor, stamp, embedding in samples(200, 6.0, seed=4):
        for memory in (whole, ringed):
            if before is not None:  # the moment of the sample, still without it
                without = entropy(memory, stamp)
                assert (without >= before - 1e-9).all(), "age lowered it"
            memory.insert(recall.read(sensor, stamp, embedding))
            after = entropy(memory, stamp)
            if before is not None:
                assert (after <= without + 1e-9).all(), "a sample raised it"
        before = after
        assert np.array_equal(after, entropy(whole, stamp)), "eviction counts"
    assert max(each.elements for each in ringed.listed().values()) <= 3
    assert sum(each.folded for each in ringed.listed().values()) == 200 - 3 * 4


def test_a_sensor_silent_for_longer_than_memory_is_forgotten_whole(
    model: SMVAE, recall: Recall
) -> None:
    found = samples(200, 3.0)
    camera = [s for s in found if s[0] == 0 and s[1] < T0 - 1.5 * SECOND]
    others = [s for s in found if s[0] != 0]
    feed(recall, sorted(camera + others, key=lambda s: s[1]))
    assert difference(recall, batch(model, sorted(camera + others, key=lambda s: s[1]))) < 1e-5
    assert set(recall.memory.listed()) == {0, 1, 2, 3}
    mean, log_var = recall.at(T0, 1.0)
    assert set(recall.memory.listed()) == {1, 2, 3}
    young = [s for s in others if s[1] >= T0 - SECOND]
    expected = batch(model, others)
    assert np.abs(mean - expected[0]).max() < 1e-5
    assert np.abs(log_var - expected[1]).max() < 1e-5
    assert sum(each.elements for each in recall.memory.listed().values()) == len(young)


def test_memory_is_bounded_and_an_update_costs_the_same_however_long_it_is(
    recall: Recall, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, steps = recall.filter, 0
    healthy = type(model).added

    def counted(self: Any, belief: Belief, element: Element) -> Belief:
        nonlocal steps
        steps += 1
        return healthy(self, belief, element)

    monkeypatch.setattr(type(model), "added", counted)
    memory = Memory(model, ring=16)
    element = recall.read(2, T0, np.ones(32, np.float32))
    costs = []
    for number in range(400):
        stamp = T0 + number * SECOND // 30
        steps = 0
        memory.insert(element._replace(stamp_ns=stamp))
        memory.at(stamp, 5.0)
        costs.append(steps)
    assert set(costs) == {1}
    assert len(memory._rings[2]) == 16
    assert len(memory._recent) == len(memory._after) <= 31
    late = element._replace(stamp_ns=stamp - SECOND // 12, sensor=0)
    steps = 0
    memory.insert(late)
    memory.at(stamp, 5.0)
    assert steps == 4, "one for itself and one for each that it goes before"


def test_samples_and_beliefs_are_as_large_as_stated(recall: Recall, bend: int) -> None:
    """With M 4, Z 8, W 4, D 32, K 4, R `bend`; the sizes of `smvae_core/memory/samples.py`."""

    def size(arrays: tuple[Any, ...]) -> int:
        return sum(a.nbytes for a in arrays if isinstance(a, np.ndarray))

    feed(recall, samples(30, 0.9))
    assert size(recall.memory.listed()[0].newest) == 8 * (3 * 8 + 4 + bend) + 4 * 32
    belief = recall.memory.at(T0, 5.0)
    assert size(belief) == 8 * (2 * 8 + 4 * (3 * 8 + bend + 4 * (1 + 4 + 4)))


def test_a_readout_that_is_added_leaves_memory(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    added = add_readout(Bundle.load(copy), Readout(targets={}, subsets={}))
    assert added.manifest.readout is not None
    assert (copy / MEMORY).read_bytes() == (bundle / MEMORY).read_bytes()
    assert Runtime(added).recall is not None


def test_forgetting_leaves_what_latents_spread_by(recall: Recall) -> None:
    feed(recall, samples(30, 1.0))
    recall.forget()
    mean, log_var = recall.at(T0, 5.0)
    assert np.abs(mean).max() < 1e-6
    assert np.abs(log_var - SPREAD.clamp(min=1.0).log().numpy()).max() < 1e-6
    assert recall.memory.listed() == {}


def test_warming_up_runs_memory_and_leaves_nothing_in_it(bundle: Path) -> None:
    runtime = Runtime(bundle)
    assert runtime.recall is not None
    runtime.warm_up()
    assert runtime.recall.memory.listed() == {}
    for modality in MODALITIES:
        runtime.observe(modality.name, modality.example_sample())
    mean, log_var = runtime.recall.try_out(runtime.reading)
    posterior = runtime.posterior(NAMES)
    assert np.abs(mean - posterior.mean).max() < 1e-5
    assert np.abs(log_var - posterior.log_var).max() < 1e-5


def test_a_bundle_without_memory_has_none(bundle: Path) -> None:
    assert Runtime(FROZEN).recall is None
    assert "memory" not in Bundle.load(FROZEN).manifest.to_json()
    assert Bundle.load(bundle).manifest.parity["max_difference"] < 1e-5


def test_a_damaged_memory_is_refused_by_its_hash(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    content = bytearray((copy / MEMORY).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / MEMORY).write_bytes(bytes(content))
    with pytest.raises(BundleError, match=r"memory\.npz was changed"):
        Bundle.load(copy)


def test_a_memory_of_before_is_refused_with_what_to_do(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    manifest = copy / "manifest.json"
    data = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(data | {"format_version": 3}))
    with pytest.raises(
        BundleError, match=r"memory is of format 3.*`smvae export RUN BUNDLE` again"
    ):
        Bundle.load(copy)
    del data["memory"]
    manifest.write_text(json.dumps(data | {"format_version": 3}))
    assert Bundle.load(copy).manifest.memory is None


def test_no_precision_is_too_large_for_the_filter(recall: Recall) -> None:
    """A diverged model reads any number; where float32 has no variance left, nothing is lost."""
    model, ones = recall.filter, np.ones(8, np.float32)
    for number, log_precision in enumerate((88.0, 1e3, 1e30, -1e30, 0.0)):
        stamp = T0 + number * SECOND // 30
        wide = np.ones(32, np.float32)
        read = wide, wide, log_precision * ones, ones
        recall.memory.insert(model.element(number % 4, stamp, *read))
        found = model.log_precision(recall.memory.at(stamp, 60.0))
        assert np.isfinite(found).all()
        assert (found > min(log_precision, 80.0)).all()
        assert np.isfinite(np.concatenate(recall.at(stamp + SECOND, 60.0))).all()


def test_arrays_that_do_not_fit_are_refused(bundle: Path) -> None:
    content = (bundle / MEMORY).read_bytes()
    found = FilterParameters.parse(content, bundle / MEMORY)
    wrong = replace(found, drift_s=found.drift_s[:3]).to_bytes()
    with pytest.raises(ConfigError, match=r"drift_s must have shape \(8,\), got \(3,\)"):
        FilterParameters.parse(wrong, bundle / MEMORY)
    with pytest.raises(ConfigError, match="is no memory"):
        FilterParameters.parse(content[:100], bundle / MEMORY)
