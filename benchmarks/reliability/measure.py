"""Run measurements: `python -m benchmarks.reliability NAME...`; needs `. scripts/ros_env.sh`.

Names: malformed, soak, overload, respawn, dropout. Each prints its promises and writes
`benchmarks/results/reliability-NAME.json`. The exit status is 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.reliability import conditions
from benchmarks.reliability.bundle import untrained
from benchmarks.reliability.measured import dropout, malformed, overload, respawn, soak
from benchmarks.reliability.record import RESULTS, Result, short_table, write


def main() -> int:
    """Run the named measurements one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--bundle", type=Path, help="exported model; default: untrained, made here")
    parser.add_argument("--minutes", type=float, default=10.0, help="of soak")
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload")
    parser.add_argument("--messages", type=int, default=5000, help="damaged ones, of malformed")
    parser.add_argument("--repetitions", type=int, default=10, help="of respawn and dropout")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    measurements: dict[str, Callable[[Path, Path], Result]] = {
        "malformed": partial(malformed.measure, damaged=options.messages),
        "soak": partial(soak.measure, minutes=options.minutes),
        "overload": partial(overload.measure, seconds=options.seconds),
        "respawn": partial(respawn.measure, repetitions=options.repetitions),
        "dropout": partial(dropout.measure, repetitions=options.repetitions),
    }
    for name in options.names:
        if name not in measurements:
            parser.error(f"unknown measurement '{name}', there are {', '.join(measurements)}")
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    kept = True
    with tempfile.TemporaryDirectory() as folder:
        bundle, said = options.bundle, "given by --bundle"
        if bundle is None:
            bundle = untrained(Path(folder) / "untrained")
            said = "the paper's robot model, untrained (seed 0), made for the measurement"
        for name in options.names:
            print(f"{name} ...", flush=True)
            record = conditions.before() | {"bundle": said}
            result = measurements[name](bundle.resolve(), Path(folder))
            file = write(name, result, record | conditions.after(), options.out)
            print(f"{short_table(result)}\n\n{result.done}\nwritten to {file}\n", flush=True)
            kept &= all(p.kept for p in result.promises)
    return 0 if kept else 1
