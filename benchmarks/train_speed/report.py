"""The section of RESULTS.md on training, from `train-speed.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.tables.markdown import table
from benchmarks.tables.section import section_of
from benchmarks.train_speed.networks import BATCH, PRESETS
from benchmarks.turns.machine import machine_line
from benchmarks.turns.ratios import Spread, ratio, spread, verdict

#: Ours beside MultiVae's own trainer: at least so many times as fast.
TARGETS = {"mvae": 4.0, "mopoe": 2.0}
#: The objective of ours that the targets are about; the others decode more.
OBJECTIVE = "observed"
CLOCKS = ("wall_s", "cpu_s")

Contenders = Mapping[str, Mapping[str, Any]]


def section(folder: Path) -> str:
    """Return the section; says what was not measured yet."""
    return section_of(
        "Training, beside MultiVae's own trainer", folder / "train-speed.json", _paragraphs
    )


def _paragraphs(found: Mapping[str, Any]) -> list[str]:
    contenders, about = found["contenders"], found["machine"]
    text = (
        f"`python -m benchmarks.train_speed`; {about['steps']} steps of {BATCH} records a turn, "
        f"the robot's networks of full size, {about['threads']} thread each, "
        f"{len(contenders[_ours(OBJECTIVE, '32')]['turns'])} turns. "
        "Median over turns (smallest to largest); ratios are of the same turn, by CPU time, since "
        "other work shares the machine. `mvae` has its sub-sampling. MultiVae's trainer has "
        "float32 alone: bf16 is autocast put around its models' forward. Our trainer puts its own "
        "layers in place of torch's, with the same weights and numbers. Operations are counted "
        "by torch, forward and backward; the share is of the fastest matrix product in that "
        "precision, measured in the same turns. Passes of ours: of each sensor's embedding "
        "network and of its decoder, per record."
    )
    parts = (_speeds(contenders), _objectives(contenders), _targets(contenders))
    return [text, *parts, machine_line(about)]


def _ours(objective: str, precision: str) -> str:
    return f"ours, {objective} / {precision}"


def _theirs(method: str, precision: str) -> str:
    return f"MultiVae, {method} / {precision}"


def rates(contender: Mapping[str, Any], clock: str = "cpu_s") -> list[float]:
    """Return samples per second of a clock in each turn."""
    return [turn["samples"] / turn[clock] for turn in contender["turns"]]


def gflop_per_s(contender: Mapping[str, Any]) -> list[float]:
    """Return operations per second of CPU in each turn [GFLOP/s]."""
    turns = contender["turns"]
    return [t["gflop_per_step"] * t["samples"] / BATCH / t["cpu_s"] for t in turns]


def _share(contenders: Contenders, name: str) -> Spread:
    turns = contenders[f"matrix product / {name.rpartition(' / ')[2]}"]["turns"]
    return ratio(gflop_per_s(contenders[name]), [turn["gflop_per_cpu_s"] for turn in turns])


def _speeds(contenders: Contenders) -> str:
    rows = []
    for name, each in contenders.items():
        if "samples" not in each["turns"][0]:
            fastest = spread([turn["gflop_per_cpu_s"] for turn in each["turns"]])
            rows.append([name, "", "", "", f"{fastest:.0f}", ""])
            continue
        rows.append(
            [
                name,
                *(f"{spread(rates(each, clock)):.0f}" for clock in CLOCKS),
                f"{each['turns'][0]['gflop_per_step'] / BATCH:.2f}",
                f"{spread(gflop_per_s(each)):.0f}",
                f"{100 * _share(contenders, name).median:.0f} %",
            ]
        )
    heading = [
        "who / precision",
        "samples per second",
        "samples per second of CPU",
        "GFLOP per sample",
        "GFLOP/s of CPU",
        "of the product's",
    ]
    return table(heading, rows)


def _objectives(contenders: Contenders) -> str:
    """Return the ratios of each default objective of ours, with what it decodes."""
    rows = []
    for objective, presets in PRESETS.items():
        passes = contenders[_ours(objective, "32")]["about"]["passes"]
        row = [objective, presets, *(f"{passes[k]:.2g}" for k in ("embedding", "decoder"))]
        for method in TARGETS:
            row.append(f"{_times(contenders, objective, method, '32', '32'):.1f}")
            row.append(f"{best(contenders, objective, method):.1f}")
        rows.append(row)
    heading = ["our objective", "of presets", "embedding passes", "decoder passes"]
    for method in TARGETS:
        heading += [f"ours / {method}, float32", f"ours / {method}, best of each"]
    return table(heading, rows)


def _times(contenders: Contenders, objective: str, method: str, mine: str, other: str) -> Spread:
    first, second = contenders[_ours(objective, mine)], contenders[_theirs(method, other)]
    return ratio(rates(first), rates(second))


def best(contenders: Contenders, objective: str, method: str) -> Spread:
    """Return ours over theirs, each in the precision that is faster for it."""

    def faster(names: Mapping[str, str]) -> str:
        return max(names, key=lambda p: spread(rates(contenders[names[p]])).median)

    precisions = ("32", "bf16")
    mine = faster({p: _ours(objective, p) for p in precisions})
    other = faster({p: _theirs(method, p) for p in precisions})
    return _times(contenders, objective, method, mine, other)


def _targets(contenders: Contenders) -> str:
    """Return how each target came out, and what the fastest product would allow."""
    rows = []
    for method, wanted in TARGETS.items():
        own = _times(contenders, OBJECTIVE, method, "bf16", "32")
        found = {
            "float32 against float32": _times(contenders, OBJECTIVE, method, "32", "32"),
            "our best against its trainer as it is, float32": own,
            "our best against its best, autocast put around it": best(
                contenders, OBJECTIVE, method
            ),
        }
        for what, times in found.items():
            precision = "32" if what.startswith("float32") else "bf16"
            limit = times.median / _share(contenders, _ours(OBJECTIVE, precision)).median
            rows.append(
                [
                    f"{wanted:g} x {method}",
                    what,
                    f"{times:.2f}",
                    verdict(times.median >= wanted),
                    f"{limit:.1f}",
                ]
            )
    heading = ["target", "compared", "ratio", "", "if all our time were the fastest product"]
    return table(heading, rows)
