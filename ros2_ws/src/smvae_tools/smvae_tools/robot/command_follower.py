"""The robot's newest received command, as the displacement of its next step. No rclpy in here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.messages import ConversionError, ConversionOptions
from smvae_core.modality import Modality
from smvae_datasets.simulation.scripted_operator import STEP_LIMIT


class CommandFollower:
    """Keeps the newest TwistStamped; one thread stores, another asks for displacements."""

    def __init__(
        self,
        modality: Modality,
        *,
        frame_id: str,
        timeout_s: float,
        step_time_s: float,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without a command: the robot holds still.

        Args:
            modality: The action modality; its fields pick the components of the twist.
            frame_id: The only frame that commands may name; an empty one is taken to be it.
            timeout_s: A command older than this, by its arrival, no longer counts.
            step_time_s: Displacement = twist x this.
            steady_s: Clock of arrivals.
        """
        self._modality = modality
        self._frame_id = frame_id
        self._timeout_s = timeout_s
        self._options = ConversionOptions(step_time_s=step_time_s)
        self._steady_s = steady_s
        self._lock = threading.Lock()
        self._newest: tuple[float, NDArray[np.float64]] | None = None

    def store(self, message: Any) -> str:
        """Take a TwistStamped in; return why it was refused, or an empty string.

        A refused command does not prolong the one before it: that one runs into its timeout.
        """
        frame_id = message.header.frame_id
        if frame_id not in ("", self._frame_id):
            return f"frame_id: expected '{self._frame_id}' or '', got '{frame_id}'"
        try:
            displacement = self._modality.converter().to_array(
                self._modality, message, self._options
            )
        except ConversionError as err:
            return str(err)
        with self._lock:
            self._newest = (self._steady_s(), displacement.astype(np.float64))
        return ""

    def displacement(self) -> NDArray[np.float64]:
        """Return the next step's displacement (4,) [m, m, m, rad], zero without a fresh command.

        It never exceeds what the scripted operator may command.
        """
        with self._lock:
            newest = self._newest
        if newest is None or self._steady_s() - newest[0] > self._timeout_s:
            return np.zeros(4)
        return np.clip(newest[1], -STEP_LIMIT, STEP_LIMIT)
