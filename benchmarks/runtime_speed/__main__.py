"""Measure the runtime beside torch and a fused graph: `python -m benchmarks.runtime_speed`.

    smvae train --preset demo --data EPISODES --out RUN && smvae export RUN BUNDLE
    python -m benchmarks.runtime_speed --run RUN --bundle BUNDLE --data EPISODES --work WORK

Every contender is a process with one thread. Timed is, from a prepared sample on: each embedding,
the pooling, each decoder, and the update of each subset; what a cold process needs to load a model;
and what 8 bits and half precision change on held-out records. Forms of the model go to WORK.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.command import add_result, add_turns, parser_of, status_of
from benchmarks.runtime_speed.errors import compare
from benchmarks.runtime_speed.forms import (
    write_fp16,
    write_fused,
    write_int8,
    write_int8_everywhere,
)
from benchmarks.turns.contender import Contender, Played, play
from benchmarks.turns.machine import machine
from smvae_core.bundle import Bundle
from smvae_training.run import load_run
from smvae_training.trainer import prepare_data

RESULTS = Path(__file__).parents[1] / "results" / "runtime-speed.json"
HERE = "benchmarks.runtime_speed"
#: What a cold process runs; its argument is what it loads.
LOAD_OURS = """
import time; began = time.perf_counter()
from smvae_core.runtime import Runtime
import sys, onnxruntime; imported = time.perf_counter()
Runtime(sys.argv[1]); loaded = time.perf_counter()
from benchmarks.runtime_speed.onnx_players import phases
print(phases(imported - began, loaded - imported))
"""
LOAD_TORCH = """
import time; began = time.perf_counter()
from smvae_training.run import load_run
import sys; imported = time.perf_counter()
load_run(sys.argv[1]); loaded = time.perf_counter()
from benchmarks.runtime_speed.onnx_players import phases
print(phases(imported - began, loaded - imported))
"""


def contenders(
    arguments: argparse.Namespace, fused: Path, forms: Mapping[str, Bundle]
) -> list[Contender]:
    """Return who computes."""
    run, bundle = str(arguments.run), str(arguments.bundle)
    one = {"graph": str(fused), "bundle": bundle}
    return [
        _of("ours", "onnx_players:OurRuntime", {"bundle": bundle}),
        _of("fused graph", "onnx_players:FusedGraph", one),
        _of("torch, eager", "torch_players:TorchModel", {"run": run, "compiled": False}),
        _of("torch, compiled", "torch_players:TorchModel", {"run": run, "compiled": True}),
        *(
            _of(f"ours, {name}", "onnx_players:OurRuntime", {"bundle": str(form.path)})
            for name, form in forms.items()
        ),
    ]


def loading(arguments: argparse.Namespace) -> list[Contender]:
    """Return who loads a model in a new process."""
    given = {"code": LOAD_OURS, "arguments": [str(arguments.bundle.absolute())]}
    torch = {"code": LOAD_TORCH, "arguments": [str(arguments.run.absolute())]}
    return [
        _of("ours", "onnx_players:ColdStart", given),
        _of("torch", "onnx_players:ColdStart", torch),
    ]


def _of(name: str, player: str, arguments: dict[str, Any]) -> Contender:
    return Contender(
        name=name,
        player=f"{HERE}.{player}",
        arguments=arguments,
        environment={"OMP_NUM_THREADS": "1"},
    )


def measure_all(arguments: argparse.Namespace) -> None:
    """Write the forms of the model, and measure all of it; each part is kept once it is done.

    Raises:
        SMVAEError: If the run, its bundle or its data cannot be read.
    """
    name = arguments.name or arguments.bundle.name

    def write(part: str, content: Mapping[str, Any]) -> None:
        add_result(arguments.out, (name, part), {"machine": machine(), **content})

    def played(part: str, who: list[Contender]) -> None:
        def save(found: Mapping[str, Played]) -> None:
            write(part, {"contenders": {n: each.to_json() for n, each in found.items()}})

        play(who, arguments.turns, lock=arguments.lock, after=save)

    run, bundle = load_run(arguments.run), Bundle.load(arguments.bundle)
    data, work = prepare_data(run.config, arguments.data), arguments.work / name
    work.mkdir(parents=True, exist_ok=True)
    forms = {
        "int8": write_int8(bundle, work / "int8"),
        "int8 everywhere": write_int8_everywhere(bundle, run, data, work / "int8-everywhere"),
        "fp16": write_fp16(bundle, work / "fp16"),
    }
    fused = write_fused(run.model, work / "fused.onnx")
    played("operations", contenders(arguments, fused, forms))
    played("loading", loading(arguments))
    write("errors", {name: compare(run, data, bundle, form) for name, form in forms.items()})


def main() -> int:
    """Measure and write; return the exit status."""
    parser = parser_of(HERE, __doc__)
    add = parser.add_argument
    add("--run", type=Path, required=True, help="run of smvae train")
    add("--bundle", type=Path, required=True, help="its bundle")
    add("--data", type=Path, required=True, help="the data that it was trained on")
    add("--work", type=Path, required=True, help="folder for forms of the model; made if missing")
    add("--name", default="", help="name of the model in the results (default: the bundle's)")
    add_turns(parser)
    add("--out", type=Path, default=RESULTS, help="JSON file to write")
    arguments = parser.parse_args()
    return status_of("runtime_speed", lambda: measure_all(arguments))


if __name__ == "__main__":
    sys.exit(main())
