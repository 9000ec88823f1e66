"""What a live run must show, each with its numbers and whether it holds."""

from __future__ import annotations

from typing import Any

from smvae_training.evaluate.live.evaluate import (
    EQUAL_SHARE,
    FUSED_SHARE,
    IMAGE_MARGIN,
    LEFT_OUT_SHARE,
)
from smvae_training.evaluate.live.fusion import NONE

#: Latents of a subset that are enough to say something of it.
ENOUGH = 10


def check(name: str, passed: bool, required: str, got: Any) -> dict[str, Any]:
    """Return one check as summary.json lists it."""
    return {"name": name, "passed": bool(passed), "required": required, "got": got}


def live_checks(live: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the checks of the live part of summary.json (see `evaluate.numbers`)."""
    subsets: dict[str, Any] = live["subsets"]
    return [
        _all_seen(subsets),
        _fused(live, subsets),
        _left_in(live),
        _none(live[NONE]),
        _equal(live, subsets),
        *(_images(subsets, name) for name in next(iter(subsets.values()))["images"]),
        _recorded(live),
    ]


def _all_seen(subsets: dict[str, Any]) -> dict[str, Any]:
    few = {name: s["latents"] for name, s in subsets.items() if s["latents"] < ENOUGH}
    required = f"all {len(subsets)} subsets, {ENOUGH} latents each away from switches"
    return check("every subset was seen", not few, required, few or f"{len(subsets)} subsets")


def _fused(live: dict[str, Any], subsets: dict[str, Any]) -> dict[str, Any]:
    shares = {name: s["fused_equals_published"] for name, s in subsets.items()}
    worst = min(shares, key=lambda n: shares[n] if shares[n] == shares[n] else -1.0)
    got = {"all": live["fused_equals_published"], "worst": {worst: shares[worst]}}
    passed = shares[worst] >= FUSED_SHARE and live["fused_equals_published"] >= FUSED_SHARE
    return check("fused equals published", passed, f"at least {FUSED_SHARE} of each subset", got)


def _left_in(live: dict[str, Any]) -> dict[str, Any]:
    share = live["left_out"]["share"]
    required = f"at most {LEFT_OUT_SHARE:.0%} of latents leave out a suspect: no sensor is wrong"
    return check(
        "sensors that are right count", share <= LEFT_OUT_SHARE, required, live["left_out"]
    )


def _none(none: dict[str, Any]) -> dict[str, Any]:
    count = none["messages"]
    passed = count >= ENOUGH and none["valid"] == 0
    passed = passed and none["no_input"] == none["empty_mean"] == count
    required = f"{ENOUGH} NO_INPUT heartbeats, all valid=false with empty mean"
    return check("nothing alive says so", passed, required, none)


def _equal(live: dict[str, Any], subsets: dict[str, Any]) -> dict[str, Any]:
    shares = {name: s["equal_to_offline"] for name, s in subsets.items()}
    worst = min(shares, key=lambda n: shares[n] if shares[n] == shares[n] else -1.0)
    got = {"all": live["equal_to_offline"], "worst": {worst: shares[worst]}}
    required = f"at least {EQUAL_SHARE} of latents within {live['tolerance']:g}"
    return check("live equals offline", live["equal_to_offline"] >= EQUAL_SHARE, required, got)


def _images(subsets: dict[str, Any], name: str) -> dict[str, Any]:
    ratios = {s: v["images"][name]["live_over_offline"] for s, v in subsets.items()}
    worst = max(ratios, key=lambda s: abs(ratios[s] - 1.0) if ratios[s] == ratios[s] else 9e9)
    passed = all(abs(r - 1.0) <= IMAGE_MARGIN for r in ratios.values())
    required = f"error within {IMAGE_MARGIN:.0%} of the offline error, every subset"
    return check(f"predicted {name} as good as offline", passed, required, {worst: ratios[worst]})


def _recorded(live: dict[str, Any]) -> dict[str, Any]:
    lost = {topic: n for topic, n in (live["bag"]["lost"] or {}).items() if n}
    missing = live["missing_sequence_numbers"]
    passed = not lost and missing <= 0.01 * live["latents_received"]
    got = {"lost": lost, "latents_not_recorded": missing}
    return check("the recorder lost nothing", passed, "no message lost; 99 % of latents", got)
