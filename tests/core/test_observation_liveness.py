"""Who counts as alive: lost and back, rates that change, held commands, gone publishers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smvae_core.errors import ConfigError
from smvae_core.fusion.collector import Collector
from smvae_core.fusion.rules import FusionRule, FusionState
from smvae_core.presets import VISION_TOUCH

MS = 1_000_000
T0 = 1_000_000 * MS
FUSED, STALE, ABSENT = FusionState.FUSED, FusionState.STALE, FusionState.ABSENT
REJECTED = FusionState.REJECTED


def play(collector: Collector, name: str, *times_ms: float, speed: float = 1.0) -> None:
    """Add samples stamped at these times; at another speed they arrive earlier or later."""
    for t in times_ms:
        collector.add(name, T0 + round(t * MS), f"at {t:g}", t * 1e-3 / speed)


def steady(start_ms: float, stop_ms: float, period_ms: float) -> list[float]:
    return [start_ms + i * period_ms for i in range(round((stop_ms - start_ms) / period_ms) + 1)]


def state(collector: Collector, name: str, now_ms: float, speed: float = 1.0) -> FusionState:
    return collector.observe(now_s=now_ms * 1e-3 / speed).status[name].state


@pytest.fixture
def collector() -> Collector:
    return Collector(VISION_TOUCH)


def test_the_first_sample_ever_counts_at_once(collector) -> None:
    play(collector, "rgb", 0)
    assert state(collector, "rgb", 0) is FUSED
    collector.flush()
    play(collector, "rgb", 5)
    assert state(collector, "rgb", 5) is FUSED, "the first after a time jump as well"


#            arrivals [ms] after 0, 50, ..., 500          moment  expected
LOST_AND_BACK = [
    pytest.param([], 649, FUSED, id="3 periods of silence are just alive"),
    pytest.param([], 651, STALE, id="more are a loss"),
    pytest.param([640], 640, FUSED, id="who was not lost needs no second sample"),
    pytest.param([700], 700, STALE, id="one sample after a loss is not enough"),
    pytest.param([700, 750], 750, FUSED, id="two are"),
    pytest.param([700, 750], 901, STALE, id="until the next loss"),
    pytest.param([700, 750, 800, 850, 1100], 1100, STALE, id="which counts anew"),
]


@pytest.mark.parametrize(("arrivals", "moment", "expected"), LOST_AND_BACK)
def test_two_good_samples_end_a_loss(collector, arrivals, moment, expected) -> None:
    play(collector, "rgb", *steady(0, 500, 50), *arrivals)
    assert state(collector, "rgb", moment) is expected


def test_a_flickering_sensor_never_enters_the_set() -> None:
    """One sample each 300 ms of a limit of 200: without hysteresis it would blink at each."""
    collector = Collector(VISION_TOUCH, {"rgb": FusionRule(max_age_s=0.2)})
    play(collector, "rgb", 0)
    for t in range(300, 3000, 300):
        play(collector, "rgb", t)
        assert state(collector, "rgb", t) is STALE


def test_bad_messages_between_good_ones_do_not_keep_a_sensor_lost(collector) -> None:
    play(collector, "rgb", *steady(0, 500, 50), 700)
    collector.reject("rgb", T0 + 725 * MS, 0.725, "encoding")
    play(collector, "rgb", 750)
    assert state(collector, "rgb", 750) is FUSED


def test_undecodable_images_are_no_sign_of_life(collector) -> None:
    play(collector, "rgb", *steady(0, 500, 50))
    for t in steady(550, 800, 50):
        play(collector, "rgb", t)
        collector.drop("rgb", T0 + round(t * MS), t * 1e-3, "size")
    assert state(collector, "rgb", 800) is REJECTED
    play(collector, "rgb", 850)
    assert state(collector, "rgb", 850) is REJECTED, "not read yet, and the one before was bad"
    play(collector, "rgb", 900)
    assert state(collector, "rgb", 900) is FUSED


@pytest.mark.parametrize("period_ms", [100, 500, 1000, 3000])
def test_a_slow_sensor_is_fused_at_each_of_its_samples(collector, period_ms) -> None:
    for t in range(0, 10 * period_ms, period_ms):
        play(collector, "rgb", t)
        assert state(collector, "rgb", t) is FUSED


@pytest.mark.parametrize("slower_ms", [200, 400, 1000])
def test_a_source_that_slows_down_is_lost_for_two_samples_at_most(collector, slower_ms) -> None:
    play(collector, "rgb", *steady(0, 1000, 50))
    states = []
    for i in range(1, 10):
        t = 1000 + i * slower_ms
        play(collector, "rgb", t)
        states.append(state(collector, "rgb", t))
    assert states[0] is STALE
    assert states[2:] == [FUSED] * 7
    assert collector.observe(now_s=t * 1e-3).status["rgb"].period_s == pytest.approx(
        slower_ms * 1e-3
    )


@pytest.mark.parametrize("speed", [0.02, 0.1, 1.0, 20.0])
def test_a_bag_at_any_speed_keeps_its_sensors_alive(collector, speed) -> None:
    """Skew is measured in stamps, age on the steady clock: each by its own period."""
    times = steady(0, 2000, 50)
    play(collector, "rgb", *times[:5], speed=speed)
    for t in times[5:]:
        play(collector, "rgb", t, speed=speed)
        assert state(collector, "rgb", t, speed) is FUSED
    limits = collector.observe(now_s=0).status["rgb"]
    assert limits.max_skew_s == pytest.approx(0.075)
    assert limits.max_age_s == pytest.approx(0.15 * max(1.0, 1.0 / speed))


def test_a_paused_bag_is_lost_and_back_after_two_samples(collector) -> None:
    play(collector, "rgb", *steady(0, 500, 50))
    assert collector.observe(now_s=60.0).subset == ()
    collector.add("rgb", T0 + 550 * MS, "on", 60.5)
    assert collector.observe(now_s=60.5).subset == ()
    collector.add("rgb", T0 + 600 * MS, "and on", 60.55)
    assert collector.observe(now_s=60.55).subset == ("rgb",)


@given(st.lists(st.tuples(st.integers(1, 400), st.booleans()), min_size=1, max_size=60))
def test_whoever_is_fused_was_heard_of_in_time_and_twice_since_any_loss(events) -> None:
    collector = Collector(VISION_TOUCH, {"rgb": FusionRule(max_age_s=0.2005, max_skew_s=0.1)})
    now, good = 0, []
    for wait, is_good in events:
        now += wait
        if is_good:
            play(collector, "rgb", now)
            good.append(now)
        else:
            collector.reject("rgb", T0 + now * MS, now * 1e-3, "encoding")
        since_loss = 0
        for before, after in zip([None, *good], good, strict=False):
            if before is not None and after - before > 200:
                since_loss = 0
            since_loss += 1
        was_lost = any(b - a > 200 for a, b in pairwise(good))
        alive = bool(good) and now - good[-1] <= 200 and (since_loss >= 2 or not was_lost)
        assert (state(collector, "rgb", now) is FUSED) == alive


# --- hold_last_s ---------------------------------------------------------------------------------


def holding(seconds: float) -> Collector:
    return Collector(VISION_TOUCH, {"action": FusionRule(hold_last_s=seconds)})


def test_a_held_command_accompanies_fresh_samples_and_says_so() -> None:
    collector = holding(1.0)
    play(collector, "action", 0)
    play(collector, "rgb", *steady(0, 900, 50))
    observation = collector.observe(now_s=0.9)
    assert observation.samples == {"rgb": "at 900", "action": "at 0"}
    status = observation.status["action"]
    assert (status.state, status.held, status.age_s) == (FUSED, True, pytest.approx(0.9))
    assert not observation.status["rgb"].held


@pytest.mark.parametrize(
    ("seconds", "now_ms", "subset"),
    [(0.0, 400, ("rgb",)), (1.0, 1000, ("rgb", "action")), (1.0, 1050, ("rgb",))],
)
def test_a_command_is_held_as_long_as_asked_and_no_longer(seconds, now_ms, subset) -> None:
    collector = holding(seconds)
    play(collector, "action", 0)
    play(collector, "rgb", *steady(0, now_ms, 50))
    assert collector.observe(now_s=now_ms * 1e-3).subset == subset


def test_nothing_is_held_of_age_zero_where_nothing_may_be_held(collector) -> None:
    """A bag looks at the very moment of a message, which a node never meets."""
    play(collector, "rgb", *steady(0, 700, 50))
    play(collector, "action", *steady(0, 400, 50), 700)
    observation = collector.observe(now_s=0.7)
    status = observation.status["action"]
    assert (status.state, status.held, status.age_s) == (STALE, False, 0.0)
    assert status.reason == "lost, and one good message since: the next makes it live"
    assert observation.subset == ("rgb",)


def test_a_fresh_command_is_not_called_held() -> None:
    collector = holding(5.0)
    play(collector, "action", *steady(0, 500, 50))
    assert not collector.observe(now_s=0.5).status["action"].held


def test_held_samples_alone_make_no_latent() -> None:
    collector = holding(5.0)
    play(collector, "action", 0)
    play(collector, "rgb", 100)
    observation = collector.observe(now_s=2.0, reference_ns=T0 + 2000 * MS)
    assert observation.samples == {}
    assert observation.status["action"].state is STALE
    assert not observation.status["action"].held


def test_a_rare_command_counts_at_once_where_it_may_be_held() -> None:
    """Hysteresis would throw away the first command after each pause."""
    collector = holding(0.5)
    play(collector, "action", *steady(0, 500, 50), 5000)
    assert collector.observe(now_s=5.0).samples == {"action": "at 5000"}


def test_holding_a_command_ends_on_the_steady_clock_too() -> None:
    collector = holding(1.0)
    play(collector, "action", 0)
    collector.add("rgb", T0 + 100 * MS, "late", 3.0)
    assert collector.observe(now_s=3.0).subset == ("rgb",)


def test_a_force_window_is_never_held() -> None:
    with pytest.raises(ConfigError, match="hold_last_s of force must be 0, got 1"):
        Collector(VISION_TOUCH, {"force": FusionRule(hold_last_s=1.0)})
    collector = Collector(VISION_TOUCH)
    with pytest.raises(ConfigError, match="hold_last_s of force must be 0"):
        collector.set_rule("force", FusionRule(hold_last_s=1.0))
    with pytest.raises(ConfigError, match="hold_last_s must be 0"):
        FusionRule(hold_last_s=-1.0)


# --- publishers and counts -----------------------------------------------------------------------


def test_a_modality_that_nobody_publishes_any_more_is_absent(collector) -> None:
    play(collector, "rgb", *steady(0, 500, 50))
    assert state(collector, "rgb", 1000) is STALE, "whether somebody publishes is not known"
    collector.set_publishers("rgb", 1)
    assert state(collector, "rgb", 1000) is STALE
    collector.set_publishers("rgb", 0)
    assert state(collector, "rgb", 1000) is ABSENT
    assert state(collector, "rgb", 550) is FUSED, "its last sample is as good as ever"


def test_counts_begin_anew_with_an_activation(collector) -> None:
    play(collector, "rgb", 0, 50, 50)
    status = collector.observe(now_s=0.05).status["rgb"]
    assert (status.received, status.rejected) == (2, 1)
    collector.flush()
    collector.reset_counts()
    status = collector.observe(now_s=0.05).status["rgb"]
    assert (status.state, status.received, status.rejected) == (ABSENT, 0, 0)
    assert status.reject_reasons == {}
