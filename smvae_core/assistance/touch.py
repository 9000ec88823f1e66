"""What the arm feels of the surface: whether it stands on it, how deep it is, whether it goes on.

By its own pose and lead alone: a spring that pushes and does not move on is in contact.
"""

from __future__ import annotations

from collections import deque

from smvae_core.assistance.pose import Pose

#: Lead downwards from which something holds the tip [m]: 3 N at 1500 N/m.
CONTACT_LEAD_M = 0.002
#: A tip in contact sinks slower than this [m/s].
CONTACT_SPEED = 0.006
#: For so long before it counts [s]: an arm that sets off leads as well.
CONTACT_S = 0.12
#: No progress is less than this [m] within so long [s].
PROGRESS_M, PROGRESS_S = 0.0008, 0.5


class Touch:
    """Follows the tip's height."""

    def __init__(self) -> None:
        self._surface_m: float | None = None
        self._last_m: float | None = None
        self._contact_s = 0.0
        self._heights: deque[tuple[float, float]] = deque()

    def feel(self, tip: Pose, lead: Pose, elapsed_s: float) -> None:
        """Take in where the tip is, so long after the last time."""
        height = float(tip[2])
        sinking = 0.0 if self._last_m is None else (self._last_m - height) / elapsed_s
        self._last_m = height
        held = float(lead[2]) < -CONTACT_LEAD_M and sinking < CONTACT_SPEED
        self._contact_s = self._contact_s + elapsed_s if held else 0.0
        if self._surface_m is not None and held:
            self._surface_m = max(self._surface_m, height)
        self._heights.append((elapsed_s, height))
        while sum(s for s, _ in self._heights) - self._heights[0][0] > PROGRESS_S:
            self._heights.popleft()

    @property
    def contact(self) -> bool:
        """Whether the tip stands on something."""
        return self._contact_s >= CONTACT_S

    @property
    def stuck(self) -> bool:
        """Whether the tip has not sunk for a while."""
        lasted = sum(s for s, _ in self._heights)
        return lasted > PROGRESS_S and self._heights[0][1] - self._heights[-1][1] < PROGRESS_M

    @property
    def depth_m(self) -> float:
        """How far the tip is below the surface; negative above it, or where none was touched."""
        if self._surface_m is None or self._last_m is None:
            return -1.0
        return self._surface_m - self._last_m

    def stand(self, surface_m: float) -> None:
        """Learn at which height the surface is, and judge progress from now on."""
        self._surface_m = surface_m
        self.watch_anew()

    def watch_anew(self) -> None:
        """Judge progress from now on."""
        self._heights.clear()

    def forget(self) -> None:
        """Forget the surface."""
        self._surface_m = None
        self._contact_s = 0.0
        self._heights.clear()
