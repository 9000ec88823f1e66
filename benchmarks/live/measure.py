"""Measure the node beside an echo: `python -m benchmarks.live [CASE...]`, in the ROS environment.

Per case the sensors stream without a break, and an rclpy node that answers with a filled message
(the echo) and the perception node take turns. The time from stamp to receipt in a third process is
told as the ratio of node to echo, per turn, and the median over turns. In case `all` one fused
graph of all modalities, run per message, takes turns too: CPU time per latent beside the node's.
Case `all-vision-touch` is the same with the networks of preset `vision_touch`, whatever bundle is
given: what the graph costs grows with its networks, what DDS and Python cost does not.
With novelty, ages and diagnostics on, as they are by default. Raw samples go to
`benchmarks/results/live-CASE.csv.gz`, figures to `live-CASE.json`. The exit status is 1 if a limit
is exceeded.

`--soak SECONDS` runs one case for so long instead, see `soak`.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import math
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from lifecycle_msgs.msg import Transition

from benchmarks.live.bundle import calibrated
from benchmarks.live.cases import CASES, ROBOTS, Case
from benchmarks.live.echo import HEARD
from benchmarks.live.report import soak_line
from benchmarks.live.robots import robot
from benchmarks.live.robots import spelled as robots_row
from benchmarks.live.soak import soak
from benchmarks.live.turn import Answers, Contender, Turn, bare_ms, of_contender, of_node
from benchmarks.reliability import conditions
from benchmarks.reliability.node import NodeProcess, random_domain
from benchmarks.reliability.observer import Observer
from benchmarks.reliability.record import RESULTS, for_json
from benchmarks.reliability.sensors import Sensors
from benchmarks.runtime_speed.forms import write_fused
from benchmarks.tables.markdown import table
from smvae_core.files import write_text
from smvae_core.runtime import Runtime

SIZE = (640, 480)
#: Who takes turns, the second where a graph is given.
WHO = ("echo", "fused", "node")


def measure(
    case: Case, bundle: Path, fused: Path | None, log: Path, turns: int, seconds: float
) -> dict[str, Any]:
    """Return the turns of the echo, of a fused graph and of the node, and bare runs [ms]."""
    # what streams is no scene that a trained model knows, and no sensor may be left out for it
    parameters = {"bundle": bundle, "leave_out_suspects": False, **case.parameters}
    domain, runtime = random_domain(), Runtime(bundle)
    runtime.warm_up()
    found: dict[str, list[Any]] = {"echo": [], "node": [], "bare_ms": []}
    with (
        ExitStack() as stack,
        NodeProcess(domain, log, parameters) as node,
        Contender(domain, "echo") as echo,
        Observer(domain, keep=10**6) as observer,
        Sensors(domain, size=SIZE, multiple=case.multiple) as sensors,
    ):
        answers = Answers(observer, "echo", HEARD)
        if fused is not None:
            graph = stack.enter_context(Contender(domain, "fused", fused, bundle))
            its_answers = Answers(observer, "fused", runtime.manifest.names)
            found["fused"] = []
        observer.change(Transition.TRANSITION_CONFIGURE)
        sensors.only(case.sensors)
        for _ in range(turns):
            found["echo"].append(of_contender(echo, answers, observer, seconds))
            if fused is not None:
                found["fused"].append(of_contender(graph, its_answers, observer, seconds))
            found["bare_ms"].append(bare_ms(runtime))
            found["node"].append(of_node(node, observer, case.sensors, seconds))
    return found


def ratios(
    echo: Turn, node: Turn, bare: float, sensors: tuple[str, ...], fused: Turn | None = None
) -> dict[str, float]:
    """Return what one turn of the node took, in those of the echo and the graph just before."""
    mine, its = node.figures(), echo.figures()
    found = {}
    if "force" in sensors:
        for q in (50, 99):
            found[f"p{q}_ratio"] = mine[f"force_p{q}_ms"] / its.get(f"force_p{q}_ms", math.nan)
    if "rgb" in sensors:
        found["rgb_ratio"] = mine["rgb_p50_ms"] / (its.get("rgb_p50_ms", math.nan) + bare)
    if fused is not None:
        its_cpu_ms = fused.figures()["cpu_per_latent_ms"]
        found["cpu_of_fused_ratio"] = mine["cpu_per_latent_ms"] / its_cpu_ms
    return found


def summary(case: Case, found: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Return medians over turns of what each did, and of the ratios, with their extremes."""
    graphs = found.get("fused", [None] * len(found["node"]))
    pairs = zip(found["echo"], found["node"], found["bare_ms"], graphs, strict=True)
    per_turn = [ratios(echo, node, bare, case.sensors, graph) for echo, node, bare, graph in pairs]
    told = {who: _medians([t.figures() for t in found[who]]) for who in WHO if who in found}
    extremes = {
        k: [min(each[k] for each in per_turn), max(each[k] for each in per_turn)]
        for k in per_turn[0]
    }
    middle = _medians(per_turn)
    return {
        "ratios": middle,
        "ratios_least_most": extremes,
        **told,
        "bare_ms": float(np.median(found["bare_ms"])),
        "limits": {
            x.figure: {"most": x.most, "kept": middle[x.figure] <= x.most}
            for x in case.limits
            if x.figure in middle
        },
    }


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    keys = {key for row in rows for key in row}
    return {k: float(np.nanmedian([row.get(k, math.nan) for row in rows])) for k in sorted(keys)}


