"""What became of recordings, in lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ANEW = " by the declaration as it is; messages as counted when it was converted"


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """Return what `build_episodes` found, in lines: each recording, sensor, target and fault."""
    lines: list[str] = []
    for name, found in summary["recordings"].items():
        if "failed" in found:
            lines.append(f"{name}: failed: {found['failed']}")
            continue
        steps = sum(e["steps"] for e in found["episodes"])
        lines.append(
            f"{name}: {found['seconds']:.1f} s, {_counted(len(found['episodes']), 'episode')}, "
            f"{_counted(steps, 'step')}{_ANEW if found.get('steps_anew') else ''}"
        )
        if clock := found.get("clock"):
            lines.append(
                f"  clock: {clock['topic']}, {_counted(clock['messages'], 'message')}, as of a "
                "node with use_sim_time: what has no stamp counts from the newest of them, up to "
                f"{clock['period_s']:.3g} s early"
            )
        for part in ("sensors", "targets"):
            lines += [f"  {of}: {counted(counts)}" for of, counts in found[part].items()]
        lines += [f"  fault: {fault}" for fault in found["faults"]]
        if left := found["not_declared"]:
            listed = ", ".join(f"{topic} ({count})" for topic, count in left.items())
            lines.append(f"  not declared: {listed}")
    lines.append(
        f"{_counted(summary['episodes'], 'episode')}, {_counted(summary['steps'], 'step')}, "
        f"{summary['seconds']:.1f} s"
    )
    return lines


def missing_line(missing: Mapping[str, str]) -> str:
    """Return '' or which sensors no episode has, why, and what would be right."""
    if not missing:
        return ""
    told = "; ".join(f"{name}: {why}" for name, why in missing.items())
    return f"in no episode: {told} (mend robot.yaml, or mark them `optional: true`)"


def foreseen_lines(found: Mapping[str, Any]) -> list[str]:
    """Return what `foresee` found, in lines."""
    lines: list[str] = []
    for name, each in found["recordings"].items():
        if "failed" in each:
            lines.append(f"{name}: would fail: {each['failed']}")
            continue
        state = "is converted already" if each["finished"] else "would be converted"
        lines.append(f"{name}: {each['seconds']:.1f} s, {state}")
        lines += [
            f"  {of}: {counts['topic']}, {_counted(counts['messages'], 'message')}"
            for of, counts in each["inputs"].items()
        ]
        lines += [f"  fault: {fault}" for fault in each["faults"]]
    return lines


def counted(counts: Mapping[str, Any]) -> str:
    """Return what became of the messages of one sensor or target."""
    words = [f"{counts['used']} used"]
    words += [
        f"{counts[name]} {text}"
        for name, text in (
            ("unused", "in no step"),
            ("late", "late"),
            ("duplicate", "duplicate"),
            ("short", "outside episodes"),
        )
        if counts[name]
    ]
    refused = ", ".join(f"{count} x {reason}" for reason, count in counts["refused"].items())
    words += [f"refused: {refused}"] if refused else []
    first = f"; the first refused: {counts['first_refused']}" if counts["first_refused"] else ""
    head = f"{counts['topic']}, {_counted(counts['messages'], 'message')}"
    return f"{head}: {', '.join(words)}{first}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
