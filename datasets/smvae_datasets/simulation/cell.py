"""One lab cell: where the hole is, which peg, what everything looks like, how the episode draws it.

Every quantity of a cell is a function of (seed, episode), never of what ran before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from smvae_datasets.simulation.errors import UnknownSetting

Variation = Literal["cell", "wide"]
PegShape = Literal["square", "triangle"]
PEG_SHAPES: tuple[PegShape, ...] = ("square", "triangle")

BOX_CENTRE_M = np.array([0.55, 0.0])
SURFACE_M = 0.06
"""Height of the box top above the table."""
HOLE_DEPTH_M = 0.04
HIDDEN_GROUP = 3
PALETTE = ("table", "wall", "arm", "joint", "gripper", "peg", "box", "hole")


@dataclass(frozen=True, kw_only=True)
class VariationRange:
    """How much differs from episode to episode."""

    hole_offset_m: float
    """The hole lies within this of its nominal place, in x and in y."""
    hole_yaw_rad: float
    """The box is turned by up to this."""
    start_distance_m: float
    """An attempt starts up to this far from above the hole."""
    start_yaw_rad: float
    """and turned by up to this against the hole."""
    palette: float
    """Relative jitter (standard deviation) of every colour; 1 draws colours at random."""
    light: float
    """Relative jitter (standard deviation) of the lamp's brightness and place."""
    force_bias_n: float
    """The force reading is off by up to this, per axis, constant over an episode: what is left
    after taring the sensor at its start."""
    torque_bias_nm: float
    """The torque reading likewise."""


VARIATIONS: dict[str, VariationRange] = {
    "cell": VariationRange(
        hole_offset_m=0.02, hole_yaw_rad=0.3, start_distance_m=0.15, start_yaw_rad=0.3,
        palette=0.02, light=0.02, force_bias_n=0.3, torque_bias_nm=0.02,
    ),
    "wide": VariationRange(
        hole_offset_m=0.05, hole_yaw_rad=0.6, start_distance_m=0.18, start_yaw_rad=0.5,
        palette=1.0, light=0.25, force_bias_n=3.0, torque_bias_nm=0.15,
    ),
}  # fmt: skip


def variation_range(name: str) -> VariationRange:
    """The ranges behind a variation's name.

    Raises:
        UnknownSetting: If there is no such variation.
    """
    if name not in VARIATIONS:
        raise UnknownSetting("variation", name, "one of " + ", ".join(map(repr, VARIATIONS)))
    return VARIATIONS[name]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One episode's cell."""

    hole_pose: NDArray[np.float64]
    """(4,) x, y, z [m] of the hole's centre in the box top, and yaw [rad], robot base frame."""
    peg_shape: PegShape
    """Cross-section of peg and hole."""
    colours: dict[str, NDArray[np.float64]]
    """Material name -> (3,) red, green, blue in 0..1."""
    light_gain: float
    """Factor on the lamp's brightness."""
    light_offset_m: NDArray[np.float64]
    """(3,) displacement of the lamp."""
    sensor_bias: NDArray[np.float64]
    """(6,) constant error of the force-torque sensor [N, N, N, N m, N m, N m]."""


def draw_cell(rng: np.random.Generator, ranges: VariationRange, nominal: dict[str, Any]) -> Cell:
    """Draw one episode's cell.

    Args:
        rng: Random numbers of this (seed, episode) alone.
        ranges: How much may vary.
        nominal: Material name -> (3,) nominal colour.
    """
    offset = rng.uniform(-ranges.hole_offset_m, ranges.hole_offset_m, 2)
    yaw = rng.uniform(-ranges.hole_yaw_rad, ranges.hole_yaw_rad)
    shape = PEG_SHAPES[int(rng.integers(len(PEG_SHAPES)))]
    colours = {}
    for name in PALETTE:
        jitter, random_colour = rng.normal(0.0, 1.0, 3), rng.uniform(0.05, 0.95, 3)
        colour = (
            random_colour if ranges.palette >= 1 else nominal[name] * (1 + ranges.palette * jitter)
        )
        colours[name] = np.clip(colour, 0.0, 1.0)
    gain = float(np.clip(1 + ranges.light * rng.normal(), 0.4, 1.6))
    light_offset = ranges.light * rng.normal(0.0, 1.0, 3)
    limit = np.repeat([ranges.force_bias_n, ranges.torque_bias_nm], 3)
    return Cell(
        hole_pose=np.array([*(BOX_CENTRE_M + offset), SURFACE_M, yaw]),
        peg_shape=shape,
        colours=colours,
        light_gain=gain,
        light_offset_m=light_offset,
        sensor_bias=rng.uniform(-limit, limit),
    )


class CellModel:
    """Puts a `Cell` into the engine's model, always starting from the values in `cell.xml`."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._rgba = np.array(model.mat_rgba)
        self._light = (np.array(model.light_diffuse), np.array(model.light_pos))
        self._contact_bits = (np.array(model.geom_contype), np.array(model.geom_conaffinity))
        self._group = np.array(model.geom_group)
        self._box = int(model.body("box").id)
        self._materials = {name: int(model.material(name).id) for name in PALETTE}
        names = [str(model.geom(index).name) for index in range(model.ngeom)]
        self._suffixed = {
            shape: np.array([name.endswith("_" + shape) for name in names]) for shape in PEG_SHAPES
        }
        self.box_geoms: NDArray[np.bool_] = np.array(model.geom_bodyid) == self._box
        """(ngeom,) True for geoms of the box: what a contact must involve to count."""

    @property
    def nominal_colours(self) -> dict[str, Any]:
        """Material name -> (3,) colour written in `cell.xml`."""
        return {name: self._rgba[index, :3] for name, index in self._materials.items()}

    def apply(self, cell: Cell) -> None:
        """Make the model this cell."""
        model = self._model
        model.body_pos[self._box] = (cell.hole_pose[0], cell.hole_pose[1], 0.0)
        half = 0.5 * cell.hole_pose[3]
        model.body_quat[self._box] = (np.cos(half), 0.0, 0.0, np.sin(half))
        for name, index in self._materials.items():
            model.mat_rgba[index, :3] = cell.colours[name]
        diffuse, position = self._light
        model.light_diffuse[:] = np.clip(diffuse * cell.light_gain, 0.0, 1.0)
        model.light_pos[:] = position + cell.light_offset_m
        absent = np.zeros(model.ngeom, dtype=bool)
        for shape, geoms in self._suffixed.items():
            if shape != cell.peg_shape:
                absent |= geoms
        model.geom_contype[:] = np.where(absent, 0, self._contact_bits[0])
        model.geom_conaffinity[:] = np.where(absent, 0, self._contact_bits[1])
        model.geom_group[:] = np.where(absent, HIDDEN_GROUP, self._group)
