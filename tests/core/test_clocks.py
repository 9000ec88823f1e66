"""Clocks that differ: who is believed, who is named, who is left out."""

from __future__ import annotations

import numpy as np
import pytest

from smvae_core.fusion.clocks import doubts
from smvae_core.fusion.engine import Engine, Stamps, Taken
from smvae_core.fusion.rules import FusionRule, FusionState, Pace
from smvae_core.presets import VISION_TOUCH

START_NS = 10**18
RATES_HZ = {"rgb": 30.0, "depth": 20.0, "force": 500.0, "action": 20.0}


def played(
    ahead_s: dict[str, float],
    names: tuple[str, ...] = tuple(RATES_HZ),
    *,
    delays_s: dict[str, float] | None = None,
    trigger: str = "any",
    **rules: FusionRule,
) -> list[Taken]:
    """Return the latents of two seconds of sensors whose stamps lie ahead of the true time."""
    engine = Engine(VISION_TOUCH, rules, Pace(trigger=trigger))
    arrivals = sorted(
        (n / RATES_HZ[name] + (delays_s or {}).get(name, 0.002), name, n / RATES_HZ[name])
        for name in names
        for n in range(int(2 * RATES_HZ[name]))
    )
    found, before_s = [], 0.0
    for now_s, name, true_s in arrivals:
        found += engine.pass_time(before_s, now_s)
        stamp = START_NS + round((true_s + ahead_s.get(name, 0.0)) * 1e9)
        stamps = Stamps(now_s, START_NS + round(now_s * 1e9))
        verdict = engine.put(name, stamp, np.zeros(6, np.float32), stamps)
        if verdict.wakes and engine.collecting:
            found.append(engine.take(now_s))
        before_s = now_s
    return found[len(found) // 4 :]


@pytest.mark.parametrize("ahead", [0.21, 0.3, 0.5])
@pytest.mark.parametrize("name", ["rgb", "force"])
def test_one_clock_ahead_of_a_majority_is_named_and_left_out(name, ahead) -> None:
    others = tuple(n for n in RATES_HZ if n != name)
    for taken in played({name: ahead}):
        assert taken.observation.subset == others, "the good ones are never lost for it"
        status = taken.observation.status[name]
        assert status.state is FusionState.STALE
        assert status.suggested_offset_s == pytest.approx(ahead, abs=0.01)
        assert f"its clock is {ahead:.2f} s ahead of " in status.reason
        assert "left out" in status.reason
        assert not any(taken.observation.status[n].reason for n in others)


def test_the_suggested_offset_mends_it() -> None:
    for taken in played({"rgb": 0.3}, rgb=FusionRule(stamp_offset_s=0.3)):
        assert taken.observation.subset == tuple(RATES_HZ)
        assert not any(s.reason for s in taken.observation.status.values())


def test_of_two_clocks_both_are_named_and_none_is_left_out() -> None:
    found = played({"rgb": 0.3}, ("rgb", "depth"))
    for taken in found:
        assert taken.observation.subset == ("rgb", "depth")
        rgb, depth = (taken.observation.status[n] for n in ("rgb", "depth"))
        assert "0.30 s ahead of those of depth" in rgb.reason
        assert "0.30 s behind those of rgb" in depth.reason
        assert rgb.suggested_offset_s == pytest.approx(0.3, abs=0.01)
        assert depth.suggested_offset_s == pytest.approx(-0.3, abs=0.01)


def test_the_modality_that_asks_is_named_and_never_left_out() -> None:
    for taken in played({"rgb": 0.3}, trigger="rgb"):
        assert "rgb" in taken.observation.subset
        assert "its clock is 0.30 s ahead of" in taken.observation.status["rgb"].reason


@pytest.mark.parametrize("late", [0.06, 0.18, 0.3, 1.0])
def test_a_sensor_that_is_slow_to_deliver_has_no_wrong_clock(late) -> None:
    for taken in played({}, delays_s={"rgb": late}):
        assert not any(s.suggested_offset_s for s in taken.observation.status.values())


def test_a_clock_a_little_ahead_is_granted() -> None:
    for taken in played({"rgb": 0.1}):
        assert taken.observation.subset == tuple(RATES_HZ)
        assert not any(s.suggested_offset_s for s in taken.observation.status.values())


@pytest.mark.parametrize(
    ("leads_s", "left_out", "named"),
    [
        ({}, "", ""),
        ({"a": 0.3}, "", ""),
        ({"a": 0.3, "b": 0.0, "c": 0.0}, "a", "a"),
        ({"a": 0.3, "b": 0.3, "c": 0.0, "d": 0.0}, "", "abcd"),
        ({"a": 0.3, "b": 0.4, "c": 0.0, "d": 0.0, "e": 0.0}, "ab", "ab"),
        ({"a": 0.3, "b": 0.6, "c": 0.0}, "", "abc"),
        pytest.param({"a": 0.3, "b": 0.3, "c": 0.0}, "c", "c", id="the majority is ahead"),
        pytest.param({"a": -0.3, "b": 0.0, "c": 0.0}, "", "", id="late, not ahead"),
        pytest.param({"a": 0.3, "b": 0.2, "c": 0.15}, "", "", id="the node's own clock is behind"),
    ],
)
def test_who_is_believed(leads_s, left_out, named) -> None:
    found = doubts(leads_s)
    assert set(found) == set(named)
    assert {name for name, doubt in found.items() if doubt.left_out} == set(left_out)
