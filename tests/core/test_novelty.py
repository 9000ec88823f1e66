"""The novelty score's scale and statistics, from what they say they are."""

from __future__ import annotations

import numpy as np
import pytest

from smvae_core.errors import ConfigError
from smvae_core.modality import Modality, find
from smvae_core.novelty.scale import (
    AnySubset,
    MovedTail,
    Novelty,
    Tail,
    component,
    conflict,
    largest,
    reconstruction,
    texture,
)
from smvae_core.presets import FASHION, vision_touch

MODALITIES = vision_touch(32)
SAMPLE = np.random.default_rng(0).exponential(1.0, 20_000)


def modality(name: str) -> Modality:
    return find(MODALITIES, name)


def test_the_surprise_is_minus_log10_of_the_share_above() -> None:
    """Of an exponential sample exactly so, also far beyond what was seen."""
    tail = Tail.fit(SAMPLE)
    for share in (0.5, 0.1, 0.01, 1e-3, 1e-6):
        assert tail.surprise(-np.log(share)) == pytest.approx(-np.log10(share), rel=0.05)


def test_the_scale_rises_and_has_no_top() -> None:
    tail = Tail.fit(SAMPLE)
    surprises = tail.surprise(np.linspace(-5.0, 60.0, 500))
    assert (np.diff(surprises) >= 0).all()
    assert surprises[0] == 0.0
    assert surprises[-1] > 20.0


def test_what_is_not_a_number_is_infinitely_surprising() -> None:
    assert np.isinf(Tail.fit(SAMPLE).surprise([np.nan, np.inf])).all()


def test_one_number_has_the_surprise_that_it_has_among_many() -> None:
    tail = Tail.fit(SAMPLE)
    x = np.concatenate([np.linspace(-5.0, 60.0, 999), tail.values, [np.nan, np.inf, -np.inf]])
    assert [tail.surprise_of(each) for each in x.tolist()] == tail.surprise(x).tolist()


def test_a_moment_has_the_surprises_that_it_has_among_records() -> None:
    rng, names = np.random.default_rng(0), tuple("abcdefg")
    moved = {
        f"conflict/{name}": MovedTail(
            place=tuple(rng.normal(size=3 + len(names))),
            log_width=tuple(rng.normal(0.0, 0.1, 3)),
            tail=Tail.fit(SAMPLE),
        )
        for name in names
    }
    sizes = (Tail.fit(SAMPLE),) * len(names)
    novelty = Novelty(
        components={"texture/a": Tail.fit(SAMPLE)},
        any_subset=AnySubset(names=names, components=moved, sizes=sizes),
    )
    for subset in (("a", "c"), ("a", "b", "g"), ("a", "c"), names):
        keys = ["texture/a", *(component(subset, "conflict", name) for name in subset)]
        records = {key: rng.normal(3.0, 5.0, 20) for key in keys}
        many = novelty.surprises(subset, records)
        scores = novelty.score(subset, records)
        for row in range(20):
            moment = {key: float(values[row]) for key, values in records.items()}
            assert novelty.surprises(subset, moment) == {k: many[k][row] for k in keys}
            assert float(novelty.score(subset, moment)) == scores[row]


def test_a_scale_of_what_is_not_a_number_is_refused() -> None:
    nan = float("nan")
    for values, surprises, slope in (
        ((0.0, nan), (0.0, 1.0), 1.0),
        ((0.0, 1.0), (0.0, nan), 1.0),
        ((0.0, 1.0), (0.0, 1.0), float("inf")),
    ):
        with pytest.raises(ConfigError, match="finite numbers"):
            Tail(values=values, surprises=surprises, slope=slope)
    for thresholds in ({"warn": nan}, {"error": nan}, {"warn": 3.0, "error": 2.0}):
        with pytest.raises(ConfigError, match="expected warn <= error"):
            Novelty(**thresholds)


def test_a_constant_statistic_still_has_a_scale() -> None:
    tail = Tail.fit(np.full(100, 3.0))
    assert tail.surprise(2.9) == 0.0
    assert 1.0 < tail.surprise(3.05) < 2.0


