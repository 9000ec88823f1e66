"""The section of RESULTS.md on the runtime, from `runtime-speed.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables.markdown import table
from benchmarks.tables.section import section_of
from benchmarks.turns.machine import machine_line
from benchmarks.turns.ratios import ratio, spread, verdict

#: Loading a model may take so long [s].
LOAD_S = 1.0
OURS = "ours"

Contenders = Mapping[str, Mapping[str, Any]]


def section(folder: Path) -> str:
    """Return the section; says what was not measured yet."""
    return section_of(
        "Runtime, beside torch and one fused graph", folder / "runtime-speed.json", _paragraphs
    )


def _paragraphs(found: Mapping[str, Any]) -> list[str]:
    about = (
        "`python -m benchmarks.runtime_speed`; contenders as processes of one thread, in turns. "
        "Milliseconds of CPU, from a prepared sample on: the median over a turn's runs, of that "
        "the median over turns. `fused graph` is one ONNX graph of all modalities with bound "
        "buffers, which embeds what is absent too. `int8` and `fp16` are off by default."
    )
    return [about, *(_model(name, parts) for name, parts in found.items())]


def _model(name: str, parts: Mapping[str, Any]) -> str:
    texts = [f"### {name}"]
    if "operations" in parts:
        texts.append(_operations(parts["operations"]["contenders"]))
    if "loading" in parts:
        texts.append(_loading(parts["loading"]["contenders"]))
    if "errors" in parts:
        texts.append(_errors(parts["errors"]))
    last = parts[list(parts)[-1]]
    return "\n\n".join([*texts, machine_line(last["machine"])])


def medians(turns: Sequence[Mapping[str, Any]], label: str, clock: str = "cpu_ms") -> list[float]:
    """Return an operation's time in each turn, empty where it is not done."""
    return [turn[clock][label] for turn in turns if label in turn[clock]]


def _operations(contenders: Contenders) -> str:
    labels = list(contenders[OURS]["turns"][0]["cpu_ms"])
    rows = []
    for label in labels:
        row = [label]
        mine = medians(contenders[OURS]["turns"], label)
        for name, each in contenders.items():
            other = medians(each["turns"], label)
            if not other:
                row.append("")
                continue
            times = "" if name == OURS else f" ({ratio(other, mine).median:.1f}x)"
            row.append(f"{spread(other).median:.3f}{times}")
        rows.append(row)
    memory = {
        "peak of the process [MB]": lambda each: f"{max(t['peak_mb'] for t in each['turns']):.0f}",
        "of it for the model [MB]": lambda each: f"{each['about']['loaded_mb']:.0f}",
        "on disk [MB]": lambda each: f"{each['about']['bytes'] / 1e6:.1f}",
    }
    rows += [[what, *(get(each) for each in contenders.values())] for what, get in memory.items()]
    return table(["CPU [ms]; in brackets, of ours", *contenders], rows)


def _loading(contenders: Contenders) -> str:
    rows = [
        [
            name,
            *(f"{spread([t[k] for t in each['turns']]):.2f}" for k in ("import_s", "load_s")),
            f"{spread([t['cpu_s'] for t in each['turns']]):.2f}",
        ]
        for name, each in contenders.items()
    ]
    load = spread([t["load_s"] for t in contenders[OURS]["turns"]]).median
    cpu = spread([t["cpu_s"] for t in contenders[OURS]["turns"]]).median
    heading = [
        "a new process loads it",
        "imports, wall [s]",
        "load, wall [s]",
        "all of it, CPU [s]",
    ]
    return (
        f"{table(heading, rows)}\n\nTarget, load under {LOAD_S:g} s: {verdict(load < LOAD_S)} by "
        f"wall time, {verdict(cpu < LOAD_S)} by CPU time with imports."
    )


def _errors(errors: Mapping[str, Any]) -> str:
    rows = []
    for form, subsets in errors.items():
        if form == "machine":
            continue
        for subset, found in subsets.items():
            if subset == "records":
                continue
            each = (f"{r:.4f} ± {e:.4f}" for r, e in found["error"].values())
            rows.append([form, subset, f"{found['shift']:.4f}", *each])
    first = next(f for s, f in errors["int8"].items() if s != "records")
    count = errors["int8"]["records"]
    largest = max(
        r for s, f in errors["int8"].items() if s != "records" for r, _ in f["error"].values()
    )
    heading = ["form", "from", "shift [std]", *(f"error of {n}" for n in first["error"])]
    assert math.isfinite(largest)
    return (
        f"What another precision changes on {count} held-out records: how far posterior means "
        "move, in standard deviations of the float32 posterior, and squared errors as a share of "
        f"float32's (± standard error, paired by record). The largest share of int8 is "
        f"{largest:.4f}.\n\n{table(heading, rows)}"
    )
