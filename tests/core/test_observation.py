"""The collector as a table of stamps: who is fused, stale, rejected, absent, disabled, and why."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smvae_core.errors import ConfigError, SampleError, UnknownModality
from smvae_core.fusion.collector import Collector
from smvae_core.fusion.rules import FusionRule, FusionState
from smvae_core.kinds.window import resample_window
from smvae_core.presets import VISION_TOUCH

MS = 1_000_000
T0 = 1_000_000 * MS


def feed(
    collector: Collector, name: str, *, period_ms: float, until_ms: float, start_ms: float = 0
):
    """Feed one modality at a steady rate; a sample's value is its stamp."""
    t = start_ms
    while t <= until_ms:
        stamp = T0 + round(t * MS)
        value = np.full(6, t, np.float32) if name == "force" else stamp
        collector.add(name, stamp, value, now_s=t * 1e-3)
        t += period_ms


@pytest.fixture
def collector() -> Collector:
    return Collector(VISION_TOUCH)


def test_everything_alive_is_fused_with_the_newest_sample_at_or_before_the_reference(collector):
    feed(collector, "rgb", period_ms=50, until_ms=500)
    feed(collector, "depth", period_ms=50, until_ms=490, start_ms=20)
    feed(collector, "force", period_ms=2, until_ms=500)
    feed(collector, "action", period_ms=50, until_ms=490, start_ms=5)
    observation = collector.observe(now_s=0.5)
    assert observation.reference_ns == T0 + 500 * MS
    assert observation.subset == ("rgb", "depth", "force", "action")
    assert observation.samples["depth"] == T0 + 470 * MS
    assert observation.samples["action"] == T0 + 455 * MS
    assert observation.samples["force"].shape == (32, 6)
    np.testing.assert_allclose(observation.samples["force"][:, 0], np.arange(469, 501), atol=1e-3)
    assert observation.status["depth"].age_s == pytest.approx(0.03)
    assert observation.status["depth"].period_s == pytest.approx(0.05)
    assert observation.status["depth"].max_skew_s == pytest.approx(0.075)


def test_a_command_newer_than_the_reference_is_not_used(collector):
    feed(collector, "rgb", period_ms=50, until_ms=500)
    feed(collector, "action", period_ms=50, until_ms=505, start_ms=5)
    observation = collector.observe(now_s=0.51, reference_ns=T0 + 500 * MS)
    assert observation.samples["action"] == T0 + 455 * MS


def test_a_sensor_that_stopped_goes_stale_and_its_window_is_never_fused_again(collector):
    feed(collector, "force", period_ms=2, until_ms=500)
    feed(collector, "rgb", period_ms=50, until_ms=700)
    observation = collector.observe(now_s=0.7)
    assert observation.subset == ("rgb",)
    assert observation.status["force"].state is FusionState.STALE
    assert observation.status["force"].stamp_ns == T0 + 500 * MS


def test_silence_on_the_steady_clock_makes_stale_even_while_stamps_agree(collector):
    feed(collector, "rgb", period_ms=50, until_ms=500)
    assert collector.observe(now_s=0.64).subset == ("rgb",)
    late = collector.observe(now_s=0.66)
    assert late.subset == ()
    assert late.status["rgb"].state is FusionState.STALE


def test_never_seen_is_absent_and_switched_off_is_disabled():
    collector = Collector(VISION_TOUCH, {"rgb": FusionRule(enabled=False)})
    feed(collector, "rgb", period_ms=50, until_ms=500)
    feed(collector, "depth", period_ms=50, until_ms=500)
    status = collector.observe(now_s=0.5).status
    assert status["rgb"].state is FusionState.DISABLED
    assert status["force"].state is FusionState.ABSENT
    assert status["force"].stamp_ns == 0
    assert status["depth"].state is FusionState.FUSED


def test_bad_samples_are_rejected_counted_by_reason_and_recover(collector):
    feed(collector, "rgb", period_ms=50, until_ms=500)
    for t in (550, 600, 650, 700):
        collector.reject("rgb", T0 + t * MS, t * 1e-3, "encoding")
    status = collector.observe(now_s=0.7, reference_ns=T0 + 700 * MS).status["rgb"]
    assert status.state is FusionState.REJECTED
    assert (status.rejected, status.reject_reasons) == (4, {"encoding": 4})
    collector.add("rgb", T0 + 750 * MS, "first after the loss", 0.75)
    assert collector.observe(now_s=0.75).status["rgb"].state is FusionState.STALE
    collector.add("rgb", T0 + 800 * MS, "second", 0.8)
    assert collector.observe(now_s=0.8).samples == {"rgb": "second"}


def test_a_modality_whose_every_message_is_refused_stays_rejected(collector):
    """A camera at 1 Hz without stamps, seen between its messages; without a publisher, absent."""
    for second in range(3):
        collector.reject("rgb", 0, float(second), "zero stamp")
    for now_s in (2.1, 2.9, 60.0):
        assert collector.observe(now_s=now_s).status["rgb"].state is FusionState.REJECTED
    collector.set_publishers("rgb", 0)
    assert collector.observe(now_s=2.1).status["rgb"].state is FusionState.ABSENT


