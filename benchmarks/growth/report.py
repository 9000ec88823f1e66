"""The section of RESULTS.md on growth and its picture, from `growth.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.growth.models import RATE_HZ
from benchmarks.tables.markdown import table
from benchmarks.tables.section import section_of
from benchmarks.turns.machine import machine_line
from smvae_training.evaluate.report.draw import new_figure

PICTURE = "growth.png"
#: An exponent up to this is linear: costs are measured on a shared machine.
LINEAR = 1.1
#: What grows along each axis, and why each cost grows as it does.
AXES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "sensors": (
        "sensors",
        {
            "latent, one new sample": "one embedding; pooling reads one row of each sensor",
            "latent, all samples new": "one embedding each",
            "all sensors decoded": "one decoder each",
            "training step": "half of the sensors embedded, all decoded",
        },
    ),
    "side": (
        "pixels",
        {
            "latent, all samples new": "convolutions; each doubling of the side adds a layer that "
            "ends at the same 5 x 5 maps, and channels start lower",
            "all sensors decoded": "the same, mirrored",
            "training step": "the same, with the Adam step of a constant number of weights",
        },
    ),
    "latent": (
        "latent numbers",
        {
            "latent, one new sample": "two linear layers of each sensor and one of the set",
            "latent, all samples new": "the same",
            "all sensors decoded": "the first layer of each decoder",
            "training step": "the same layers",
            "training step, dimensions covary": "a triangular matrix of each sample, so at last "
            "the square of the latent: off by default, and asked for where latents are small",
        },
    ),
    "context": (
        "samples of each sensor",
        {
            "latent with memory, one new sample": "the filter takes one step for a new sample, "
            "whatever is remembered",
            "training step, matching": "each remembered sample is read once, and not embedded",
            "training step, tuning": "the same, beside decoders",
        },
    ),
    "episodes": (
        "records",
        {
            "a batch of 32": "32 rows; the largest set is not in the system's memory, and its "
            "rows are read without what lies around",
            "order of an epoch": "one permutation for each pass over the records, so nothing for "
            "a step; it leaves the caches as it grows",
            "statistics, once": "windows and vectors are read once, some at a time",
        },
    ),
}
#: Of one record of four sensors at 64 x 64 [bytes], and of one page that the disk gives.
RECORD_BYTES, PAGE_BYTES = 3 * 64**2 + 4 * 64**2 + 6 * 32 * 4 + 4 * 4, 4096
RECORDS_PER_EPISODE = 250


def section(folder: Path) -> str:
    """Return the section; says what was not measured yet."""
    title = "How costs grow"
    return section_of(title, folder / "growth.json", _paragraphs)


def _paragraphs(found: Mapping[str, Any]) -> list[str]:
    about = (
        "`python -m benchmarks.growth`; CPU time of one thread, medians, small networks (8 "
        f"channels at first, D 128, Z 64), batches of 16, records at {RATE_HZ} Hz. The exponent p "
        "of cost ~ size^p is fitted to all sizes by least squares of the logarithms, then taken "
        f"of the two largest alone. Above {LINEAR:g} is more than linear."
    )
    rows = [row for name in AXES if name in found for row in _rows(name, found[name]["rows"])]
    heading = ["grows", "from, to", "cost", "ms", "p", "p at last", "why"]
    first = next(iter(found.values()))
    return [
        about,
        f"![Costs against sizes, both logarithmic]({PICTURE})",
        table(heading, rows),
        _past_the_disk(),
        machine_line(first["machine"]),
    ]


def _sizes(name: str, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return sizes in the unit of `AXES`: pixels of an image, records of episodes."""
    per = {"side": lambda n: n * n, "episodes": lambda n: n * RECORDS_PER_EPISODE}
    return [per.get(name, lambda n: n)(row["size"]) for row in rows]


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return p of cost ~ size^p, by least squares of the logarithms."""
    slope, _ = np.polyfit(np.log(sizes), np.log(costs), 1)
    return float(slope)


def _rows(name: str, measured: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    what, reasons = AXES[name]
    found = []
    for cost, why in reasons.items():
        rows = [row for row in measured if cost in row["ms"]]
        if len(rows) < 2:
            continue
        sizes, costs = _sizes(name, rows), [row["ms"][cost] for row in rows]
        last = exponent(sizes[-2:], costs[-2:])
        found.append(
            [
                what,
                f"{sizes[0]:,} to {sizes[-1]:,}",
                cost,
                f"{_spell(costs[0])} to {_spell(costs[-1])}",
                f"{exponent(sizes, costs):.2f}",
                f"**{last:.2f}**" if last > LINEAR else f"{last:.2f}",
                why,
            ]
        )
    return found


def _spell(number: float) -> str:
    """Return two significant digits."""
    return f"{number:.{max(0, 1 - math.floor(math.log10(number)))}f}"


def _past_the_disk() -> str:
    """Return, by calculation, what a batch reads where the records fit nowhere else."""
    rows = []
    for episodes in (10, 100, 1000, 10_000):
        size = episodes * RECORDS_PER_EPISODE * RECORD_BYTES
        batch = 32 * RECORD_BYTES
        rows.append([f"{episodes:,}", f"{size / 1e9:.2g} GB", f"{batch / 1e6:.2f} MB"])
    return (
        "On paper, of four sensors at 64 x 64, 250 records an episode: what lies on the disk, and "
        "what a batch of 32 reads of it where nothing is in memory.\n\n"
        f"{table(['episodes', 'on disk', 'read for a batch'], rows)}\n\n"
        "Files beyond half of the memory are read without readahead, so a batch costs what it "
        "holds, however large the set ([NOTES.md](NOTES.md): 85 MB before, 0.92 MB after)."
    )


def draw(folder: Path, out: Path) -> None:
    """Write the picture, a panel of each axis that was measured."""
    path = folder / "growth.json"
    if not path.exists():
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    names = [name for name in AXES if name in found]
    figure, axes = new_figure(1, len(names), size=(3.4 * len(names), 3.6), layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        what, reasons = AXES[name]
        measured = found[name]["rows"]
        for cost in reasons:
            rows = [row for row in measured if cost in row["ms"]]
            axis.plot(
                _sizes(name, rows), [row["ms"][cost] for row in rows], "o-", ms=3, lw=1, label=cost
            )
        axis.set(xscale="log", yscale="log", xlabel=what)
        axis.grid(True, which="major", alpha=0.3)
        axis.legend(fontsize=6, frameon=False)
        axis.tick_params(labelsize=7)
    axes[0][0].set_ylabel("CPU time [ms]")
    figure.savefig(out / PICTURE, dpi=110, metadata={"Software": None})
