"""Shared autonomy for an insertion: the operator decides whether and when, the robot where.

APPROACH    in the air, or steered by the operator: motions are blended (`blending.py`)
SEARCH      on the surface: a spiral around the believed hole (`spiral.py`) under a light push
INSERT      in the hole: a firmer push, x, y and yaw let go
BACK_OFF    jammed: a little up, everything let go, then again
SEATED      deep enough: the push is held
HANDED_OVER the operator's own motion, until they lift the peg: the robot does not know

Everything but APPROACH needs an operator who pushes down. One who holds still keeps the robot
still, one who pulls up gets the peg back. Where the operator puts the peg down counts as an
estimate of the hole with the deviation of their aim; so without any latent this is a blind search
around that place. Whatever the phase, `limits.limited` has the last word.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

import numpy as np

from smvae_core.assistance.belief import Fusion, HoleBelief
from smvae_core.assistance.blending import Blending, blend, weights
from smvae_core.assistance.insertion import Insertion, push, yielding
from smvae_core.assistance.intent import Intent, IntentReader
from smvae_core.assistance.limits import Limits, limited
from smvae_core.assistance.pose import Motion, Pose, difference, no_longer
from smvae_core.assistance.sighting import Sighting
from smvae_core.assistance.spiral import Search, Spiral
from smvae_core.assistance.touch import Touch

#: Share of a setpoint's distance from the search's way that a second makes up for [1/s].
FOLLOW_PER_S = 6.0
#: Fastest way back to it [m/s].
SLIDE_SPEED = 0.03
#: Fastest way back of a jammed peg [m/s].
BACK_OFF_SPEED = 0.02
#: A tip so many deviations below the believed surface is in the hole.
SURE = 2.0
#: So far above the surface an attempt is over [m].
CLEAR_M = 0.01


class Phase(enum.Enum):
    """What the assistance is doing."""

    APPROACH = "approach"
    SEARCH = "search"
    INSERT = "insert"
    BACK_OFF = "back off"
    SEATED = "seated"
    HANDED_OVER = "handed over"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All of the assistance's settings."""

    limits: Limits = field(default_factory=Limits)
    fusion: Fusion = field(default_factory=Fusion)
    blending: Blending = field(default_factory=Blending)
    search: Search = field(default_factory=Search)
    insertion: Insertion = field(default_factory=Insertion)


