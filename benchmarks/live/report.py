"""The section of RESULTS.md on the live node, from `live-*.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.live.cases import CASES, ROBOTS
from benchmarks.tables.markdown import table
from benchmarks.turns.ratios import verdict

_RATIOS = ("p50_ratio", "p99_ratio", "rgb_ratio", "cpu_of_fused_ratio")


def section(folder: Path) -> str:
    """Return the section; says what was not measured yet."""
    found = {name: _read(folder, name) for name in (*CASES, *ROBOTS, "soak")}
    parts = ["## Live, beside an echo"]
    cases = {n: told for n in CASES if (told := found[n]) is not None}
    if cases:
        parts += [_ABOUT, table(_HEADING, [_row(n, told) for n, told in cases.items()])]
    robots = {n: told for n in ROBOTS if (told := found[n]) is not None}
    if robots:
        rows = [_robot_row(ROBOTS[n], told) for n, told in robots.items()]
        parts += [_ABOUT_ROBOTS, table(_ROBOT_HEADING, rows)]
    if (told := found["soak"]) is not None:
        parts.append(soak_line(told))
    missing = [name for name, told in found.items() if told is None]
    if missing:
        parts.append(f"Not run yet: {', '.join(missing)}.")
    return "\n\n".join(parts)


_ABOUT = (
    "`python -m benchmarks.live`; an rclpy node that answers with a filled message (the echo), one "
    "graph of all modalities run per message, and the perception node hear the same sensors, in "
    "turns. Stamp to receipt in another process. Ratios are of neighbouring turns: median (least "
    "to most). RGB: to its first latent, beside the echo of the frame and a bare embedding and "
    "pooling. A limit that is asked stands behind."
)
_HEADING = (
    "case",
    "node / echo, p50",
    "p99",
    "RGB",
    "latents/s",
    "CPU per latent [ms]",
    "of the one graph's CPU",
    "load",
)
_ABOUT_ROBOTS = (
    "More sensors, the node's defaults: windows at 100 Hz, cameras at 30 Hz, all else at 10 Hz."
)
_ROBOT_HEADING = (
    "sensors",
    "latents/s",
    "CPU per latent [ms]",
    "cores in all",
    "of all sensors",
    "in the node, p50 / p99 [ms]",
    "load",
)


def _read(folder: Path, name: str) -> dict[str, Any] | None:
    path = folder / f"live-{name}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def _row(name: str, told: Mapping[str, Any]) -> list[str]:
    node = told["node"]
    p50, p99, rgb, fused = (_ratio(told, key) for key in _RATIOS)
    return [
        name,
        p50,
        p99,
        rgb,
        f"{node['latents_per_s']:.0f}",
        f"{node['cpu_per_latent_ms']:.2f}",
        fused,
        _load(told),
    ]


def _ratio(told: Mapping[str, Any], key: str) -> str:
    if key not in told["ratios"]:
        return ""
    low, high = told["ratios_least_most"][key]
    limit = told["limits"].get(key)
    asked = f"; at most {limit['most']:.3g}: {verdict(limit['kept'])}" if limit else ""
    return f"{told['ratios'][key]:.2f} ({low:.2f} to {high:.2f}){asked}"


def _robot_row(count: int, told: Mapping[str, Any]) -> list[str]:
    latency = told["node_latency_ms"]
    return [
        str(count),
        f"{told['rate_hz']:.0f}",
        f"{told['cpu_ms_per_latent']:.2f}",
        f"{told['cpu_share']:.2f}",
        f"{told['share_of_all']:.1%}",
        f"{latency['p50']:.1f} / {latency['p99']:.1f}",
        _load(told),
    ]


def _load(told: Mapping[str, Any]) -> str:
    return f"{told['load_before']['load_average'][0]:g}"


def soak_line(told: Mapping[str, Any]) -> str:
    """Return what a soak found, in words."""
    first, last = told["rss_mb_first_last"]
    threads, descriptors = told["threads_least_most"], told["descriptors_least_most"]
    mb, error = (told[f"anonymous_mb_per_hour{end}"] for end in ("", "_error"))
    known = mb is not None and not math.isnan(mb)
    slope = f", its own memory {mb:+.1f} ± {error:.1f} MB per hour" if known else ""
    verdict = {True: "It grows", False: "It does not grow", None: "Too short to say more"}
    return (
        f"Soak: {told['seconds'] / 60.0:.0f} minutes, {told['latents']} latents, "
        f"{told['latents_lost']} lost, {told['cpu_per_latent_ms']:.2f} ms of CPU each. Resident "
        f"memory {first:.1f} to {last:.1f} MB{slope}; {threads[0]:.0f} to {threads[1]:.0f} "
        f"threads, {descriptors[0]:.0f} to {descriptors[1]:.0f} file descriptors. "
        f"{verdict[told['grows']]}."
    )
