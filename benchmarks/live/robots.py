"""A row of the table for a robot of many sensors: latents per second, and CPU time of each.

The node has its defaults. Windows come at 100 Hz, cameras at 30, all else at 10 Hz.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.robots import many_robots

_RATE_HZ, _IMAGE_RATE_HZ = 100, 30
_STEPS, _RECORDS = 10, 240


def robot(count: int, folder: Path, seconds: float) -> dict[str, Any]:
    """Make a robot's bundle below a new folder and run it; return what is told of it."""
    made = many_robots.make(count, folder, _STEPS, _RECORDS)
    live = many_robots.live(
        made.bundle,
        made.robot,
        made.declared,
        seconds,
        folder / "node.log",
        rate_hz=_RATE_HZ,
        image_rate_hz=_IMAGE_RATE_HZ,
    )
    return {"kinds": made.about["kinds"], "image_rate_hz": _IMAGE_RATE_HZ, **live}


def spelled(name: str, told: dict[str, Any]) -> list[str]:
    """Return its row in the table that is printed."""
    latency = told["node_latency_ms"]
    return [
        name,
        "",
        f"{latency['p50']:.2f} / {latency['p99']:.2f} (in the node)",
        "",
        "",
        f"{told['rate_hz']:.0f}",
        f"{told['cpu_ms_per_latent']:.2f}",
        "",
        f"all fused in {told['share_of_all']:.0%}, {told['cpu_share']:.2f} cores in all",
    ]
