"""What streams, and how the node is set: a case of the measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from smvae_core.presets import VISION_TOUCH

NAMES = tuple(modality.name for modality in VISION_TOUCH)

#: As fast as the fastest sensor, and nothing waits for another.
AT_ONCE: Mapping[str, Any] = {"max_rate_hz": 1000.0, "collect_timeout_s": 0.0}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a figure must not exceed."""

    figure: str
    most: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """Sensors that stream, and the node's parameters."""

    sensors: tuple[str, ...]
    multiple: float = 1.0
    """Of the usual rates: force 500 Hz, images 30 Hz, commands 20 Hz."""
    parameters: Mapping[str, Any] = field(default_factory=lambda: dict(AT_ONCE))
    limits: tuple[Limit, ...] = ()
    fused: bool = False
    """Whether one graph of all modalities takes turns, where there is one."""
    full: bool = False
    """Whether the networks are those of preset `vision_touch`, whatever bundle is given."""


_ALONE = (Limit(figure="p50_ratio", most=1.5), Limit(figure="p99_ratio", most=3.0))

_OF_FUSED = Limit(figure="cpu_of_fused_ratio", most=1.0 / 3.0)
_ALL = (Limit(figure="p50_ratio", most=3.0), Limit(figure="rgb_ratio", most=1.5), _OF_FUSED)

CASES: dict[str, Case] = {
    "force-500": Case(sensors=("force",), limits=_ALONE),
    "force-1000": Case(sensors=("force",), multiple=2.0, limits=_ALONE),
    "all": Case(sensors=NAMES, limits=_ALL, fused=True),
    "all-vision-touch": Case(sensors=NAMES, limits=_ALL, fused=True, full=True),
    "defaults": Case(sensors=NAMES, parameters={}),
}

#: Robots of many sensors by name, and how many they have; see `robots`.
ROBOTS = {"sensors-8": 8, "sensors-16": 16}
