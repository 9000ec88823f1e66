"""`smvae episodes`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from smvae_core.bag_types import DEFAULT_TYPESTORE
from smvae_training.commands.arguments import parse

HELP = """Convert recordings of a robot to episodes that `smvae train` reads.

Each recording goes through the engine of the live node, with receive times for a clock: a step
holds what the node would have fused at that moment. Every sample that was accepted is kept at its
own rate, images as recorded after `crop`; sizes, windows and rate_hz can be changed in the
declaration afterwards: give the same command again, nothing is converted twice.

Every message is counted: used, in no step, late, duplicate, refused and why, too short an episode.
The counts go to OUT/summary.json. Exit status 1 when a recording failed, or no episode came of it.

examples:
  smvae episodes bags/* --robot robot.yaml --out episodes
  smvae episodes run1 run2.mcap --robot robot.yaml --out episodes --jobs 2
  smvae episodes bag --robot robot.yaml --out episodes --dry-run     (what would be read)
  smvae train --preset robot --data episodes --out run"""


@dataclass(frozen=True, kw_only=True)
class EpisodesArguments:
    """What `smvae episodes` takes; the description shown is HELP."""

    recordings: tyro.conf.Positional[tuple[Path, ...]]
    """Bags: folders of rosbag2, or .mcap and .db3 files."""
    robot: Path
    """The robot's declaration, robot.yaml."""
    out: Path
    """Folder for the episodes; made if missing. What is finished in it is kept."""
    jobs: int = 0
    """Recordings that are converted at once; 0 = one per core."""
    typestore: str = DEFAULT_TYPESTORE
    """Distribution whose message definitions are used where a bag holds none."""
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
    from smvae_datasets.recordings.report import foreseen_lines, summary_lines

    if not given.recordings:
        raise ConfigError("expected at least one recording")
    if given.jobs < 0:
        raise ConfigError(f"--jobs must not be negative, got {given.jobs}")
    robot = read_robot(given.robot)
    found: dict[str, Any]
    if given.dry_run:
        found = foresee(given.recordings, robot, given.out, typestore=given.typestore)
        lines = foreseen_lines(found)
    else:
        found = build_episodes(
            given.recordings, robot, given.out, jobs=given.jobs, typestore=given.typestore
        )
        lines = [*summary_lines(found), str(given.out)]
    print(json.dumps(found, indent=1) if given.json else "\n".join(lines))
    failed = any("failed" in r for r in found["recordings"].values())
    return int(failed or not found["episodes"])