def test_then_is_one_scale_after_the_other() -> None:
    first, second = Tail.fit(SAMPLE), Tail.fit(2.0 * SAMPLE)
    x = np.linspace(-1.0, 30.0, 300)
    both = first.then(second)
    np.testing.assert_allclose(both.surprise(x), second.surprise(first.surprise(x)), atol=1e-9)


def test_a_calibration_survives_json() -> None:
    novelty = Novelty(
        warn=1.5,
        components={"rgb/reconstruction/rgb": Tail.fit(SAMPLE)},
        subsets={"rgb": Tail.fit(SAMPLE)},
        calibration={"records": 5},
    )
    assert Novelty.from_json(novelty.to_json()) == novelty


def test_a_subset_or_statistic_without_scale_is_named() -> None:
    novelty = Novelty(subsets={"rgb": Tail.fit(SAMPLE)})
    with pytest.raises(ConfigError, match="'depth' was not calibrated"):
        novelty.score(("depth",), {})
    with pytest.raises(ConfigError, match="no scale for texture/rgb"):
        novelty.score(("rgb",), {"texture/rgb": 1.0})


@pytest.mark.parametrize("slope", [0.0, -1.0, float("nan")])
def test_a_tail_needs_values_and_a_slope(slope: float) -> None:
    with pytest.raises(ConfigError, match="as many values as surprises"):
        Tail(values=(0.0,), surprises=(0.0,), slope=slope)
    with pytest.raises(ConfigError, match="as many values as surprises"):
        Tail(values=(0.0, 1.0), surprises=(0.0,), slope=1.0)


def test_the_largest_surprise_counts() -> None:
    tails = {"a": Tail.fit(SAMPLE), "b": Tail.fit(SAMPLE)}
    found = largest(tails, {"a": np.array([9.0, 0.0]), "b": np.array([0.0, 8.0])})
    np.testing.assert_allclose(found, [tails["a"].surprise(9.0), tails["b"].surprise(8.0)])


def test_only_statistics_of_an_input_alone_are_shared_by_subsets() -> None:
    assert component(("rgb", "force"), "texture", "rgb") == "texture/rgb"
    assert component(("rgb", "force"), "conflict", "rgb") == "rgb+force/conflict/rgb"


def test_reconstruction_is_the_log_mean_squared_error() -> None:
    rgb = modality("rgb")
    x = rgb.example(3)
    assert reconstruction(rgb, x, x + 0.5) == pytest.approx(np.full(3, np.log(0.25)), rel=1e-5)


def test_reconstruction_of_a_label_is_its_cross_entropy() -> None:
    label = next(m for m in FASHION if m.kind == "label")
    x = np.eye(10, dtype=np.float32)[:2]
    p = np.full((2, 10), 0.1, np.float32)
    assert np.exp(reconstruction(label, x, p)) == pytest.approx([0.1 * np.log(10)] * 2, rel=1e-4)


def test_conflict_grows_with_distance_and_shrinks_with_doubt() -> None:
    mean, sure, unsure = np.zeros((1, 4)), np.zeros((1, 4)), np.full((1, 4), 3.0)
    same = conflict(mean, sure, mean, sure)
    apart = conflict(mean, sure, mean + 2.0, sure)
    assert same < conflict(mean, unsure, mean + 2.0, unsure) < apart
    assert apart == pytest.approx([np.log(2.0)])


def test_texture_tells_noise_from_nothing_in_images_and_forces() -> None:
    rng = np.random.default_rng(1)
    for name in ("rgb", "depth", "force"):
        shape = modality(name).shape
        flat, noisy = np.zeros((1, *shape), "f4"), rng.normal(0, 0.1, (1, *shape)).astype("f4")
        found = texture(modality(name), np.concatenate([flat, noisy]))
        assert found is not None
        assert found[1] > found[0] + 3.0
    assert texture(modality("action"), np.zeros((1, 4), "f4")) is None
