"""Episodes for the frozen run, the same bytes wherever they are written: numpy and h5py alone.

Images are constant over 4 x 4 pixels and hold few levels, so that resizing them to side 32 rounds
nothing, on any machine. Every sensor tells where the peg is.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

TRIALS, STEPS, READINGS = 6, 50, 50
#: Levels of all values: multiples of 1/256 add up without rounding.
LEVELS = 256.0


def write_episodes(root: Path) -> Path:
    """Write six trajectories of one file of 50 steps, in the Vision&Touch layout."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(17)
    for trial in range(TRIALS):
        place = (rng.random() + np.linspace(0.0, 0.5, STEPS)) % 1.0
        with h5py.File(root / f"t{trial}_0_1000.h5", "w") as file:
            for name, values in _fields(place, rng).items():
                file.create_dataset(name, data=values, compression="gzip", compression_opts=1)
            file.attrs["hole_pose"] = [0.5, 0.5, 0.125, 0.0]
    return root


def _fields(place: NDArray[np.float64], rng: np.random.Generator) -> dict[str, NDArray]:
    """Return every field of one file; `place` (50,) in [0, 1) moves a bar and pushes the peg."""
    columns = np.arange(32) / 32
    bar = np.abs(columns[None] - place[:, None]) < 0.15
    small = np.broadcast_to(bar[:, None, :], (STEPS, 32, 32))
    noise = rng.integers(0, 8, (STEPS, 32, 32, 3))
    image = _enlarged(np.where(small[..., None], 200, 40) + noise).astype(np.uint8)
    depth = _enlarged(_level(np.where(small, 0.5, 0.875) + noise[..., 0] / LEVELS))
    vector = place[:, None] * [1.0, -0.5, 0.25, 0.125]
    axis = _level(place[:, None] + np.zeros(3))
    force = 8.0 * vector[:, None, [0, 1, 2, 3, 0, 1]] + rng.normal(0, 0.5, (STEPS, READINGS, 6))
    unit = np.tile(np.float32([1, 0, 0, 0]), (STEPS, 1))
    return {
        "image": image,
        "depth_data": depth[..., None],
        "optical_flow": np.zeros((STEPS, 128, 128, 2), np.float32),
        "ee_forces_continuous": _level(force),
        "contact": np.repeat(place[:, None] > 0.5, READINGS, axis=1).astype(np.uint8),
        "action": _level(0.0625 * vector + rng.normal(0, 0.004, (STEPS, 4))),
        "proprio": _level(np.repeat(vector, 2, axis=1)),
        "ee_pos": axis,
        "ee_ori": unit,
        "ee_vel": axis,
        "ee_vel_ori": axis,
        "ee_yaw": unit,
        "ee_yaw_delta": unit,
        "joint_pos": _level(np.repeat(place[:, None], 7, axis=1)),
        "joint_vel": _level(np.repeat(place[:, None], 7, axis=1)),
    }


def _enlarged(small: NDArray) -> NDArray:
    return small.repeat(4, axis=1).repeat(4, axis=2)


def _level(values: NDArray) -> NDArray[np.float32]:
    return (np.rint(values * LEVELS) / LEVELS).astype(np.float32)
