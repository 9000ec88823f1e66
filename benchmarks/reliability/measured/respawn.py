"""A node killed and started again: how long until it fuses every sensor?

A supervising loop does what `perception.launch.py respawn:=true` asks launch to do: notice the end,
wait `respawn_delay`, start the process, configure and activate it by the function that the launch
file uses.
"""

from __future__ import annotations

import ast
import time
from pathlib import Path
from typing import Any

import numpy as np
from smvae_ros.lifecycle.start import bring_up

from benchmarks.reliability.node import NodeProcess, random_domain
from benchmarks.reliability.observer import Heard, Observer
from benchmarks.reliability.record import Promise, Result
from benchmarks.reliability.sensors import NAMES, RATES_HZ, Sensors

LIMIT_S = 5.0
LAUNCH = Path("ros2_ws/src/smvae_ros/launch/perception.launch.py")


def respawn_delay_s() -> float:
    """Return the delay that the launch file gives its node."""
    source = (Path(__file__).parents[3] / LAUNCH).read_text(encoding="utf-8")
    delays = [
        ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.keyword) and node.arg == "respawn_delay"
    ]
    assert len(delays) == 1, f"{LAUNCH} has {len(delays)} respawn delays"
    return float(delays[0])


def measure(bundle: Path, folder: Path, repetitions: int) -> Result:
    """Kill and start one node so often."""
    domain, delay_s = random_domain(), respawn_delay_s()
    rounds = []
    with (
        NodeProcess(domain, folder / "respawn.log", {"bundle": bundle}) as node,
        Observer(domain) as observer,
        Sensors(domain),
    ):
        observer.activate()
        observer.heard(_every_sensor, "a latent of every sensor")
        for _ in range(repetitions):
            observer.spin(2.0)
            rounds.append(_once(node, observer, delay_s))
    worst = max(r["fused_s"] for r in rounds)
    median = float(np.median([r["fused_s"] for r in rounds]))
    return Result(
        promises=(
            Promise(
                text=f"a node that was killed fuses every sensor again within {LIMIT_S:g} s of the "
                f"kill, including the launch file's {delay_s:g} s before a respawn (worst of "
                f"{repetitions})",
                figure=worst,
                limit=LIMIT_S,
                unit="s",
            ),
        ),
        done=f"The node was killed by SIGKILL {repetitions} times while all sensors sent. A loop "
        "starts the process again, then configures and activates it through its services, as "
        f"launch does. The median was {median:.2f} s.",
        settings={"respawn_delay_s": delay_s, "image_size": (128, 128), "rates_hz": RATES_HZ},
        raw={"rounds": rounds, "median_s": median, "worst_s": worst},
    )


def _every_sensor(heard: Heard) -> bool:
    return heard.fused == NAMES


def _once(node: NodeProcess, observer: Observer, delay_s: float) -> dict[str, Any]:
    """Kill, start again, and return the times since the kill [s]."""
    killed = time.monotonic()
    times: dict[str, Any] = {}

    def reached(what: str) -> None:
        times[what] = time.monotonic() - killed

    node.kill()
    observer.spin(delay_s)
    node.start()
    reached("started_s")
    if not bring_up(observer.node, "/smvae", observer.came_true):
        raise RuntimeError("the node was not activated, see its log")
    reached("active_s")
    first = observer.heard(_every_sensor, "a latent of every sensor")
    times["fused_s"] = first.steady_s - killed
    return times
