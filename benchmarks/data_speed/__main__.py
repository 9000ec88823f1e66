"""Measure reading and simulating beside peers, in turns: `python -m benchmarks.data_speed`.

Parts, all by default; a part that is measured again replaces its own numbers in the results:

    reader       shuffled samples of Vision&Touch episodes, beside the authors' way of reading them
    lerobot      shuffled samples of a LeRobot folder, beside LeRobot's official reader
    first_batch  from a process's start to its first batch of 150 trajectories
    simulation   steps of the simulated robot, beside robosuite's tasks

What is prepared goes to WORK, and is reused; what is given is only read. A turn of each contender
follows one of every other. The official packages live in environments of their own
(`scripts/test_lerobot.sh`, `scripts/setup_door.sh`); a part without one is refused.

    smvae simulate EPISODES --episodes 150
    smvae episodes g1 --robot robot.yaml --to lerobot --out G1        (its episodes: G1.episodes)
    python -m benchmarks.data_speed --episodes EPISODES --lerobot G1 --work WORK
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.command import add_result, add_turns, parser_of, status_of
from benchmarks.data_speed import inputs
from benchmarks.turns.contender import Contender, Played, play
from benchmarks.turns.machine import machine
from smvae_core.errors import ConfigError

RESULTS = Path(__file__).parents[1] / "results" / "data-speed.json"
HERE = "benchmarks.data_speed"
BATCH = 32
#: Trajectories of `reader` and of `first_batch`, episodes of `lerobot`.
SOME, ALL, LEROBOT_EPISODES = 30, 150, 10
#: Processes beside the reading one: none, and one a core.
WORKERS = (0, 2)
BACKENDS = ("torchcodec", "pyav")
TASKS = ("Lift", "NutAssemblySquare", "Door")


def reader(arguments: argparse.Namespace) -> list[Contender]:
    """Return who reads Vision&Touch episodes."""
    some = inputs.vision_touch_links(arguments.episodes, arguments.work / "some", SOME)
    plain = inputs.without_compression(sorted(some.glob("*.h5")), arguments.work / "plain")
    ours: dict[str, Any] = {"folder": str(some), "epochs": 1, "batch": BATCH}
    theirs: dict[str, Any] = {"batch": BATCH, "batches": 2, "every_field": True}
    found = []
    for workers in WORKERS:
        for side in (64, 128):
            given = {**ours, "side": side, "workers": workers}
            found.append(_of(f"ours, {side} x {side} / {workers}", "ours:VisionTouch", given))
        for name, folder in (("", some), (", files without compression", plain)):
            given = {**theirs, "folder": str(folder), "workers": workers}
            name = f"authors' way{name} / {workers}"
            found.append(_of(name, "authors_loader:AuthorsLoader", given))
    lightest = {**theirs, "folder": str(plain), "every_field": False, "workers": 0}
    name = "one file, our fields, without compression / 0"
    return [*found, _of(name, "authors_loader:AuthorsLoader", lightest)]


def lerobot(arguments: argparse.Namespace) -> list[Contender]:
    """Return who reads a LeRobot folder, and what became of it."""
    kept = arguments.lerobot.with_name(f"{arguments.lerobot.name}.episodes")
    some = inputs.recording_links(kept, arguments.work / "lerobot", LEROBOT_EPISODES)
    python = _environment(arguments.lerobot_python, "scripts/test_lerobot.sh")
    found = [
        _of("ours, video / 0", "ours:VideoInOrder", {"folder": str(arguments.lerobot), "rows": 150})
    ]
    for workers in WORKERS:
        for height, width in ((128, 176), (64, 64)):
            given: dict[str, Any] = {"folder": str(some), "size": [height, width], "epochs": 1}
            given |= {"batch": BATCH, "workers": workers}
            found.append(
                _of(f"ours, frames {width} x {height} / {workers}", "ours:Recordings", given)
            )
        for backend in BACKENDS:
            given = {"folder": str(arguments.lerobot), "episodes": LEROBOT_EPISODES, "batches": 2}
            given |= {"batch": BATCH, "workers": workers, "backend": backend}
            found.append(
                _of(
                    f"LeRobot, {backend} / {workers}",
                    "official_lerobot:LeRobotReader",
                    given,
                    python,
                )
            )
    return found


def first_batch(arguments: argparse.Namespace) -> list[Contender]:
    """Return our process, and one that imports torch alone."""
    folder = inputs.vision_touch_links(arguments.episodes, arguments.work / "all", ALL)
    given = {"folder": str(folder), "batch": BATCH}
    return [
        _of("ours", "first_batch:FirstBatch", given),
        _of("import torch", "first_batch:FirstBatch", {**given, "code": FLOOR}),
    ]


def simulation(arguments: argparse.Namespace) -> list[Contender]:
    """Return our robot, and robosuite's tasks."""
    python = _environment(arguments.robosuite_python, "scripts/setup_door.sh")
    return [
        _of("ours", "robots:OurRobot", {"steps": 100}),
        *(
            _of(f"robosuite {task}", "robots:Robosuite", {"task": task, "steps": 5}, python)
            for task in TASKS
        ),
    ]


FLOOR = "import torch; print('{}')"
PARTS: dict[str, Callable[[argparse.Namespace], list[Contender]]] = {
    "reader": reader,
    "lerobot": lerobot,
    "first_batch": first_batch,
    "simulation": simulation,
}


def _of(name: str, player: str, arguments: dict[str, Any], python: Path | None = None) -> Contender:
    environment = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MUJOCO_GL": "egl"}
    return Contender(
        name=name,
        player=f"{HERE}.{player}",
        arguments=arguments,
        python=python or Path(sys.executable),
        environment=environment,
    )


def _environment(python: Path, script: str) -> Path:
    if not python.exists():
        raise ConfigError(f"no Python at {python}: {script} makes that environment")
    return python


def measure(part: str, contenders: list[Contender], arguments: argparse.Namespace) -> None:
    """Play the turns of a part, and write the results after each round."""
    about = machine()

    def write(played: Mapping[str, Played]) -> None:
        turns = {name: each.to_json() for name, each in played.items()}
        add_result(arguments.out, (part,), {"machine": about, "contenders": turns})

    play(contenders, arguments.turns, lock=arguments.lock, after=write)


def measure_all(arguments: argparse.Namespace) -> None:
    """Measure the parts that were asked for.

    Raises:
        ConfigError: If there is no such part, or what it needs is not given.
    """
    for part in arguments.parts or PARTS:
        if part not in PARTS:
            raise ConfigError(f"no part '{part}': have {', '.join(PARTS)}")
        if part == "lerobot" and arguments.lerobot is None:
            raise ConfigError("part 'lerobot' needs --lerobot FOLDER")
        measure(part, PARTS[part](arguments), arguments)


def main() -> int:
    """Measure the parts and write them; return the exit status."""
    parser = parser_of(HERE, __doc__)
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all by default")
    add("--episodes", type=Path, required=True, help="150 trajectories of smvae simulate")
    add("--lerobot", type=Path, help="LeRobot v3 folder written by `smvae episodes --to lerobot`")
    add("--work", type=Path, required=True, help="folder for what is prepared; made if missing")
    add_turns(parser)
    add("--lerobot-python", type=Path, default=Path(".venv-lerobot/bin/python"))
    add("--robosuite-python", type=Path, default=Path(".venv-door/bin/python"))
    add("--out", type=Path, default=RESULTS, help="JSON file to write")
    arguments = parser.parse_args()
    return status_of("data_speed", lambda: measure_all(arguments))


if __name__ == "__main__":
    sys.exit(main())
