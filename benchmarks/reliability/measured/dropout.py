"""Sensors that stop and return: how soon the status says so, and how soon they are fused again."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from smvae_msgs.msg import LatentState

from benchmarks.reliability.node import NodeProcess, random_domain
from benchmarks.reliability.observer import Heard, Observer
from benchmarks.reliability.record import Promise, Result
from benchmarks.reliability.sensors import NAMES, RATES_HZ, Sensors
from smvae_core.fusion.rules import FusionState

LIMIT_S = 1.0
#: Every non-empty subset of the sensors.
SUBSETS = tuple(s for n in range(1, len(NAMES) + 1) for s in combinations(NAMES, n))


@dataclass(kw_only=True)
class Seen:
    """How long things took [s], by sensor or subset."""

    gone: dict[str, list[float]]
    back: dict[str, list[float]]
    states: dict[str, set[str]]
    """What the status of a sensor said once it was gone."""
    relapses: int = 0
    """How often a sensor was fused while it was gone."""
    reached: dict[tuple[str, ...], float | None] = field(default_factory=dict)
    """None: the latents of a subset were never of exactly that one."""
    silent: float = math.inf
    alive: bool = False


def measure(bundle: Path, folder: Path, repetitions: int) -> Result:
    """Switch sensors of one running robot off and on; one node, its default limits."""
    domain = random_domain()
    seen = Seen(
        gone={n: [] for n in NAMES},
        back={n: [] for n in NAMES},
        states={n: set() for n in NAMES},
    )
    with (
        NodeProcess(domain, folder / "dropout.log", {"bundle": bundle}) as node,
        Observer(domain) as observer,
        Sensors(domain) as sensors,
    ):
        observer.activate()
        _reach(observer, sensors, NAMES)
        for name in NAMES * repetitions:
            observer.spin(1.0)
            seconds, heard = _switched(observer, sensors, name, on=False)
            seen.gone[name].append(seconds)
            seen.states[name].add(FusionState(heard.status(name).state).name)
            observer.spin(LIMIT_S / 2)
            observer.latents.clear()
            observer.spin(LIMIT_S / 2)
            seen.relapses += any(name in one.fused for one in observer.latents)
            seconds, _ = _switched(observer, sensors, name, on=True)
            seen.back[name].append(seconds)
        seen.reached = {subset: _reach(observer, sensors, subset) for subset in SUBSETS}
        seen.silent = _silence(observer, sensors)
        seen.alive = node.alive
    return result(seen, repetitions)


def result(seen: Seen, repetitions: int) -> Result:
    """Judge what was seen."""
    return Result(
        promises=(
            Promise(
                text=f"a sensor that stops is no longer fused, and its status says so within "
                f"{LIMIT_S:g} s (worst of {repetitions} per sensor)",
                figure=max(max(v) for v in seen.gone.values()),
                limit=LIMIT_S,
                unit="s",
            ),
            Promise(
                text="a sensor that stopped is never fused again before it returns",
                figure=seen.relapses,
                limit=0,
                unit="times",
            ),
            Promise(
                text=f"a sensor that returns is fused within {LIMIT_S:g} s (worst of "
                f"{repetitions} per sensor)",
                figure=max(max(v) for v in seen.back.values()),
                limit=LIMIT_S,
                unit="s",
            ),
            Promise(
                text="each subset of the sensors, when it alone lives, gives latents of exactly "
                "that subset",
                figure=sum(seconds is not None for seconds in seen.reached.values()),
                limit=len(SUBSETS),
                unit=f"of {len(SUBSETS)} subsets",
                at_least=True,
            ),
            Promise(
                text=f"without any sensor the status becomes NO_INPUT within {LIMIT_S:g} s",
                figure=seen.silent,
                limit=LIMIT_S,
                unit="s",
            ),
        ),
        done=f"Each sensor of a running robot stopped and returned {repetitions} times. The "
        f"median time until its status said so was {_median(seen.gone):.2f} s, until it was fused "
        f"again {_median(seen.back):.2f} s. Then each of the 15 subsets was sent, and at last "
        "nothing. Limits are the node's defaults.",
        settings={"image_size": (128, 128), "rates_hz": RATES_HZ, "parameters": "defaults"},
        raw={
            "gone_s": seen.gone,
            "back_s": seen.back,
            "states_said": {n: sorted(s) for n, s in seen.states.items()},
            "subset_reached_s": {"+".join(s): v for s, v in seen.reached.items()},
            "no_input_s": seen.silent,
            "node_alive": seen.alive,
        },
    )


def _median(times: dict[str, list[float]]) -> float:
    return float(np.median([t for values in times.values() for t in values]))


def _switched(observer: Observer, sensors: Sensors, name: str, *, on: bool) -> tuple[float, Heard]:
    """Switch a sensor; return the time [s] to the first latent that says so, and that latent."""
    sensors.switch(name, on)
    begun = time.monotonic()
    heard = observer.heard(
        lambda one: (name in one.fused) == on and one.message.valid,
        f"a latent {'of' if on else 'without'} {name}",
    )
    return heard.steady_s - begun, heard


def _reach(observer: Observer, sensors: Sensors, subset: tuple[str, ...]) -> float | None:
    """Let a subset send; return the time [s] to its first latent after which it stays, or None.

    Latents before a returned sensor's first message, or a lost one's last age, are of other sets;
    reached means three in a row of this one.
    """
    sensors.only(subset)
    begun = time.monotonic()
    row: list[float] = []

    def settled(one: Heard) -> bool:
        if one.fused == subset:
            row.append(one.steady_s - begun)
        else:
            row.clear()
        return len(row) == 3

    try:
        observer.heard(settled, f"latents of {subset}", 30.0)
    except TimeoutError:
        return None
    return row[0]


def _silence(observer: Observer, sensors: Sensors) -> float:
    """Silence every sensor; return the time [s] until NO_INPUT."""
    sensors.only(())
    begun = time.monotonic()
    heard = observer.heard(lambda one: one.message.status == LatentState.NO_INPUT, "NO_INPUT")
    return heard.steady_s - begun