class Assistance:
    """Turns an operator's motion into the motion to command, step by step."""

    def __init__(self, settings: Settings) -> None:
        """Begin in the air, with no idea of the hole."""
        self._settings = settings
        self.belief = HoleBelief(settings.fusion)
        self._touch, self._intent = Touch(), IntentReader()
        self._spiral: Spiral | None = None
        self._last: Motion = np.zeros(4)
        self._searched_s = 0.0
        self._jams = 0
        self._top_m = 0.0
        self.phase = Phase.APPROACH
        self.weights = (0.0, 0.0)
        """Shares of the assistance sideways and in yaw, while in the air."""
        self.seatings = 0
        """Pegs seated."""
        self.hand_overs = 0
        """Times that it gave up."""
        self.reason = ""
        """Why it gave up last."""

    def see(self, seen: Sighting, elapsed_s: float) -> None:
        """Take in what a latent says of the hole, so long after the one before."""
        self.belief.add(seen, elapsed_s)

    def lost(self) -> None:
        """Forget the hole: what was seen belongs to another world."""
        self.belief.forget()

    def stop(self) -> Motion:
        """Return the motion of a robot without an operator: none, at once."""
        self._last, self.weights = np.zeros(4), (0.0, 0.0)
        return self._last.copy()

    def step(self, operator: Motion, tip: Pose, lead: Pose, elapsed_s: float) -> Motion:
        """Return the motion (4,) to command now.

        Args:
            operator: What the operator commands (4,).
            tip: Pose of the tip (4,), by the joints.
            lead: Setpoint minus tip (4,); times the stiffness, what the arm pushes with.
            elapsed_s: Since the last step.
        """
        self._touch.feel(tip, lead, elapsed_s)
        intent = self._intent.read(operator, elapsed_s)
        self._rise(self._wanted_weights(tip, intent), elapsed_s)
        if intent is Intent.STILL:
            wanted = np.zeros(4)
        elif intent is Intent.PUSH:
            self._change_phase(tip, lead, elapsed_s)
            wanted = self._pushed(operator, tip, lead, elapsed_s)
        else:
            if intent is Intent.PULL and self._touch.depth_m < -CLEAR_M:
                self._begin_anew()
            wanted = operator
            if self.phase is Phase.APPROACH:
                wanted = blend(operator, self.belief, tip, self.weights, self._settings.blending)
        self._last = limited(wanted, self._last, tip, lead, elapsed_s, self._settings.limits)
        return self._last.copy()

    def _wanted_weights(self, tip: Pose, intent: Intent) -> tuple[float, float]:
        if self.phase is not Phase.APPROACH or intent is Intent.STILL:
            return 0.0, 0.0
        return weights(self.belief, tip, self._settings.blending)

    def _rise(self, wanted: tuple[float, float], elapsed_s: float) -> None:
        rise = self._settings.blending.weight_rise_per_s * elapsed_s
        sideways, yaw = self.weights
        self.weights = min(wanted[0], sideways + rise), min(wanted[1], yaw + rise)

    def _begin_anew(self) -> None:
        self.phase, self._spiral = Phase.APPROACH, None
        self._searched_s, self._jams = 0.0, 0
        self._touch.forget()

    def _hand_over(self, reason: str) -> None:
        self.phase, self.reason = Phase.HANDED_OVER, reason
        self.hand_overs += 1

    def _change_phase(self, tip: Pose, lead: Pose, elapsed_s: float) -> None:
        """Go on to the phase that this moment belongs to, under a pushing operator."""
        insertion, depth_m = self._settings.insertion, self._touch.depth_m
        if self.phase is Phase.APPROACH:
            surface_m, unsure_m = float(self.belief.pose[2]), float(self.belief.std[2])
            if surface_m - float(tip[2]) > insertion.entered_m + SURE * unsure_m:
                self._touch.stand(surface_m)  # straight in, without a touch
                self.phase = Phase.INSERT
            elif self._touch.contact:
                self._put_down(tip)
        elif self.phase is Phase.SEARCH:
            self._searched_s += elapsed_s
            if depth_m > insertion.entered_m:
                self.phase = Phase.INSERT
                self._touch.watch_anew()
            elif self._searched_s > self._settings.search.search_s:
                self._hand_over(f"nothing found in {self._searched_s:.0f} s")
        elif self.phase is Phase.INSERT:
            if depth_m > insertion.seated_m:
                self.phase = Phase.SEATED
                self.seatings += 1
            elif depth_m < 0.5 * insertion.entered_m:
                self._search()
            elif self._touch.stuck:
                self._jam(tip)
        elif self.phase is Phase.BACK_OFF and float(tip[2]) > self._top_m:
            self.phase = Phase.INSERT
            self._touch.watch_anew()

    def _put_down(self, tip: Pose) -> None:
        """Begin to search where the peg stands: the operator's aim is an estimate as well."""
        blending, search = self._settings.blending, self._settings.search
        self._touch.stand(float(tip[2]))
        aim = np.array([blending.operator_m, blending.operator_m, np.inf, blending.operator_rad])
        self.belief.add_independent(Sighting(pose=tip, std=aim))
        unsure_m = self._sideways_m()
        if unsure_m > search.give_up_m:
            self._hand_over(f"the hole is known to {unsure_m * 1e3:.0f} mm only")
        else:
            self._search()

    def _search(self) -> None:
        std_rad = float(self.belief.std[3])
        self._spiral = Spiral(self._settings.search, self._sideways_m(), std_rad)
        self.phase = Phase.SEARCH

    def _sideways_m(self) -> float:
        return math.sqrt(float(np.square(self.belief.std[:2]).mean()))

    def _jam(self, tip: Pose) -> None:
        self._jams += 1
        if self._jams > self._settings.insertion.back_offs:
            self._hand_over(f"the peg jammed {self._jams} times")
            return
        self.phase = Phase.BACK_OFF
        self._top_m = float(tip[2]) + self._settings.insertion.back_off_m

    def _pushed(self, operator: Motion, tip: Pose, lead: Pose, elapsed_s: float) -> Motion:
        """Return the motion of the phase, under a pushing operator."""
        insertion, stiffness = self._settings.insertion, self._settings.limits.stiffness_n_per_m
        if self.phase is Phase.APPROACH:
            return blend(operator, self.belief, tip, self.weights, self._settings.blending)
        if self.phase is Phase.HANDED_OVER:
            return operator
        if self.phase is Phase.SEARCH:
            motion = self._along_the_spiral(tip + lead, elapsed_s)
            motion[2] = push(lead, insertion.search_push_n, stiffness)
            return motion
        motion = yielding(lead)
        if self.phase is Phase.BACK_OFF:
            motion[2] = BACK_OFF_SPEED
        else:
            motion[2] = push(lead, insertion.insert_push_n, stiffness)
        return motion

    def _along_the_spiral(self, setpoint: Pose, elapsed_s: float) -> Motion:
        """Return the motion of the spiral, and back to it where the setpoint is not on its way.

        What the spiral does is commanded ahead, so that it is followed also where a command takes
        effect a step late.
        """
        assert self._spiral is not None
        place = self._spiral.place
        astray = difference(self.belief.pose + place, setpoint)
        motion = (self._spiral.advance(elapsed_s) - place) / elapsed_s + FOLLOW_PER_S * astray
        motion[:2] = no_longer(motion[:2], SLIDE_SPEED)
        return motion
