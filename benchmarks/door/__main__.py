"""Another simulator than our own: robosuite's Door, from recordings to a closed loop.

    scripts/setup_door.sh                                       # robosuite, in .venv-door
    . .venv-door/bin/activate
    python -m benchmarks.door record bags --episodes 60
    python -m benchmarks.door play alone ceiling --attempts 100
    python -m benchmarks.door play ours --bundle BUNDLE --attempts 100
    python -m benchmarks.door report

Between them `smvae episodes`, `smvae train` and `smvae export` make the bundle, in the package's
own environment (docs/shared_autonomy.md). Methods: `alone`, the operator's command within the
limits; `ceiling`, the same operator helped by the truth; any other name, by the latents of
--bundle. Attempts with one number have the same door, start, aim and tremor for every method and
failure. What is there is not made again. Writes benchmarks/results/closed-loop-door-METHOD.json.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from benchmarks.closed_loop.store import identity_of_bundle
from benchmarks.command import parser_of
from benchmarks.door.assistance import BLENDING, LIMITS
from benchmarks.door.failures import ALIVE, FAILURES
from benchmarks.door.operator import OperatorKind
from benchmarks.door.report import OPERATOR, WITHOUT_SENSORS, DoorStore, path_of, section
from smvae_core.assistance.belief import Fusion
from smvae_core.bundle import Bundle
from smvae_core.errors import SMVAEError
from smvae_datasets.simulation.closed_loop.methods import Method, Nobody, Truth

RESULTS = Path(__file__).parents[1] / "results"
#: Seeds of the doors of episodes, and of attempts.
RECORD_SEED, SEED = 1, 500
#: What results depend on besides our own code.
PACKAGES = ("robosuite", "mujoco", "numpy", "onnxruntime")


def record_all(folder: Path, first: int, count: int) -> None:
    """Write the episodes that are missing; one that was interrupted begins again."""
    from benchmarks.door.record import record
    from benchmarks.door.simulator import DoorRobot

    folder.mkdir(parents=True, exist_ok=True)
    paths = {number: folder / f"{number:03d}" for number in range(first, first + count)}
    missing = {n: path for n, path in paths.items() if not (path / "metadata.yaml").is_file()}
    print(f"{len(missing)} of {count} episodes to record", flush=True)
    if not missing:
        return
    robot = DoorRobot(RECORD_SEED, render=True)
    for number, path in missing.items():
        if path.is_dir():
            shutil.rmtree(path)
        opened = record(robot, number, path)
        print(f"episode {number}: {'opened' if opened else 'not opened'}", flush=True)


def play(method: str, given: argparse.Namespace) -> None:
    """Make the attempts of one method that are missing, and write each."""
    from benchmarks.door.attempt import TRUTH_STD, DoorLatents, attempt
    from benchmarks.door.simulator import DoorRobot

    perceives = method not in WITHOUT_SENSORS
    bundle = Bundle.load(given.bundle) if perceives else None
    store = DoorStore(path_of(given.out, method), about_of(method, given.seed, bundle))
    store.note({"versions": {package: version(package) for package in PACKAGES}})
    failures = given.failures if perceives else [ALIVE]
    tasks = [
        (number, failure)
        for number in range(given.attempts)
        for failure in failures
        if number not in store.cells.get((failure, OPERATOR), {})
    ]
    print(f"{method}: {len(tasks)} attempts to make", flush=True)
    if not tasks:
        return
    robot = DoorRobot(given.seed, render=perceives)
    helped: Method = Truth(TRUTH_STD) if method == "ceiling" else Nobody(assisted=False)
    teller = DoorLatents(bundle) if bundle else helped
    begin = time.monotonic()
    for done, (number, failure) in enumerate(tasks, 1):
        outcome = attempt(robot, teller, OperatorKind(), FAILURES[failure], number, given.seed)
        store.add((failure, OPERATOR), number, outcome)
        store.write()
        hours = (time.monotonic() - begin) / done * (len(tasks) - done) / 3600.0
        print(f"{method}: {done} of {len(tasks)} attempts, {hours:.2f} h left", flush=True)


def about_of(method: str, seed: int, bundle: Bundle | None) -> dict[str, object]:
    """Return what makes the attempts of a method, which perceives by a bundle or not at all."""
    about: dict[str, object] = {"method": method, "seed": seed}
    about["limits"] = _listed(asdict(LIMITS))
    about["fusion"], about["blending"] = asdict(Fusion()), asdict(BLENDING)
    about["operator"] = _listed(asdict(OperatorKind()))
    if bundle is not None:
        about["bundle"] = identity_of_bundle(bundle)
    return about


def _listed(values: dict[str, object]) -> dict[str, object]:
    """Return settings as JSON gives them back."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def main() -> int:
    """Do what is asked for."""
    parser = parser_of("benchmarks.door", __doc__)
    jobs = parser.add_subparsers(dest="job", required=True)
    of = jobs.add_parser("record", help="write episodes of a scripted operator as bags")
    of.add_argument("folder", type=Path, help="of the bags, one a folder")
    of.add_argument("--episodes", type=int, default=60)
    of.add_argument("--first", type=int, default=0, help="number of the first: several at once")
    of = jobs.add_parser("play", help="make attempts")
    of.add_argument("methods", nargs="+", help="alone, ceiling, or a name for --bundle")
    of.add_argument("--bundle", type=Path, help="of a method that perceives")
    of.add_argument("--attempts", type=int, default=100, help="of each failure")
    of.add_argument("--failures", nargs="*", choices=[*FAILURES], default=[*FAILURES])
    of.add_argument("--seed", type=int, default=SEED, help="of doors, starts and operators")
    of.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    of = jobs.add_parser("report", help="print the tables")
    of.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    given = parser.parse_args()
    try:
        if given.job == "record":
            record_all(given.folder, given.first, given.episodes)
        elif given.job == "report":
            print(section(given.out))
        else:
            for method in given.methods:
                if method not in WITHOUT_SENSORS and given.bundle is None:
                    parser.error(f"method '{method}' perceives by a bundle: give --bundle")
                play(method, given)
    except SMVAEError as err:
        print(f"door: {err}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as err:
        if err.name != "robosuite":
            raise
        hint = "scripts/setup_door.sh makes an environment with it: .venv-door/bin/python"
        print(f"door: robosuite is not installed here; {hint}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
