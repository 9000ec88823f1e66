"""One simulated episode as Vision&Touch files, and what its files say about it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from smvae_datasets.simulation.options import GENERATOR_VERSION, STEP_S, SimulateOptions
from smvae_datasets.simulation.robot import CONDITIONS, SimulatedRobot, Step
from smvae_datasets.vision_touch.files import STEPS_PER_FILE, file_path, read_attributes, write_file


@dataclass(frozen=True, kw_only=True)
class EpisodeCounts:
    """What happened in one episode."""

    conditions: tuple[int, ...]
    """Steps in each of `CONDITIONS`."""
    attempts: int
    """Attempts begun."""
    successes: int
    """Attempts that seated the peg."""


def episode_name(seed: int, episode: int) -> str:
    """The trajectory's name in its files' names."""
    return f"sim_s{seed}_e{episode:04d}"


def episode_files(options: SimulateOptions, episode: int) -> list[Path]:
    """The files that episode number `episode` consists of, in order."""
    name = episode_name(options.seed, episode)
    return [file_path(options.out, name, k) for k in range(options.num_steps // STEPS_PER_FILE)]


def is_finished(options: SimulateOptions, episode: int) -> bool:
    """Whether every file of the episode is there; files appear whole or not at all."""
    return all(path.exists() for path in episode_files(options, episode))


def write_episode(
    robot: SimulatedRobot, options: SimulateOptions, episode: int, stopped: Callable[[], bool]
) -> bool:
    """Simulate one episode from its start and write its files.

    Args:
        robot: Made with the same seed and variation as `options`.
        options: Where to write, how many steps.
        episode: Number of the episode.
        stopped: Asked before each file; True ends the episode there.

    Returns:
        Whether the episode was finished.
    """
    robot.reset(episode)
    for path in episode_files(options, episode):
        if stopped():
            return False
        steps: list[Step] = []
        conditions: list[int] = []
        for _ in range(STEPS_PER_FILE):
            steps.append(robot.step())
            conditions.append(CONDITIONS.index(robot.condition))
        arrays = {
            field.name: np.stack([getattr(step, field.name) for step in steps])
            for field in fields(Step)
        }
        arrays["contact"] = arrays["contact"].astype(np.uint8)
        attempts, successes = robot.attempts
        write_file(
            path,
            arrays,
            {
                "hole_pose": robot.hole_pose,
                "peg_shape": robot.cell.peg_shape,
                "seed": options.seed,
                "episode": episode,
                "variation": options.variation,
                "step_s": STEP_S,
                "quaternion_order": "w x y z",
                "camera_matrix": robot.camera_intrinsics,
                "condition": np.array(conditions, np.uint8),
                "condition_names": " ".join(CONDITIONS),
                "attempts_so_far": attempts,
                "successes_so_far": successes,
                "generator": f"smvae simulated robot {GENERATOR_VERSION}",
            },
        )
    return True


def read_counts(options: SimulateOptions, episode: int) -> EpisodeCounts:
    """What a finished episode's files say happened in it.

    Raises:
        EpisodeError: If a file cannot be read.
    """
    attributes = [read_attributes(path) for path in episode_files(options, episode)]
    conditions = np.concatenate([np.asarray(a["condition"]) for a in attributes])
    return EpisodeCounts(
        conditions=tuple(int(n) for n in np.bincount(conditions, minlength=len(CONDITIONS))),
        attempts=int(attributes[-1]["attempts_so_far"]),
        successes=int(attributes[-1]["successes_so_far"]),
    )
