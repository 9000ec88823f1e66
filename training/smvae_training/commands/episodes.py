"""`smvae episodes`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from smvae_core.bag_formats.types import DEFAULT_TYPESTORE
from smvae_training.commands.arguments import parse

HELP = """Convert recordings of a robot to episodes that `smvae train` reads.

Each recording goes through the engine of the live node; its receive times are the clock, or its
/clock where stamps are of that. A step holds what the node would have fused at that moment.
Every accepted sample is kept at its own rate. Images are kept as recorded, after `crop`. So sizes,
windows and rate_hz of robot.yaml can be changed afterwards: give the same command again, and
nothing is converted twice.

Every message is counted as used, in no step, late, duplicate, refused (with the reason), or in too
short an episode. OUT/summary.json has the counts. The exit status is 1 when a recording failed,
when no episode came of all, or when a sensor that is not `optional` is in no episode.

--to lerobot writes a LeRobot v3 folder, from recordings or from a folder of episodes. It has a row
per step. What a step lacks is NaN or black, and the column `present` says so. The episodes of
recordings stay in OUT.episodes.

examples:
  smvae episodes bags/* --robot robot.yaml --out episodes
  smvae episodes run1 run2.mcap --robot robot.yaml --out episodes --jobs 2
  smvae episodes bags/* --robot robot.yaml --out episodes --ray auto (docs/many_machines.md)
  smvae episodes bag --robot robot.yaml --out episodes --dry-run     (what would be read)
  smvae episodes my_lerobot --robot robot.yaml --out episodes        (LeRobot v2.1 or v3)
  smvae episodes episodes --to lerobot --out my_lerobot --task "insert the peg"
  smvae train --preset robot --data episodes --out run"""


@dataclass(frozen=True, kw_only=True)
class EpisodesArguments:
    """What `smvae episodes` takes; the description shown is HELP."""

    recordings: tyro.conf.Positional[tuple[Path, ...]]
    """Bags (folders of rosbag2, .mcap, .db3 and ROS 1's .bag files) and LeRobot folders."""
    robot: Path | None = None
    """The robot's declaration, robot.yaml; not needed of a folder of episodes."""
    out: Path
    """Folder for the episodes; made if missing. What is finished in it is kept.
    Of LeRobot: a folder that is not there yet."""
    jobs: int = 0
    """Recordings that are converted at once; 0 = one per core."""
    ray: str = ""
    """Convert on a Ray cluster, which sees the same folders: its address, 'auto' for the one of
    this machine, 'local' to start one here. Every core of it then takes a recording."""
    typestore: str = DEFAULT_TYPESTORE
    """Distribution whose message definitions are used where a bag holds none."""
    to: Literal["episodes", "lerobot"] = "episodes"
    """What is written: episodes that `smvae train` reads, or a LeRobot v3 folder."""
    task: str = ""
    """LeRobot only: what the robot does, in words; '' = its name."""
    action: str = ""
    """LeRobot only: sensor that becomes its 'action'; '' = the one of that name, if any."""
    dry_run: bool = False
    """Say what would be read of each recording, and write nothing."""
    json: bool = False
    """Print the summary as JSON."""


def episodes(arguments: list[str], prog: str) -> int:
    """Run `smvae episodes`."""
    given = parse(EpisodesArguments, arguments, prog, description=HELP)
    from smvae_core.errors import ConfigError
    from smvae_core.robot import read_robot
    from smvae_datasets.recordings.build import build_episodes, foresee
    from smvae_datasets.recordings.folder import holds_episodes
    from smvae_datasets.recordings.report import foreseen_lines, missing_line, summary_lines

    if not given.recordings:
        raise ConfigError("expected at least one recording")
    if given.jobs < 0:
        raise ConfigError(f"--jobs must not be negative, got {given.jobs}")
    first = given.recordings[0]
    is_folder = len(given.recordings) == 1 and holds_episodes(first)
    if given.to == "lerobot" and is_folder:
        return _write_lerobot(given, first)
    if is_folder:
        raise ConfigError(f"{first} holds episodes already; --to lerobot writes them as LeRobot")
    if given.robot is None:
        raise ConfigError("--robot must be given; `smvae robot scaffold` writes a first one")
    robot = read_robot(given.robot)
    out = given.out if given.to == "episodes" else given.out.with_name(f"{given.out.name}.episodes")
    found: dict[str, Any]
    if given.dry_run:
        found = foresee(given.recordings, robot, out, typestore=given.typestore)
        lines = foreseen_lines(found)
    else:
        found = build_episodes(
            given.recordings,
            robot,
            out,
            jobs=given.jobs,
            typestore=given.typestore,
            ray=given.ray,
        )
        lines = [*summary_lines(found), str(out)]
    failed = any("failed" in r for r in found["recordings"].values())
    status = int(failed or not found["episodes"] or bool(found["missing"]))
    if given.to == "lerobot" and not given.dry_run and found["episodes"]:
        print("\n".join(lines), file=sys.stderr)
        status = max(status, _write_lerobot(given, out))
    else:
        print(json.dumps(found, indent=1) if given.json else "\n".join(lines))
    if missing := missing_line(found["missing"]):
        print(missing, file=sys.stderr)
    return status


def _write_lerobot(given: EpisodesArguments, root: Path) -> int:
    """Write a folder of episodes as LeRobot, or say what would be written."""
    from rich.console import Console
    from rich.progress import Progress

    from smvae_datasets.lerobot.export import foresee_lerobot, write_lerobot

    if given.dry_run:
        found = foresee_lerobot(root, given.out, action=given.action)
    else:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("writing rows", total=None)
            found = write_lerobot(
                root,
                given.out,
                task=given.task,
                action=given.action,
                advance=lambda done, total: bar.update(task, advance=done, total=total),
            )
    if given.json:
        print(json.dumps(found, indent=1))
        return 0
    for name, (dtype, *shape) in found["features"].items():
        print(f"  {name}: {dtype} {' x '.join(map(str, shape))}")
    empty = f", {found['empty_rows']} of them empty" if found["empty_rows"] else ""
    print(f"{found['episodes']} episodes, {found['rows']} rows at {found['fps']:g} Hz{empty}")
    print(f"{given.out}{' would be written' if given.dry_run else ''}")
    return 0
