"""The closed loop in the demo's summary and report: numbers, checks, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smvae_training.evaluate.insertions.pairs import (
    ALONE,
    HELPED,
    SHEET,
    VIDEO,
    least_seated,
    seated,
)
from smvae_training.evaluate.live.checks import check
from smvae_training.evaluate.report.html import Section, image_html, table_html, text_html

#: Contact force that nothing may exceed [N].
MOST_N = 60.0
Pairs = Sequence[Mapping[str, Any]]


def insertion_numbers(found: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    """Return what summary.json says of the closed loop.

    Args:
        found: The results of the pairs, see `pairs.insertions`.
        live: Of the attempts over DDS: `attempts`, `seated`, and how `each` ended.
    """
    pairs: Pairs = found["pairs"]
    failures = {pair["failure"]: [p for p in pairs if p["failure"] == pair["failure"]]
                for pair in pairs}  # fmt: skip
    times = [pair[HELPED]["time_s"] for pair in pairs if pair[HELPED]["seated"]]
    both = [pair[method] for pair in pairs for method in (HELPED, ALONE)]
    return {
        "pairs": len(pairs),
        "seated_helped": seated(pairs, HELPED),
        "seated_alone": seated(pairs, ALONE),
        "by_failure": {
            name: {"pairs": len(some), "seated_helped": seated(some, HELPED)}
            for name, some in failures.items()
        },
        "median_s": float(np.median(times)) if times else None,
        "peak_n": max(outcome["peak_n"] for outcome in both),
        "beyond_limits": sum(outcome["breaches"] for outcome in both),
        "live": {key: live[key] for key in ("attempts", "seated", "each")},
    }


def insertion_checks(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what the closed loop must show; a model of 90 % passes each with over 99 %."""
    pairs, helped, alone = (numbers[k] for k in ("pairs", "seated_helped", "seated_alone"))
    live, peak_n = numbers["live"], numbers["peak_n"]
    least, least_live = least_seated(pairs), least_seated(live["attempts"])
    more = least // 2
    return [
        check(
            "operators seat pegs with help",
            helped >= least and helped - alone >= more,
            f"at least {least} of {pairs} attempts, and {more} more than without",
            {"with help": helped, "without": alone},
        ),
        check(
            "help is gentle",
            peak_n <= MOST_N and not numbers["beyond_limits"],
            f"contact force at most {MOST_N:g} N, no command beyond a limit",
            {"N": peak_n, "commands beyond a limit": numbers["beyond_limits"]},
        ),
        check(
            "pegs are seated live over ROS 2",
            live["seated"] >= least_live,
            f"at least {least_live} of {live['attempts']} attempts",
            {"seated": live["seated"]},
        ),
    ]


def insertion_section(
    folder: Path, found: Mapping[str, Any], numbers: Mapping[str, Any]
) -> Section:
    """Return the closed loop's part of the report."""
    live = numbers["live"]
    text = (
        f"Operators who aim 5 to 10 mm and 0.1 to 0.2 rad beside a hole with 1 mm of play, in new "
        f"cells, in simulated time: {numbers['seated_helped']} of {numbers['pairs']} pegs seated "
        f"within 20 s where this model's latents help, {numbers['seated_alone']} of "
        f"{numbers['pairs']} by the same operators alone. In some a camera is lost half-way to the "
        f"hole, drawn by seed {found['seed']}. Live over ROS 2: {live['seated']} of "
        f"{live['attempts']}. `docs/shared_autonomy.md` says how it works."
    )
    rows = [
        [
            pair["number"],
            pair["operator"].replace("_", " "),
            pair["failure"],
            *(_ended(pair[method]) for method in (HELPED, ALONE)),
            pair[HELPED]["missed_mm"],
        ]
        for pair in found["pairs"]
    ]
    header = ["attempt", "operator", "sensors", "with help", "alone", "belief off [mm]"]
    video = found["no_video"] or f'<a href="{VIDEO}">{VIDEO}</a>'
    picture = image_html((folder / SHEET).read_bytes(), caption="From left to right: " + "; ".join(
        f"{shown['operator'].replace('_', ' ')}, {shown['failure']}" for shown in found["shown"]
    ))  # fmt: skip
    return Section(
        "Closed loop",
        text_html(text) + f"<p>Video: {video}</p>" + picture + table_html(header, rows),
    )


def _ended(outcome: Mapping[str, Any]) -> str:
    return f"seated in {outcome['time_s']:.1f} s" if outcome["seated"] else "not seated"
