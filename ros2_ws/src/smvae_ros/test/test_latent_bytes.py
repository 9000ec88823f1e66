"""The bytes of a LatentState are what the middleware makes of the message with the same fields."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Duration, Time
from rclpy.serialization import deserialize_message, serialize_message
from smvae_msgs.msg import LatentState
from smvae_msgs.msg import ModalityStatus as StatusMessage
from smvae_ros.publish import latent_bytes
from smvae_ros.publish.latent_bytes import LatentWriter
from smvae_ros.publish.messages import to_duration, to_time

from smvae_core.fusion.rules import FusionState, ModalityStatus, Observation
from smvae_core.novelty.renewed import Asked, Score
from smvae_core.novelty.scorer import NoveltyReport
from smvae_core.runtime import Posterior

#: Names of every length, up to what fills eight bytes.
KINDS = {"a" * n: "k" * (9 - n) for n in range(1, 9)}
NS = 1_795_000_000_123_456_789


def a_status(rng: np.random.Generator) -> ModalityStatus:
    """Return one of anything that a sensor may be."""
    words = ["", "odd", "nobody publishes", "größer", "x" * int(rng.integers(0, 9))]
    return ModalityStatus(
        state=FusionState(int(rng.integers(0, 6))),
        stamp_ns=int(rng.choice([0, NS])),
        age_s=float(rng.choice([math.nan, -0.25, 0.0, 1.75])),
        received=int(rng.integers(0, 2**32)),
        rejected=int(rng.integers(0, 9)),
        reject_reasons={},
        period_s=None,
        max_skew_s=0.0,
        max_age_s=0.0,
        lag_s=0.0,
        held=bool(rng.integers(0, 2)),
        reason=words[int(rng.integers(0, 5))],
        elements=int(rng.integers(0, 3)),
        folded=int(rng.integers(0, 9)),
        oldest_ns=int(rng.choice([0, NS - 5])),
        further_ns=tuple(NS + i for i in range(int(rng.integers(0, 4)))),
        suspect=bool(rng.integers(0, 2)),
        suspicion=float(rng.choice([math.nan, 0.5, 1e300])),
    )


def time_of(ns: int) -> Time:
    return Time(sec=ns // 10**9, nanosec=ns % 10**9)


def duration_of(seconds: float) -> Duration:
    ns = 0 if math.isnan(seconds) else round(seconds * 1e9)
    return Duration(sec=ns // 10**9, nanosec=ns % 10**9)


def as_message(name: str, status: ModalityStatus, nll: float) -> StatusMessage:
    """Return what subscribers are to read of a sensor."""
    fused = status.state == FusionState.FUSED
    return StatusMessage(
        name=name,
        kind=KINDS[name],
        state=int(status.state),
        held=status.held,
        stamp=time_of(status.stamp_ns),
        age=duration_of(status.age_s),
        received=status.received,
        rejected=status.rejected,
        nll=nll,
        elements=status.elements or int(fused),
        folded=status.folded,
        oldest=time_of(status.oldest_ns or (status.stamp_ns if fused else 0)),
        suspect=status.suspect,
        suspicion=status.suspicion,
        reason=status.reason,
        further_ns=status.further_ns,
    )


def same(content: bytes, expected: LatentState) -> None:
    """Compare what is read, and the number of bytes: gaps between fields may hold anything."""
    theirs = serialize_message(expected)
    read = deserialize_message(content, LatentState)
    assert str(read) == str(deserialize_message(theirs, LatentState))
    assert len(content) == len(theirs)


@pytest.mark.parametrize("seed", range(20))
def test_a_latent_is_read_as_the_message_of_its_fields(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = {name: a_status(rng) for name in KINDS}
    posterior = Posterior(*rng.normal(size=(2, seed + 1)).astype(np.float32))
    nll = {name: float(value) for name, value in zip(KINDS, rng.normal(size=4), strict=False)}
    novelty = float(rng.choice([math.nan, 0.5, 9.0]))
    asked = Asked(epoch=1, stamp_ns=NS - 7, subset=("a",), memory=False, leave_out=False)
    score = Score(asked=asked, report=NoveltyReport(score=novelty, surprises={}, nll=nll))
    observation = Observation(reference_ns=NS, samples={}, status=found)
    writer = LatentWriter(KINDS, covariance=LatentState.MARGINALS, novelty_error=3.0)
    times = {"memory_s": 2.5, "ahead_s": 0.125, "inference_s": 0.001}
    written = writer.latent(observation, posterior, score=score, **times)
    counted = [s.state for s in found.values() if s.state != FusionState.DISABLED]
    complete = all(state == FusionState.FUSED for state in counted)
    expected: dict[str, Any] = {
        "status": LatentState.OK if complete else LatentState.DEGRADED,
        "novelty_stamp": time_of(0 if math.isnan(novelty) else NS - 7),
    }
    if novelty > 3.0:
        expected["status"] = LatentState.OUT_OF_DISTRIBUTION
    message = LatentState(
        valid=True,
        epoch=7,
        sequence=2**40 + seed,
        model_generation=3,
        mean=posterior.mean.tolist(),
        variance=posterior.variance.tolist(),
        kl=posterior.kl,
        novelty=novelty,
        modalities=[as_message(n, s, nll.get(n, math.nan)) for n, s in found.items()],
        inference_time=duration_of(0.001),
        node_latency=duration_of(0.0625),
        covariance=LatentState.MARGINALS,
        memory=duration_of(2.5),
        predict_ahead=duration_of(0.125),
        **expected,
    )
    message.header.stamp = time_of(NS)
    same(written.numbered(7, 2**40 + seed, 3, 0.0625), message)


def test_a_message_without_latent_shows_nothing_as_fused() -> None:
    rng = np.random.default_rng(5)
    found = {name: a_status(rng) for name in KINDS}
    found["a"].state, found["a"].held = FusionState.FUSED, True
    content = LatentWriter(KINDS).blind(LatentState.NO_INPUT, NS, found).numbered(1, 2, 3, math.nan)
    shown = []
    for name, status in found.items():
        message = as_message(name, status, math.nan)
        if status.state == FusionState.FUSED:
            message.state, message.held = StatusMessage.STALE, False
            message.reason = "no latent was made of it"
            message.elements = status.elements
            message.oldest = time_of(status.oldest_ns)
        shown.append(message)
    expected = LatentState(
        status=LatentState.NO_INPUT,
        epoch=1,
        sequence=2,
        model_generation=3,
        kl=math.nan,
        novelty=math.nan,
        modalities=shown,
    )
    expected.header.stamp = time_of(NS)
    same(content, expected)


def test_messages_of_another_layout_are_refused_before_anything_is_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    LatentWriter(KINDS).check()
    monkeypatch.setattr(latent_bytes, "_NO_REASON", b"")
    monkeypatch.setattr(latent_bytes, "_text", lambda text: b"")
    with pytest.raises(RuntimeError, match=r"build the workspace again|RMW_IMPLEMENTATION"):
        LatentWriter(KINDS).check()


def test_what_a_field_cannot_hold_is_written_as_the_most_that_it_can() -> None:
    """A counter after 50 days at 1 kHz, a stamp of a driver that is wrong."""
    status = replace(
        a_status(np.random.default_rng(1)),
        state=FusionState.REJECTED,
        stamp_ns=2**31 * 10**9 + 5,
        oldest_ns=-(2**31) * 10**9 - 5,
        age_s=-1e20,
        received=2**32,
        rejected=2**40,
        elements=2**32,
        folded=2**32,
    )
    content = LatentWriter({"a": "k"}).blind(LatentState.NO_INPUT, 2**70, {"a": status})
    read = deserialize_message(content.numbered(1, 2, 3, 1e20), LatentState)
    most, least = Time(sec=2**31 - 1, nanosec=10**9 - 1), Time(sec=-(2**31), nanosec=0)
    shown = read.modalities[0]
    assert (read.header.stamp, shown.stamp, shown.oldest) == (most, most, least)
    assert shown.age == Duration(sec=-(2**31), nanosec=0)
    assert read.node_latency == Duration(sec=2**31 - 1, nanosec=10**9 - 1)
    assert {shown.received, shown.rejected, shown.elements, shown.folded} == {2**32 - 1}
    assert (to_time(2**70), to_duration(-1e20)) == (most, shown.age)
