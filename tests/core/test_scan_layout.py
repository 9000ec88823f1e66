"""A laser whose beams look elsewhere than at first is refused: a beam is known by its place."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from smvae_core.fusion.engine import Engine, Stamps
from smvae_core.fusion.rules import LAYOUT, FusionState, Pace
from smvae_core.kinds.scan import ScanOptions
from smvae_core.modality import Modality

T0, MS = 10**18, 10**6
LASER = Modality(name="laser", kind="scan", shape=(2, 16), unit="m, 1", options=ScanOptions())


def scan(at_ms: int, first: float = -1.0, last: float = 1.0, beams: int = 64) -> Any:
    at_ns = T0 + at_ms * MS
    return SimpleNamespace(
        header=SimpleNamespace(
            stamp=SimpleNamespace(sec=at_ns // 10**9, nanosec=at_ns % 10**9), frame_id=""
        ),
        angle_min=first,
        angle_max=last,
        angle_increment=(last - first) / (beams - 1),
        range_min=0.1,
        range_max=10.0,
        ranges=np.full(beams, 2.0, np.float32),
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"first": 1.0, "last": -1.0}, "expected beams from -1 to 1 rad .* got 1 to -1 rad"),
        ({"first": -0.9}, "got -0.9 to 1 rad"),
        ({"first": -1.0, "last": 1.0 + 2 / 63 * 8, "beams": 72}, "got -1 to 1.254 rad"),
    ],
    ids=["upside down", "angle_min", "more beams"],
)
def test_a_scan_of_other_angles_is_refused_and_the_sensor_is_back_when_it_is(
    changed: dict[str, Any], said: str
) -> None:
    engine = Engine((LASER,), {}, Pace())
    assert not engine.receive("laser", scan(0), Stamps(0.0)).reason
    for turn in (1, 2):
        verdict = engine.receive("laser", scan(100 * turn, **changed), Stamps(0.1 * turn))
        assert verdict.reason == LAYOUT
        assert re.search(said, verdict.text)
        assert not verdict.wakes
    for turn in (3, 4):
        assert not engine.receive("laser", scan(100 * turn), Stamps(0.1 * turn)).reason
    status = engine.observe(0.4).status["laser"]
    assert (status.state, status.reject_reasons) == (FusionState.FUSED, {LAYOUT: 2})


@pytest.mark.parametrize(
    "same", [{"beams": 66}, {"beams": 128}, {"first": -1.0 + 1e-3, "last": 1.0 + 1e-3}]
)
def test_another_number_of_beams_between_the_same_angles_is_the_same_scan(
    same: dict[str, Any],
) -> None:
    """Drivers that do not hold the motor's speed vary it from turn to turn."""
    engine = Engine((LASER,), {}, Pace())
    engine.receive("laser", scan(0), Stamps(0.0))
    assert not engine.receive("laser", scan(100, **same), Stamps(0.1)).reason


def test_what_came_before_time_jumped_says_nothing() -> None:
    engine = Engine((LASER,), {}, Pace())
    engine.receive("laser", scan(0), Stamps(0.0))
    engine.flush()
    assert not engine.receive("laser", scan(100, -math.pi, 0.0), Stamps(0.1)).reason


def test_a_message_without_angles_is_left_to_the_conversion() -> None:
    engine = Engine((LASER,), {}, Pace())
    engine.receive("laser", scan(0), Stamps(0.0))
    odd = SimpleNamespace(header=scan(100).header, ranges=None)
    assert not engine.receive("laser", odd, Stamps(0.1)).reason
