"""The section of RESULTS.md on reading and simulating, from `data-speed.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.tables.markdown import table
from benchmarks.tables.section import section_of
from benchmarks.turns.machine import machine_line
from benchmarks.turns.ratios import Spread, ratio, spread, verdict

#: Ours beside what a user would pick instead: at least so many times as fast.
TIMES = 10.0
#: From a process's start to the first batch of 150 trajectories [s].
FIRST_BATCH_S = 2.0
CLOCKS = ("wall_s", "cpu_s")
#: Who the targets are measured against.
AUTHORS, OFFICIAL = "authors' way", "LeRobot, torchcodec"

Contenders = Mapping[str, Mapping[str, Any]]


def section(folder: Path) -> str:
    """Return the section; says what was not measured yet."""
    return section_of(
        "Data, beside other readers and another simulator", folder / "data-speed.json", _paragraphs
    )


def _paragraphs(found: Mapping[str, Any]) -> list[str]:
    about = (
        "`python -m benchmarks.data_speed`; a turn of each follows one of every other, each in a "
        "process of its own with one thread. Median over turns (smallest to largest). Ratios are "
        "of the same turn. CPU time counts a process and its workers; unlike wall time it stays "
        "about what it is on a busy machine."
    )
    parts = {
        "reader": _reader,
        "lerobot": _lerobot,
        "first_batch": _first_batch,
        "simulation": _simulation,
    }
    texts = [
        f"{write(found[part]['contenders'])}\n\n{machine_line(found[part]['machine'])}"
        for part, write in parts.items()
        if part in found
    ]
    return [about, *texts]


def rates(turns: list[Mapping[str, Any]], what: str, clock: str) -> list[float]:
    """Return how many of `what` a second of a clock gave in each turn."""
    return [turn[what] / turn[clock] for turn in turns]


def _speeds(contenders: Contenders, what: str, ours: Mapping[str, str]) -> str:
    """Return a table of all; `ours` names for each row the one of ours it is compared with."""
    rows = []
    for name, each in contenders.items():
        speeds = [f"{spread(rates(each['turns'], what, clock)):,.0f}" for clock in CLOCKS]
        times = ["" for _ in CLOCKS]
        if name in ours:
            of = ours[name]
            times = [f"{_times(contenders, what, clock, of, name):.1f}" for clock in CLOCKS]
        rows.append([name, *speeds, *times])
    per = f"{what} per second"
    heading = [
        "who / workers" if what == "samples" else "who",
        per,
        f"{per} of CPU",
        "ours / this, wall",
        "ours / this, CPU",
    ]
    return table(heading, rows)


def _times(contenders: Contenders, what: str, clock: str, ours: str, other: str) -> Spread:
    first, second = (rates(contenders[n]["turns"], what, clock) for n in (ours, other))
    return ratio(first, second)


def _reader(contenders: Contenders) -> str:
    ours = {
        name: f"ours, 128 x 128 / {name.rpartition(' / ')[2]}"
        for name in contenders
        if not name.startswith("ours")
    }
    best = {name: _times(contenders, "samples", "cpu_s", of, name) for name, of in ours.items()}
    published = min(r.median for name, r in best.items() if name.startswith(AUTHORS))
    return (
        "### Shuffled samples of Vision&Touch episodes\n\n"
        "30 trajectories, 7,500 steps, all in the system's memory, batches of 32 as float32. "
        "`authors' way` does with files what the published loader does, call by call. Compared "
        "with ours at 128 x 128, the size that they read; preset `demo` trains at 64 x 64.\n\n"
        f"{_speeds(contenders, 'samples', ours)}\n\n"
        f"Target, {TIMES:g} times the authors' way: {verdict(published >= TIMES)} "
        f"({published:.0f} times by CPU at least)."
    )


def _lerobot(contenders: Contenders) -> str:
    ours = {}
    for name in contenders:
        if name.startswith("LeRobot"):
            ours[name] = f"ours, frames 176 x 128 / {name.rpartition(' / ')[2]}"
    official = f"{OFFICIAL} / 0"
    cached = min(
        _times(contenders, "samples", "cpu_s", of, name).median
        for name, of in ours.items()
        if name.startswith(OFFICIAL)
    )
    video = {
        name: _times(contenders, "samples", "cpu_s", "ours, video / 0", name).median
        for name in (official, "LeRobot, pyav / 0")
    }
    decoded = video[official]
    return (
        "### Rows of a humanoid's LeRobot folder\n\n"
        "`g1` (640 x 480, AV1), written as LeRobot v3 by `--to lerobot`; the official reader takes "
        "ten episodes of it, batches of 32. `ours, video` decodes every frame once, in order, as "
        "conversion does. `ours, frames` are the converted episodes, shuffled, at a size that a "
        "model takes.\n\n"
        f"{_speeds(contenders, 'samples', ours)}\n\n"
        f"Target, cached frames, {TIMES:g} times its fastest backend: {verdict(cached >= TIMES)} "
        f"({cached:.0f} times by CPU). Decoded video against decoded video: "
        f"{verdict(decoded >= TIMES)} ({decoded:.1f} times its fastest backend by CPU, "
        f"{video['LeRobot, pyav / 0']:.1f} times pyav, which ours uses too). Why: NOTES.md."
    )


def _first_batch(contenders: Contenders) -> str:
    rows = []
    for name, each in contenders.items():
        turns = each["turns"]
        phases = [turn.get("phases_s", {}) for turn in turns]
        own = [sum(p[k] for k in ("opened", "batch")) for p in phases if p]
        rows.append(
            [
                name,
                f"{spread([t['wall_s'] for t in turns]):.2f}",
                f"{spread([t['cpu_s'] for t in turns]):.2f}",
                f"{spread(own):.2f}" if own else "",
            ]
        )
    cpu = spread([t["cpu_s"] for t in contenders["ours"]["turns"]]).median
    wall = spread([t["wall_s"] for t in contenders["ours"]["turns"]]).median
    heading = ["process", "wall [s]", "CPU [s]", "of it opening the set, and the batch, wall [s]"]
    return (
        "### First batch of 150 trajectories, cold process\n\n"
        "From the start of a new process to a shuffled batch of 32 of 37,500 steps that are "
        "prepared already; their files are dropped from the system's memory before each turn.\n\n"
        f"{table(heading, rows)}\n\n"
        f"Target, {FIRST_BATCH_S:g} s: {verdict(wall < FIRST_BATCH_S)} by wall time, "
        f"{verdict(cpu < FIRST_BATCH_S)} by CPU time."
    )


def _simulation(contenders: Contenders) -> str:
    ours = {name: "ours" for name in contenders if name != "ours"}
    return (
        "### Steps of a simulated robot\n\n"
        "Steps of 50 ms with one camera of 128 x 128, colour and depth. Ours simulates physics at "
        "1 kHz and computes optical flow besides; robosuite's tasks at 500 Hz, one Panda, default "
        "controller, random commands, its own version of MuJoCo.\n\n"
        f"{_speeds(contenders, 'steps', ours)}"
    )
