"""Helping an operator to a door's handle, whose place is estimated.

Belief, blending and limits are those of `smvae_core.assistance`, in the approach frame: across the
approach, motions are blended with the way to the believed handle by who knows better; on towards
the door, closing, turning and pulling are the operator's. Whatever is done, the limits hold.
"""

from __future__ import annotations

import numpy as np

from smvae_core.assistance.belief import Fusion, HoleBelief
from smvae_core.assistance.blending import Blending, blend, weights
from smvae_core.assistance.limits import Limits, limited
from smvae_core.assistance.pose import Motion, Pose
from smvae_core.assistance.sighting import Sighting

#: Rows: axes of the approach frame in the base frame. Its z points from the door to the gripper, so
#: x and y are across the approach: along the door, and down. The fourth is the turn about z.
APPROACH = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float64)
#: Which axis of the base frame each of its first three is along.
AXES = (0, 2, 1)

#: An aim off by 3 to 7 cm has this deviation along each axis.
BLENDING = Blending(operator_m=0.036, near_m=0.08, far_m=0.16, free_speed=0.12)
#: Stiffness as measured at the start: the environment's gains times the arm's apparent mass. The
#: work area in the approach frame.
LIMITS = Limits(
    max_speed=0.15,
    max_turn=1.5,
    max_force_n=35.0,
    max_torque_nm=6.0,
    stiffness_n_per_m=2300.0,
    stiffness_nm_per_rad=30.0,
    area_low_m=(0.2, -0.5, -0.45),
    area_high_m=(0.75, 0.1, 0.2),
)


class DoorAssistance:
    """Turns an operator's motion into the one to command: theirs, where nothing is seen."""

    def __init__(self) -> None:
        """Begin with no idea of the handle."""
        self.belief = HoleBelief(Fusion())
        self._weight = 0.0
        self._last: Motion = np.zeros(4)

    def see(self, seen: Sighting, elapsed_s: float) -> None:
        """Take in where the handle is said to be, so long after the time before."""
        self.belief.add(seen, elapsed_s)

    def step(
        self, operator: Motion, tip: Pose, lead: Pose, elapsed_s: float, *, holds: bool
    ) -> Motion:
        """Return the motion (4,) to command now.

        Args:
            operator: What the operator commands (4,).
            tip: Where the gripper is (4,).
            lead: Setpoint minus tip (4,).
            elapsed_s: Since the last step.
            holds: Whether the gripper closes: the rest is the operator's.
        """
        rise = BLENDING.weight_rise_per_s * elapsed_s
        wanted = 0.0 if holds else weights(self.belief, tip, BLENDING)[0]
        self._weight = min(wanted, self._weight + rise)
        motion = operator
        if self._weight > 0.0:
            motion = blend(operator, self.belief, tip, (self._weight, 0.0), BLENDING)
        self._last = limited(motion, self._last, tip, lead, elapsed_s, LIMITS)
        return self._last.copy()
