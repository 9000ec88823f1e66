"""Malformed messages are converted to the array they mean, or refused for a fault they have.

Hypothesis builds them field by field, and a seeded generator damages well-formed ones; both are
held against a second reading of the formats (`benchmarks.messages`), as
100,000 of either kind are in `benchmarks.malformed_messages`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings

from benchmarks.messages import build, corpus
from benchmarks.messages.corpus import Sample
from benchmarks.messages.outcomes import Disagreement, outcome
from benchmarks.messages.strategies import BUILT
from smvae_core.messages import REASONS, ConversionError, ConversionOptions
from tests import buffers

RGB, FORCE = corpus.RGB, corpus.FORCE
SEED = 20
IMAGE = "sensor_msgs/msg/Image"

#: Every example is drawn anew from one seed: the same in every run, and none is kept.
example = settings(
    max_examples=200,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def check(modality: Any, message_type: str, message: Any, **options: Any) -> str:
    """Convert, hold the result against the second reading, and return what became of it."""
    return check_forms(Sample(modality, message_type, message, ConversionOptions(**options)))


def check_forms(sample: Sample) -> str:
    """Hold a sample against the second reading, and against itself in other buffers."""
    converter = sample.modality.converter(sample.message_type)
    with suppress(ConversionError):
        buffers.convert(converter, sample.modality, sample.message, sample.options)
    return outcome(sample)


@pytest.mark.parametrize("label", BUILT)
def test_any_message_of_a_type(label: str) -> None:
    found = set()

    @seed(SEED)
    @example
    @given(BUILT[label])
    def check_one(sample: Sample) -> None:
        assert sample.label == label
        found.add(check_forms(sample))

    check_one()
    assert "converted" in found
    assert len(found) > 1


def test_stamps_are_held_against_their_own_meaning() -> None:
    message = build.wrench([0.0] * 6)
    for sec, said in ((1, "converted"), (0, "zero stamp"), (-5, "zero stamp"), (9, "future stamp")):
        message.header.stamp.sec, message.header.stamp.nanosec = sec, 0
        assert check(FORCE, "geometry_msgs/msg/WrenchStamped", message) == said


def test_damaged_messages_of_every_type_are_converted_right_or_refused_rightly() -> None:
    rng = np.random.default_rng(SEED)
    found: dict[str, set[str]] = {}
    for _ in range(1500):
        sample = corpus.draw(rng)
        found.setdefault(sample.label, set()).add(check_forms(sample))
    assert len(found) == len(corpus.MAKERS)
    for label, results in found.items():
        assert "converted" in results, label
        assert len(results) > 1, label
    assert set().union(*found.values()) >= {"converted", "future stamp", *REASONS} - {"stamp"}


def test_a_disagreement_is_noticed_and_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    message = build.image(np.arange(12, dtype=np.uint8).reshape(2, 2, 3), "rgb8")
    assert check(RGB, IMAGE, message) == "converted"
    with monkeypatch.context() as patch:
        patch.setitem(corpus.images._COLOR, "rgb8", "BGR")
        with pytest.raises(Disagreement, match="another array than is meant: rgb sensor_msgs"):
            check(RGB, IMAGE, message)
    with monkeypatch.context() as patch:
        patch.delitem(corpus.images._COLOR, "rgb8")
        with pytest.raises(Disagreement, match=r"expected refusal \(encoding\), got an array"):
            check(RGB, IMAGE, message)
    message.encoding = "nonsense"
    with monkeypatch.context() as patch:
        patch.setitem(corpus.images._COLOR, "nonsense", "RGB")
        with pytest.raises(Disagreement, match="expected an array, got 'rgb: encoding: "):
            check(RGB, IMAGE, message)
    del message.header
    message.encoding = "rgb8"
    assert check(RGB, IMAGE, message) == "converted"
