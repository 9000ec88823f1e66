"""Cameras that take their time to deliver, beside sensors that do not: fused, and why not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from smvae_core.fusion.clocks import LONGEST_LAG_S
from smvae_core.fusion.engine import Engine, Stamps, Taken
from smvae_core.fusion.rules import FusionRule, FusionState, Pace
from smvae_core.presets import VISION_TOUCH

START_NS = 10**18
WARM_UP_S = 1.0
#: Sensor -> rate [Hz].
RATES_HZ = {"rgb": 30.0, "force": 500.0, "action": 20.0}


def latents(
    delays_s: dict[str, float],
    *,
    jitter_s: float = 0.0,
    rates_hz: dict[str, float] = RATES_HZ,
    rules: dict[str, FusionRule] | None = None,
    **pace: object,
) -> list[Taken]:
    """Return what is due of four seconds of sensors, each delivered so long after its stamp."""
    rng = np.random.default_rng(0)
    arrivals = []
    for name, rate in rates_hz.items():
        for n in range(int(4 * rate)):
            delay = delays_s.get(name, 0.0) + jitter_s * rng.uniform(-1.0, 1.0)
            arrivals.append((n / rate + max(delay, 0.0), name, n / rate))
    engine = Engine(VISION_TOUCH, rules or {}, Pace(**pace))  # type: ignore[arg-type]
    found, before_s = [], 0.0
    for now_s, name, stamp_s in sorted(arrivals):
        found += engine.pass_time(before_s, now_s)
        stamp = START_NS + round(stamp_s * 1e9)
        verdict = engine.put(name, stamp, np.zeros(6, np.float32), Stamps(now_s))
        if verdict.wakes and engine.collecting:
            found.append(engine.take(now_s))
        before_s = now_s
    return [due for due in found if WARM_UP_S <= due.at_s <= 4.0]


def share(found: list[Taken], name: str) -> float:
    return float(np.mean([name in due.observation.subset for due in found]))


@pytest.mark.parametrize("others", [("force", "action"), ("action",)])
@pytest.mark.parametrize("delay_ms", [0, 5, 20, 35, 45, 60, 80, 120, 180])
def test_a_camera_is_fused_beside_quick_sensors_whatever_its_delay(delay_ms, others) -> None:
    """With 1.5 periods alone none of its images was fused above 45 ms, and some above 16."""
    rates = {name: RATES_HZ[name] for name in ("rgb", *others)}
    found = latents({"rgb": delay_ms * 1e-3}, jitter_s=0.003, rates_hz=rates)
    assert share(found, "rgb") >= 0.99
    flips = [a.observation.subset != b.observation.subset for a, b in itertools.pairwise(found)]
    assert sum(flips) <= 2


def test_what_a_modality_as_trigger_pairs_is_of_its_moment() -> None:
    """The camera is the slowest: nothing lags behind its moment, and no limit grows."""
    found = latents({"rgb": 0.08}, trigger="rgb")
    assert share(found, "rgb") == share(found, "force") == 1.0
    for due in found:
        assert due.observation.status["force"].lag_s == 0.0
        assert abs(due.observation.status["force"].age_s) <= 1 / 500


def test_a_slow_camera_as_trigger_finds_fast_sensors_of_its_moment() -> None:
    rates = {"rgb": 30.0, "depth": 60.0, "force": 8000.0}
    found = latents({"rgb": 0.1}, rates_hz=rates, trigger="rgb")
    assert share(found, "force") == share(found, "depth") == 1.0


def test_beyond_the_longest_lag_a_camera_is_stale_and_its_status_says_how_late() -> None:
    found = latents({"rgb": LONGEST_LAG_S + 0.1})
    status = found[-1].observation.status["rgb"]
    assert share(found, "rgb") == 0.0
    assert status.state is FusionState.STALE
    assert status.live, "it sends"
    assert status.lag_s == LONGEST_LAG_S
    assert status.age_s > status.max_skew_s


def test_a_limit_that_was_given_does_not_grow() -> None:
    found = latents({"rgb": 0.06}, rules={"rgb": FusionRule(max_skew_s=0.05)})
    assert found[-1].observation.status["rgb"].max_skew_s == 0.05
    assert share(found, "rgb") == 0.0
