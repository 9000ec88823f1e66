"""Write RELIABILITY.md from the measurements: `python -m benchmarks.reliability.page`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.reliability.record import RESULTS, path, read
from benchmarks.reliability.tested import ROOT, TESTED
from benchmarks.tables.markdown import table
from smvae_core.files import write_text

PAGE = ROOT / "RELIABILITY.md"
#: Measurement -> heading.
MEASUREMENTS = {
    "malformed": "Malformed messages",
    "dropout": "Sensors that stop and return",
    "overload": "Overload",
    "soak": "Soak",
    "respawn": "Respawn",
}
OPENING = """# What is promised, how is it tested, and what was measured?

This page says what the node promises, how each promise is tested, and what was measured.
`python -m benchmarks.reliability.page` writes it from `benchmarks/results/reliability-*.json`. Do
not edit it by hand.

The node is measured as an integrator would measure it. Sensors, node and listener are separate
processes, and they talk over real DDS. The node's lifecycle is driven through its services.

To measure again: `. scripts/ros_env.sh`, then `python -m benchmarks.reliability NAME`. NAME is
malformed, dropout, overload, soak (10 minutes) or respawn. A promise that is not kept is printed as
**BROKEN**.
"""
CONVERSIONS = """The same corpus went through the conversions alone, without DDS. A second reading,
written from the formats' definitions, judged every result (`python -m
benchmarks.malformed_messages`).

| messages | number |
|---|---|
| of every type | {messages:,} |
| of them built by Hypothesis, field by field | {built_by_hypothesis:,} |
| of them well formed, then damaged | {damaged:,} |
| converted to the array that they mean | {converted:,} |
| refused for a fault that they have | {refused:,} |
| disagreements with the second reading | {disagreements} |
"""


def page(folder: Path = RESULTS) -> str:
    """Return the page as the files in a folder say.

    Raises:
        FileNotFoundError: If a measurement was never made.
    """
    parts, rows = [OPENING, "## Measured\n"], []
    for name, heading in MEASUREMENTS.items():
        promises, record = read(path(name, folder))
        verdicts = [(p.text, p.spelled, "kept" if p.kept else "**BROKEN**") for p in promises]
        parts.append(f"### {heading}: `python -m benchmarks.reliability {name}`\n")
        parts.append(f"{table(('promise', 'measured', ''), verdicts)}\n\n{record['done']}\n")
        if name == "malformed":
            parts.append(_conversions(folder))
        rows.append(_conditions(name, record))
    header = ("measurement", "made", "code", "load before (1 min)", "cores busy before", "bundle")
    parts += ["### Conditions\n", f"{table(header, rows)}\n", _machine(folder), "## Tested\n"]
    parts.append("By `make test`, every time. Tests in `ros2_ws/` run a node over real DDS.\n")
    for heading, promises_of in TESTED.items():
        tested = [(text, "<br>".join(map(_spelled, names))) for text, names in promises_of.items()]
        parts.append(f"### {heading}\n\n{table(('promise', 'test'), tested)}\n")
    return "\n".join(parts)


def _spelled(test: str) -> str:
    file, _, function = test.partition("::")
    return f"[{Path(file).name}]({file}) `{function}`"


def _conversions(folder: Path) -> str:
    record = json.loads((folder / "malformed-conversions.json").read_text(encoding="utf-8"))
    return CONVERSIONS.format(**record | {"refused": sum(record["refused"].values())})


def _conditions(name: str, record: dict[str, Any]) -> tuple[str, ...]:
    load = record["load_before"]
    busy, low = 1.0 - load["shares"]["idle"], load["shares"]["low_priority"]
    said = f"{busy:.0%}" + (f", {low:.0%} by low priority" if low >= 0.01 else "")
    started = record["started"].replace("T", " ").removesuffix("+00:00")
    average = f"{load['load_average'][0]:.1f}"
    return name, f"{started} UTC", record["code"], average, said, record["bundle"]


def _machine(folder: Path) -> str:
    """Say what the machine and the versions are; those of the newest measurement."""
    records = [read(path(name, folder))[1] for name in MEASUREMENTS]
    newest = max(records, key=lambda r: str(r["started"]))
    hardware, versions = newest["hardware"], newest["versions"]
    wanted = ("python", "rclpy", "onnxruntime", "numpy")
    said = ", ".join(f"{k} {versions[k]}" for k in wanted if k in versions)
    return (
        f"{hardware['cores']} cores of {hardware['cpu']}, {hardware['memory_gb']:g} GB; "
        f"{newest['middleware']}, {newest['fastdds_profile']}; {said}. Other work may run on the "
        "machine. The files hold load averages and the cores' shares, before and after.\n"
    )


def main() -> int:
    """Write the page."""
    write_text(PAGE, page())
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
