"""Stamps that are late, out of order, or begin again; and which sample belongs to a reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smvae_core.errors import ConfigError
from smvae_core.fusion.channel import RESTART_MESSAGES
from smvae_core.fusion.collector import Collector
from smvae_core.fusion.engine import bad_stamp
from smvae_core.fusion.rules import FusionRule, FusionState
from smvae_core.presets import VISION_TOUCH

MS = 1_000_000
SECOND = 1000 * MS
T0 = 1_000_000 * SECOND


def feed(collector: Collector, stamps_ms: list[float]) -> list[int]:
    """Feed rgb as a node does; return the indices at which its source began again."""
    restarts = []
    for index, t in enumerate(stamps_ms):
        stamp = T0 + round(t * MS)
        if collector.channel("rgb").restarted(stamp):
            collector.flush()
            restarts.append(index)
        collector.add("rgb", stamp, t, index * 0.05)
    return restarts


RUN = [0, 50, 100, 150, 200]
FAR = [t - 5000 for t in RUN]
NEAR = [t - 400 for t in RUN] + [-150, -100]


@pytest.mark.parametrize(
    ("stamps", "restarts"),
    [
        pytest.param([*RUN, 250, 300], [], id="in order"),
        pytest.param([*RUN, -5000, 250, 300], [], id="one message out of order"),
        pytest.param([*RUN, -5000, 250, -4000, 300], [], id="now and then one"),
        pytest.param([*RUN, 175, 225, 190, 275], [], id="neighbours in disorder"),
        pytest.param([*RUN, *[200] * 20], [], id="a stamp that stands still"),
        pytest.param([*RUN, *[-5000] * 20], [], id="an old stamp that stands still"),
        pytest.param([*RUN, 190, 180, 170, 160, 150, 140], [], id="running backwards"),
        pytest.param([*RUN, *FAR], [6], id="a looped bag: at its second message"),
        pytest.param([*RUN, *FAR, *[t - 9000 for t in RUN]], [6, 11], id="looped twice"),
        pytest.param([*RUN, *NEAR], [9], id="a short loop: at its fifth message"),
        pytest.param([*RUN, 3_600_000, 250, 300], [7], id="one stamp far ahead, then right again"),
    ],
)
def test_when_a_source_began_again(stamps, restarts) -> None:
    collector = Collector(VISION_TOUCH)
    assert feed(collector, stamps) == restarts
    if restarts:
        assert collector.observe(now_s=len(stamps) * 0.05).subset == ("rgb",)


def test_a_regression_is_judged_per_topic() -> None:
    """Hosts whose clocks differ by an hour are no restart; a command of the past is rejected."""
    collector = Collector(VISION_TOUCH)
    for i in range(10):
        assert not collector.channel("rgb").restarted(T0 + i * 50 * MS)
        collector.add("rgb", T0 + i * 50 * MS, i, i * 0.05)
        early = T0 - 3600 * SECOND + i * 50 * MS
        assert not collector.channel("depth").restarted(early)
        collector.add("depth", early, i, i * 0.05)
    status = collector.observe(now_s=0.45).status
    assert status["rgb"].state is FusionState.FUSED
    assert (status["depth"].state, status["depth"].rejected) == (FusionState.STALE, 0)


@given(st.permutations(range(RESTART_MESSAGES)))
def test_a_handful_of_messages_in_any_order_is_no_restart(order) -> None:
    """Less than the needed number can follow the newest: it is one of the handful."""
    collector = Collector(VISION_TOUCH)
    assert feed(collector, [float(50 * i) for i in order]) == []
    assert collector.newest_ns("rgb") == T0 + (RESTART_MESSAGES - 1) * 50 * MS


@given(st.lists(st.integers(-3000, 3000), min_size=1, max_size=80))
def test_stored_stamps_always_increase_whatever_comes(stamps) -> None:
    collector = Collector(VISION_TOUCH)
    for index, t in enumerate(stamps):
        stamp = T0 + t * MS
        if collector.channel("rgb").restarted(stamp):
            collector.flush()
        newest = collector.newest_ns("rgb")
        taken = collector.add("rgb", stamp, t, index * 0.05)
        assert taken == (newest is None or stamp > newest)
        assert collector.newest_ns("rgb") == (stamp if taken else newest)
    status = collector.observe(now_s=0.0).status["rgb"]
    assert status.received + status.rejected == len(stamps)


# --- offsets -------------------------------------------------------------------------------------


def test_a_known_delay_of_stamps_is_taken_out_on_both_sides() -> None:
    """Depth is stamped 200 ms late: corrected, it belongs to the image of 200 ms before."""
    collector = Collector(VISION_TOUCH, {"depth": FusionRule(stamp_offset_s=0.2)})
    for t in range(0, 1001, 50):
        collector.add("rgb", T0 + t * MS, f"rgb {t}", t * 1e-3)
        collector.add("depth", T0 + (t + 200) * MS, f"depth of {t}", t * 1e-3)
    observation = collector.observe(now_s=1.0)
    assert observation.reference_ns == T0 + 1000 * MS, "a corrected stamp, not depth's own"
    assert observation.samples == {"rgb": "rgb 1000", "depth": "depth of 1000"}
    status = observation.status["depth"]
    assert status.stamp_ns == T0 + 1200 * MS, "what the message said"
    assert status.age_s == pytest.approx(0.0), "of the moment, whatever the message said"
    collector.set_rule("depth", FusionRule())
    assert collector.observe(now_s=1.0).subset == ("depth",), "uncorrected, they never meet"


def test_an_offset_as_large_as_anything_does_not_keep_the_trigger_itself_out() -> None:
    collector = Collector(VISION_TOUCH, {"rgb": FusionRule(stamp_offset_s=5.0)})
    collector.add("rgb", T0, "alone", 0.0)
    assert collector.observe(now_s=0.0, reference_ns=collector.newest_ns("rgb")).subset == ("rgb",)


def test_a_shifted_force_window_ends_at_the_shifted_reference() -> None:
    collector = Collector(VISION_TOUCH, {"force": FusionRule(stamp_offset_s=0.05)})
    collector.add("rgb", T0 + 200 * MS, "image", 0.2)
    for t in range(0, 301):
        collector.add("force", T0 + t * MS, np.full(6, t, np.float32), 0.2)
    window = collector.observe(now_s=0.2, reference_ns=T0 + 200 * MS).samples["force"]
    np.testing.assert_allclose(window[[0, -1], 0], [219, 250], atol=1e-4)


def test_an_offset_must_be_a_number() -> None:
    with pytest.raises(ConfigError, match="stamp_offset_s must be finite"):
        FusionRule(stamp_offset_s=float("nan"))


# --- which sample --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stamps", "reference", "picked"),
    [
        ("rgb", [0, 50, 100, 150], 149, 100),
        ("rgb", [0, 50, 100, 150], 150, 150),
        pytest.param("rgb", [0, 350], 340, 350, id="a frame was lost: the next shows the scene"),
        pytest.param("action", [0, 350], 340, None, id="a later command is not known yet"),
        pytest.param("rgb", [400], 340, 400, id="the first frame may be a little newer"),
        pytest.param("rgb", [600], 340, None, id="but not much"),
    ],
)
def test_which_sample_belongs_to_a_reference(name, stamps, reference, picked) -> None:
    collector = Collector(VISION_TOUCH, {name: FusionRule(max_skew_s=0.075, max_age_s=9.0)})
    for t in stamps:
        collector.add(name, T0 + t * MS, t, t * 1e-3)
    observation = collector.observe(now_s=stamps[-1] * 1e-3, reference_ns=T0 + reference * MS)
    assert observation.samples.get(name) == picked


def test_a_fast_topic_still_has_the_sample_of_a_reference_that_lies_behind() -> None:
    """Commands at 1 kHz, the moment of an image that took 100 ms to come."""
    collector = Collector(VISION_TOUCH)
    for t in range(400):
        collector.add("action", T0 + t * MS, t, t * 1e-3)
    collector.add("rgb", T0 + 300 * MS, "image", 0.4)
    observation = collector.observe(now_s=0.4, reference_ns=T0 + 300 * MS)
    assert observation.samples == {"rgb": "image", "action": 300}


@pytest.mark.parametrize(
    ("stamp", "clock", "reason"),
    [
        (0, T0, "zero stamp"),
        (-SECOND, T0, "zero stamp"),
        (T0, T0, ""),
        (T0 + 500 * MS, T0, ""),
        (T0 + 501 * MS, T0, "future stamp"),
        (T0 - 3600 * SECOND, T0, ""),
        pytest.param(T0, 0, "", id="simulated time has not started"),
        pytest.param(0, 0, "zero stamp", id="nor is there a stamp"),
    ],
)
def test_stamps_that_cannot_be(stamp, clock, reason) -> None:
    assert bad_stamp(stamp, clock, 0.5) == reason


NAMES = tuple(m.name for m in VISION_TOUCH)
CHANGES = st.tuples(
    st.sampled_from(["add"] * 6 + ["drop", "flush", "rule", "reject"]),
    st.sampled_from(NAMES),
    st.integers(-300, 300),
)


@given(changes=st.lists(CHANGES, max_size=60))
def test_the_newest_stamp_of_all_is_the_newest_of_each(changes) -> None:
    """Whatever was asked before: samples taken back, switched off, corrected, clocks ahead."""
    collector, reading = Collector(VISION_TOUCH), np.zeros(6, np.float32)
    for number, (change, name, value) in enumerate(changes):
        now_s, clock_ns = 0.05 * number, T0 + 50 * MS * number
        stamp = clock_ns + value * MS
        if change == "add":
            collector.add(name, stamp, reading, now_s, collector.newest_ns(), clock_ns)
        elif change == "drop" and (samples := collector.channel(name).samples):
            collector.drop(name, samples[-1].stamp_ns, now_s, "nan")
        elif change == "flush":
            collector.flush()
        elif change == "rule":
            rule = FusionRule(enabled=value % 2 == 0, stamp_offset_s=value * 1e-3)
            collector.set_rule(name, rule)
        elif change == "reject":
            collector.reject(name, stamp, now_s, "nan")
        each = [newest for n in NAMES if (newest := collector.newest_ns(n)) is not None]
        assert collector.newest_ns() == max(each, default=None)
