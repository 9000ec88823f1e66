"""New cells of the simulated robot as samples at a camera's rate, kept in a folder and resumed.

Physics and operator run at their 20 Hz, the cameras at `RATE_HZ`: what is not looked at is not
drawn, which makes hours cheap.

T moments of one cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.files import naming
from smvae_core.modality import Modality
from smvae_core.preprocessing import prepare
from smvae_datasets.simulation.robot import STEP_MS, SimulatedRobot

#: Samples per second of every sensor, and steps of the robot between two.
RATE_HZ = 5
STEPS = 1000 // STEP_MS // RATE_HZ
#: Length of one cell [s].
CELL_S = 40.0
TIP = "tip"
Cell = dict[str, NDArray[Any]]


def simulate_cell(
    robot: SimulatedRobot, number: int, modalities: Sequence[Modality], seconds: float = CELL_S
) -> Cell:
    """Return what the sensors of one cell saw: name -> (T, *shape), prepared, and the tip (T, 4).

    Args:
        robot: Rendering.
        number: Of the cell; with the robot's seed it fixes all.
        modalities: Of the model: rgb, depth, force, action.
        seconds: Length.
    """
    robot.reset(number)
    rows: list[dict[str, NDArray[Any]]] = []
    for step in range(round(seconds * 1000 / STEP_MS)):
        action, forces = robot.begin_step(), robot.advance(STEP_MS)
        if (step + 1) % STEPS:
            continue
        image, depth_m = robot.render()
        window = next(m.shape[1] for m in modalities if m.name == "force")
        raw: dict[str, NDArray[Any]] = {
            "rgb": image,
            "depth": depth_m,
            "force": forces[-window:].astype(np.float32),
            "action": action.astype(np.float32),
        }
        found = {m.name: prepare(m, raw[m.name]) for m in modalities}
        rows.append(found | {TIP: robot.peg_pose.astype(np.float32)})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def cells(
    folder: Path,
    numbers: Iterable[int],
    seed: int,
    modalities: Sequence[Modality],
    seconds: float = CELL_S,
) -> Iterator[Cell]:
    """Yield some cells of a seed; those that lie in the folder are not simulated again."""
    robot: SimulatedRobot | None = None
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        path = folder / f"s{seed}_{number:04d}_{seconds:g}s.npz"
        if not path.exists():
            robot = robot or SimulatedRobot(seed=seed)
            part = path.with_suffix(".part.npz")
            with naming(path):
                np.savez(part, **simulate_cell(robot, number, modalities, seconds))  # type: ignore[arg-type]
                part.replace(path)
        with np.load(path) as stored:
            yield dict(stored)
    if robot is not None:
        robot.close()
