"""Scales, spans and limits of suspicion, from what they say they are."""

from __future__ import annotations

import numpy as np
import pytest

from smvae_core.errors import ConfigError
from smvae_core.novelty.scale import MovedTail, Tail
from smvae_core.novelty.suspicion import (
    FAST,
    LEAST_LIMIT,
    LEAST_SAMPLES,
    MISFIT,
    SLOW,
    STILLNESS,
    Span,
    Suspicion,
    blamed,
    change,
    excusing,
    limit,
    scale_key,
    stillness,
)

TAIL = Tail.fit(np.random.default_rng(0).exponential(1.0, 20_000))


def test_evidence_is_the_mean_of_capped_surprises_over_the_span() -> None:
    span = Span(FAST)
    for number, surprise in enumerate([0.0, 0.0, 1.5, 99.0, 1.5, 0.0]):
        span.add(0.25 * number, surprise)
    assert span.evidence == pytest.approx((1.5 + 3.0 + 1.5 + 0.0) / (4 * FAST.cap))


def test_evidence_is_unknown_until_the_span_is_covered() -> None:
    span = Span(SLOW)
    for number in range(8):
        span.add(0.5 * number, 5.0)
        assert np.isnan(span.evidence) == (0.5 * number < 0.74 * SLOW.span_s)
    assert Span(FAST).evidence != Span(FAST).evidence


def test_rare_samples_reach_further_back_and_a_gap_begins_anew() -> None:
    span = Span(FAST)
    for number in range(9):
        span.add(1.0 * number, 3.0 * (number >= 9 - LEAST_SAMPLES))
    assert span.evidence == 1.0
    span.add(100.0, 3.0)
    assert np.isnan(span.evidence)


def test_who_contradicts_a_faulty_one_is_excused() -> None:
    """The third set lacks the faulty sensor, and with it the contradiction."""
    assert blamed(MISFIT, 9.0, [9.0, 8.0, 0.2]) == 0.2
    assert blamed(MISFIT, 9.0, [9.0, 8.0, 7.0]) == 7.0
    assert blamed(MISFIT, 3.0, [9.0, 8.0]) == 3.0


def test_of_two_nobody_is_blamed() -> None:
    assert excusing(("rgb",)) == []
    assert blamed(MISFIT, 9.0, []) == 0.0


def test_an_ordinary_sample_asks_for_no_other_set() -> None:
    def never() -> float:
        raise AssertionError("it was asked for")

    assert blamed(MISFIT, 0.3, (never() for _ in range(3))) == 0.3


def test_stillness_needs_no_more_than_support() -> None:
    assert blamed(STILLNESS, 9.0, [1.0, 2.0]) == 3.0
    assert blamed(STILLNESS, 9.0, [0.1, 2.0]) == pytest.approx(0.3)


def test_what_was_not_calibrated_stays_unknown() -> None:
    assert np.isnan(blamed(MISFIT, np.nan, [1.0]))
    suspicion = Suspicion(names=("a", "b"))
    assert np.isnan(suspicion.surprise(MISFIT, "a", ("b",), np.zeros(3))).all()


def test_stillness_is_high_where_others_move_and_a_sensor_does_not() -> None:
    x = np.zeros((1, 3, 4, 4))
    moved = x + 0.1
    assert stillness(change(moved, x), change(x, x))[0] == pytest.approx(np.log(1e4), rel=1e-3)
    assert stillness(change(x, x), change(x, x))[0] == 0.0
    assert stillness(change(moved, x), change(moved, x))[0] == 0.0


def test_a_limit_lies_halfway_between_held_out_data_and_certainty() -> None:
    assert limit(0.2) == LEAST_LIMIT
    assert limit(0.9) == pytest.approx(0.95)
    assert limit(1.0) == 1.0


def test_limits_of_sets_that_are_not_there_are_the_highest_of_the_sensor() -> None:
    suspicion = Suspicion(
        names=("a", "b", "c"),
        limits={
            "a given b+c": {"misfit/fast": 0.85, "misfit/slow": 0.9},
            "a given b": {"misfit/fast": 0.95},
            "b given a": {"misfit/fast": 0.99},
        },
    )
    assert suspicion.limits_of("a", ("b", "c")) == {"misfit/fast": 0.85, "misfit/slow": 0.9}
    assert suspicion.limits_of("a", ("c",)) == {"misfit/fast": 0.95, "misfit/slow": 0.9}
    assert suspicion.limits_of("c", ("a", "b")) == {}


@pytest.mark.parametrize("limits", [{"misfit/fast": 1.5}, {"misfit/fast": 0.0}, {"mood": 0.9}])
def test_a_limit_that_cannot_be_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="suspicion: limits of a given b"):
        Suspicion(names=("a", "b"), limits={"a given b": limits})


def test_a_calibration_survives_json() -> None:
    moved = MovedTail(place=(0.0,) * 5, log_width=(0.0,) * 3, tail=TAIL)
    suspicion = Suspicion(
        names=("a", "b"),
        scales={scale_key(MISFIT, "a", ("b",)): TAIL},
        any_others={"misfit/b": moved},
        limits={"a given b": {"misfit/fast": 0.9}},
        contradiction=0.9,
        calibration={"records": 5},
    )
    again = Suspicion.from_json(suspicion.to_json())
    assert again == suspicion
    values = np.array([0.5, 3.0])
    np.testing.assert_allclose(again.surprise(MISFIT, "a", ("b",), values), TAIL.surprise(values))
    np.testing.assert_allclose(again.surprise(MISFIT, "b", ("a",), values), TAIL.surprise(values))