def test_a_sample_found_bad_when_decoded_gives_way_to_the_one_before(collector):
    feed(collector, "rgb", period_ms=50, until_ms=500)
    collector.drop("rgb", T0 + 500 * MS, 0.5, "size")
    observation = collector.observe(now_s=0.5, reference_ns=T0 + 500 * MS)
    assert observation.samples["rgb"] == T0 + 450 * MS
    assert observation.status["rgb"].reject_reasons == {"size": 1}


def test_a_stamp_that_does_not_increase_is_rejected(collector):
    collector.add("rgb", T0, "a", 0.0)
    collector.add("rgb", T0, "b", 0.1)
    status = collector.observe(now_s=0.1).status["rgb"]
    assert status.reject_reasons == {"stamp not increasing": 1}


def test_a_gap_does_not_lengthen_the_measured_period(collector):
    feed(collector, "rgb", period_ms=50, until_ms=500)
    feed(collector, "rgb", period_ms=50, start_ms=10_000, until_ms=10_100)
    assert collector.observe(now_s=10.1).status["rgb"].period_s == pytest.approx(0.05)


def test_a_window_with_too_few_readings_is_not_fused(collector):
    feed(collector, "force", period_ms=2, until_ms=20)
    assert collector.observe(now_s=0.02).status["force"].state is FusionState.STALE
    feed(collector, "force", period_ms=2, start_ms=22, until_ms=40)
    assert collector.observe(now_s=0.04).subset == ("force",)


def test_flush_forgets_samples_but_not_counts(collector):
    feed(collector, "rgb", period_ms=50, until_ms=500)
    collector.flush()
    observation = collector.observe(now_s=0.5)
    assert observation.subset == ()
    assert observation.status["rgb"].received == 11
    collector.add("rgb", T0 - 1, "older stamp after a jump is fine", 0.5)
    assert collector.observe(now_s=0.5).subset == ("rgb",)


def test_explicit_limits_win_and_impossible_ones_are_refused():
    collector = Collector(VISION_TOUCH, {"rgb": FusionRule(max_skew_s=0.01, max_age_s=9.0)})
    feed(collector, "rgb", period_ms=50, until_ms=500)
    assert collector.observe(now_s=1.0, reference_ns=T0 + 505 * MS).subset == ("rgb",)
    assert collector.observe(now_s=1.0, reference_ns=T0 + 515 * MS).subset == ()
    with pytest.raises(ConfigError, match="max_skew_s must be positive"):
        FusionRule(max_skew_s=0.0)
    with pytest.raises(ConfigError, match="min_samples"):
        FusionRule(min_samples=1)
    with pytest.raises(UnknownModality, match="'smell'"):
        Collector(VISION_TOUCH, {"smell": FusionRule()})


@given(
    period_us=st.integers(200, 4000),
    phase_us=st.integers(0, 4000),
    slope=st.floats(-5, 5),
)
def test_a_linear_signal_is_resampled_exactly_at_any_rate(period_us, phase_us, slope):
    stamps = T0 + phase_us * 1000 + np.arange(0, 60_000, period_us, dtype=np.int64) * 1000
    seconds = (stamps - T0) * 1e-9
    readings = np.stack([slope * seconds, 1.0 - seconds], axis=1)
    window = resample_window(stamps, readings, int(stamps[-1]) + 500_000)
    grid = seconds[-1] - np.arange(31, -1, -1) * 1e-3
    np.testing.assert_allclose(window[:, 0], slope * grid, atol=1e-5)
    np.testing.assert_allclose(window[:, 1], 1.0 - grid, atol=1e-5)


def test_one_kilohertz_readings_pass_unchanged():
    """Offline windows (50 readings at 1 kHz) and live ones are the same function's output."""
    readings = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    stamps = T0 + np.arange(50, dtype=np.int64) * MS
    np.testing.assert_allclose(
        resample_window(stamps, readings, int(stamps[-1])), readings[-32:], atol=1e-6
    )


def test_a_window_that_is_not_covered_is_refused():
    stamps = T0 + np.arange(10, dtype=np.int64) * MS
    with pytest.raises(SampleError, match=r"expected 31 ms of readings, got 9\.0 ms"):
        resample_window(stamps, np.zeros((10, 6)), int(stamps[-1]))
    with pytest.raises(SampleError, match="a reading before the reference"):
        resample_window(stamps, np.zeros((10, 6)), T0 - 1)
    sparse = T0 + np.array([0, 20, 40], dtype=np.int64) * MS
    with pytest.raises(SampleError, match="at least 3 readings, got 2"):  # the first lies before
        resample_window(sparse, np.zeros((3, 6)), int(sparse[-1]), min_samples=3)
    resample_window(sparse, np.zeros((3, 6)), int(sparse[-1]), min_samples=2)