def spelled(name: str, told: Mapping[str, Any]) -> list[str]:
    """Return the row of a case in the table that is printed."""
    echo, node = told["echo"], told["node"]

    def both(figures: Mapping[str, float], sensor: str) -> str:
        found = [figures.get(f"{sensor}_p{q}_ms", math.nan) for q in (50, 99)]
        return " / ".join(f"{v:.2f}" for v in found)

    ratios = ", ".join(
        f"{k.removesuffix('_ratio')} {v:.2f}"
        + (
            f" (at most {limit['most']:g}: {'kept' if limit['kept'] else 'MISSED'})"
            if limit
            else ""
        )
        for k, v in told["ratios"].items()
        for limit in [told["limits"].get(k)]
    )
    return [
        name,
        both(echo, "force"),
        both(node, "force"),
        both(echo, "rgb"),
        both(node, "rgb"),
        f"{node['latents_per_s']:.0f}",
        f"{node['cpu_per_latent_ms']:.2f}",
        f"{told['fused']['cpu_per_latent_ms']:.2f}" if "fused" in told else "",
        ratios,
    ]


def write(name: str, record: Mapping[str, Any], found: Mapping[str, list[Any]], out: Path) -> Path:
    """Write the figures, and beside them every latency; return the first file."""
    out.mkdir(parents=True, exist_ok=True)
    rows = ["who,turn,sensor,latency_ms"]
    for who in WHO:
        for number, turn in enumerate(found.get(who, ())):
            for sensor, values in turn.latencies_ms.items():
                rows += [f"{who},{number},{sensor},{value:.3f}" for value in values]
    file = out / f"live-{name}.json"
    write_text(file, json.dumps(for_json(record, digits=4), indent=1) + "\n")
    if len(rows) == 1:
        return file
    raw = gzip.compress("\n".join(rows).encode("ascii"), mtime=0)
    (out / f"live-{name}.csv.gz").write_bytes(raw)
    return file


def main() -> int:
    """Run the named cases one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    known = [*CASES, *ROBOTS]
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(known)}")
    parser.add_argument(
        "--bundle", type=Path, help="default: hardly trained, calibrated, made here"
    )
    parser.add_argument(
        "--run", type=Path, help="its run: one graph of its model takes turns too, run per message"
    )
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one turn")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="run one case for so long")
    parser.add_argument(
        "--multiple", type=float, default=1.0, help="of the case's rates, with --soak"
    )
    options = parser.parse_args()
    if unknown := [name for name in options.cases if name not in known]:
        parser.error(f"unknown case '{unknown[0]}', there are {', '.join(known)}")
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if options.soak:
        return _soak(options)
    gc.disable()  # it keeps every latent of a turn: a collection would delay those that come then
    rows, kept = [], True
    with tempfile.TemporaryDirectory() as folder:
        names = options.cases or known
        full = None
        if not options.bundle or any(n in CASES and CASES[n].full for n in names):
            full = _model(*calibrated(Path(folder)), Path(folder) / "full.onnx")
        given = full
        if options.bundle:
            given = _model(options.bundle, options.run, Path(folder) / "fused.onnx")
        for name in names:
            print(f"{name} ...", flush=True)
            if name in ROBOTS:
                rows.append(robots_row(name, _robot(name, Path(folder), options)))
                continue
            model = full if CASES[name].full else given
            assert model is not None
            told = _case(name, *model, Path(folder), options)
            rows.append(spelled(name, told))
            kept &= all(limit["kept"] for limit in told["limits"].values())
    header = ("case", "echo force p50 / p99 [ms]", "node", "echo RGB", "node", "latents/s")
    print(table((*header, "CPU per latent [ms]", "of one graph", "node / echo"), rows))
    return 0 if kept else 1


def _robot(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Measure a robot of many sensors, and write what was found."""
    before = conditions.before()
    told = robot(ROBOTS[name], folder / name, options.turns * options.seconds)
    record = {**told, **before, **conditions.after()}
    print(f"written to {write(name, record, {}, options.out)}", flush=True)
    return told


def _case(
    name: str, bundle: Path, fused: Path | None, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Measure one case, and write what was found; return its summary."""
    case, before = CASES[name], conditions.before()
    log = folder / f"{name}.log"
    found = measure(
        case, bundle, fused if case.fused else None, log, options.turns, options.seconds
    )
    told = summary(case, found)
    record = {
        "case": asdict(case),
        "turns": options.turns,
        "seconds": options.seconds,
        "image_size": SIZE,
        **told,
        **before,
        **conditions.after(),
        "per_turn": {who: [t.figures() for t in found[who]] for who in WHO if who in found},
    }
    print(f"written to {write(name, record, found, options.out)}", flush=True)
    return told


def _model(bundle: Path, run: Path | None, graph: Path) -> tuple[Path, Path | None]:
    """Return a bundle, and the one graph of its run's model where there is a run."""
    from smvae_training.run import load_run

    return bundle.resolve(), None if run is None else write_fused(load_run(run).model, graph)


def _soak(options: argparse.Namespace) -> int:
    case = CASES[options.cases[0] if options.cases else "all"]
    case = replace(case, multiple=case.multiple * options.multiple)
    with tempfile.TemporaryDirectory() as folder:
        bundle = (options.bundle or calibrated(Path(folder))[0]).resolve()
        told = soak(case, bundle, Path(folder) / "soak.log", options.soak, options.out)
    print(soak_line(told))
    return int(told["grows"] is not False)
