"""How many of a recording's steps hold each sensor and target, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from smvae_datasets.recordings.steps import nearest

#: A sensor that sends and is in fewer of the steps is worth a line [share].
_RARELY = 0.1


class Presence:
    """Counts steps while a recording is converted."""

    def __init__(self, half_step_ns: int) -> None:
        """Start at none.

        Args:
            half_step_ns: How far a target may lie from a step.
        """
        self._half_step_ns = half_step_ns
        self._steps = 0
        self._held: dict[str, int] = {}
        self._last_without: dict[str, str] = {}
        self._references_ns: list[int] = []
        self._stamps_ns: dict[str, list[int]] = {}

    def step(self, reference_ns: int, lacking: Mapping[str, str], held: list[str]) -> None:
        """Count a step.

        Args:
            reference_ns: Its moment.
            lacking: Sensors without a sample in it, with the reason.
            held: Those that have one.
        """
        self._steps += 1
        self._references_ns.append(reference_ns)
        for name in held:
            self._held[name] = self._held.get(name, 0) + 1
        for name, why in lacking.items():
            if why:
                self._last_without[name] = why

    def target(self, name: str, stamp_ns: int) -> None:
        """Note that something was recorded of a target."""
        self._stamps_ns.setdefault(name, []).append(stamp_ns)

    def end_episode(self) -> dict[str, int]:
        """Forget the episode's moments, and return how much of each target is in a step of it."""
        references_ns = np.array(self._references_ns, np.int64)
        used = {}
        for name, stamps_ns in self._stamps_ns.items():
            at, near = nearest(np.sort(stamps_ns), references_ns, self._half_step_ns)
            used[name] = len(np.unique(at[near]))
        self._references_ns, self._stamps_ns = [], {}
        return used

    def faults(self, sent: Mapping[str, int], targets: Mapping[str, int]) -> list[str]:
        """Return a line for each sensor that hardly any step holds, and each target that none does.

        Args:
            sent: Messages of each sensor that were kept.
            targets: Of each target that has kept messages, how many are in a step.
        """
        lines = []
        for name, count in sent.items():
            held = self._held.get(name, 0)
            if count and held < _RARELY * self._steps:
                why = self._last_without.get(name, "")
                last = f"; the last without it: {why}" if why else ""
                lines.append(f"{name}: in {held} of {self._steps} steps{last}")
        for name, used in targets.items():
            if self._steps and not used:
                half_s = self._half_step_ns * 1e-9
                lines.append(
                    f"target {name}: in none of {self._steps} steps: nothing of it is stamped "
                    f"within {half_s:.3g} s of one; are its stamps of another clock?"
                )
        return lines
