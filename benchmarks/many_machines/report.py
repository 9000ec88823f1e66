"""The section of RESULTS.md on many machines, from `many-machines.json` and `ray.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.tables.markdown import table
from benchmarks.tables.section import section_of
from benchmarks.turns.machine import machine_line

#: Losses of two workers and of one process may differ by so much of themselves.
SAME = 1e-4


def section(folder: Path) -> str:
    """Return the section; says what was not measured yet."""
    return section_of(
        "Many machines: two workers beside one process", folder / "many-machines.json", _paragraphs
    )


def _paragraphs(found: Mapping[str, Any]) -> list[str]:
    about = (
        f"`python -m benchmarks.many_machines`; preset `{found['preset']}`, "
        f"{found['batch_size']} records per step, {found['steps']} steps, float32, two workers on "
        "this machine over gloo. Largest relative difference from one process with the whole "
        f"batch, over all steps. With BatchNorm frozen it must stay below {SAME:g}."
    )
    rows = []
    for name, starters in found["comparisons"].items():
        for starter, told in starters.items():
            loss = told["largest_relative_difference"]["loss"]
            last = told["losses"][-1], told["other_losses"][-1]
            frozen = "frozen" in name
            verdict = ("met" if loss < SAME else "**missed**") if frozen else "no target"
            rows.append(
                [
                    name,
                    starter,
                    f"{loss:.1e}",
                    f"{told['weights_relative_difference']:.1e}",
                    f"{last[0]:.1f} / {last[1]:.1f}",
                    verdict,
                ]
            )
    columns = ["run", "started by", "loss", "weights", "last loss, one / two", "1e-4"]
    return [about, table(columns, rows), machine_line(found["machine"])]
