"""Measure training beside MultiVae's own trainer, in turns: `python -m benchmarks.train_speed`.

    scripts/setup_peers.sh                                    # .venv-peers: MultiVae
    smvae simulate EPISODES --episodes 8 --steps 200
    .venv-peers/bin/python -m benchmarks.train_speed --episodes EPISODES

Every contender is a process that trains the same networks on the same records in batches of 32; a
turn of each, some steps in the middle of its run, follows one of every other. Between them the
machine's fastest matrix products are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.command import add_turns, parser_of, status_of
from benchmarks.train_speed.networks import OBJECTIVES
from benchmarks.turns.contender import Contender, Played, play
from benchmarks.turns.machine import machine
from smvae_core.errors import ConfigError
from smvae_core.files import write_text

RESULTS = Path(__file__).parents[1] / "results" / "train-speed.json"
HERE = "benchmarks.train_speed"
PRECISIONS = ("32", "bf16")
#: Of MultiVae; 'mvae' has its sub-sampling.
METHODS = ("mvae", "mopoe", "mvae-joint")


def contenders(folder: Path, steps: int, threads: int) -> list[Contender]:
    """Return who trains, and who multiplies."""
    given = {"folder": str(folder.absolute()), "steps": steps}
    found = []
    for precision in PRECISIONS:
        for objective in OBJECTIVES:
            mine = given | {"objective": objective, "precision": precision}
            found.append(_of(f"ours, {objective} / {precision}", "ours:OurTrainer", mine, threads))
        for method in METHODS:
            theirs = given | {"method": method, "precision": precision}
            name = f"MultiVae, {method} / {precision}"
            found.append(_of(name, "theirs:MultiVaeTrainer", theirs, threads))
        peak = {"precision": precision}
        found.append(_of(f"matrix product / {precision}", "peak:MatmulPeak", peak, threads))
    return found


def _of(name: str, player: str, arguments: Mapping[str, Any], threads: int) -> Contender:
    return Contender(
        name=name,
        player=f"{HERE}.{player}",
        arguments=arguments,
        environment={"OMP_NUM_THREADS": str(threads)},
    )


def measure(arguments: argparse.Namespace) -> None:
    """Play the turns, and write the results after each round.

    Raises:
        ConfigError: If no contender has such a name.
    """
    about = machine() | {"threads": str(arguments.threads), "cores": os.cpu_count()}
    about |= {"steps": arguments.steps}

    def write(played: Mapping[str, Played]) -> None:
        turns = {name: each.to_json() for name, each in played.items()}
        content = {"machine": about, "contenders": turns}
        write_text(arguments.out, json.dumps(content, indent=1) + "\n")

    found = contenders(arguments.episodes, arguments.steps, arguments.threads)
    if arguments.only:
        found = [c for c in found if any(text in c.name for text in arguments.only)]
    if not found:
        raise ConfigError(f"no contender is called {' or '.join(arguments.only)}")
    play(found, arguments.turns, lock=arguments.lock, after=write)


def main() -> int:
    """Measure and write; return the exit status."""
    parser = parser_of(HERE, __doc__)
    add = parser.add_argument
    add("--episodes", type=Path, required=True, help="folder of Vision&Touch episodes")
    add("--steps", type=int, default=12, help="training steps of a turn (default: 12)")
    add_turns(parser)
    add("--threads", type=int, default=1, help="of each contender (default: 1)")
    add("--only", nargs="+", metavar="TEXT", help="only contenders whose name holds one of these")
    add("--out", type=Path, default=RESULTS, help="JSON file to write")
    arguments = parser.parse_args()
    return status_of("train_speed", lambda: measure(arguments))


if __name__ == "__main__":
    sys.exit(main())
