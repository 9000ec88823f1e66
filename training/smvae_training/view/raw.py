"""A recording without a model, as glances: each sample at its own stamp, and what is fused when.

It is read as `smvae episodes` reads it, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.fusion.engine import Taken
from smvae_core.view.glance import SensorGlance, TargetNames
from smvae_datasets.recordings.convert import Conversion, Kept, Recording
from smvae_datasets.recordings.declared import Declared
from smvae_training.view.following import Following


class _Shown:
    """An episode whose samples are shown as they come."""

    def __init__(self, following: Following, names: Mapping[str, int], chapter: str) -> None:
        self.steps = 0
        self.counts = dict(names)
        self.files: list[Path] = []
        self.first_ns = self.last_ns = 0
        self.chapter = chapter
        self._following = following

    @property
    def seconds(self) -> float:
        return (self.last_ns - self.first_ns) * 1e-9

    def add(
        self, name: str, stamp_ns: int, arrival_ns: int, value: NDArray[Any], clock_ns: int
    ) -> int:
        self._following.show(stamp_ns, recorded={name: value}, chapter=self.chapter)
        self.counts[name] += 1
        return self.counts[name] - 1

    def add_target(
        self, name: str, stamp_ns: int, arrival_ns: int, value: NDArray[np.float32]
    ) -> None:
        self._following.show(stamp_ns, targets={name: value}, chapter=self.chapter)

    def add_step(self, reference_ns: int, taken_ns: int, samples: tuple[int, ...]) -> None:
        self.first_ns = self.first_ns or taken_ns
        self.last_ns = taken_ns
        self.steps += 1

    def close(self) -> None: ...

    def discard(self) -> None: ...


class RawReplay(Conversion):
    """Shows a recording."""

    def __init__(
        self, recording: Recording, declared: Declared, following: Following, chapter: str = ""
    ) -> None:
        """Find what of the recording is seen.

        Args:
            recording: Open.
            declared: Its robot.
            following: Takes the glances.
            chapter: Name of the recording, where there are several.
        """
        super().__init__(recording, declared, Path(), faults=[])
        self._following, self._chapter = following, chapter
        self.steps = 0

    def run(self, advance: Callable[[int], None]) -> None:
        self._following.begin(self._bag.begin_ns)
        super().run(advance)

    def target_names(self) -> dict[str, TargetNames]:
        """Return how the recorded targets are labelled."""
        units = {t.name: t.unit for t in self._declared.robot.targets}
        return {
            name: TargetNames(fields=fields, unit=units[name])
            for name, fields in self._target_fields.items()
        }

    def _begin_episode(self, number: int, targets: Mapping[str, tuple[str, ...]]) -> Kept:
        names = {m.name: 0 for m in self._modalities}
        chapter = " ".join(filter(None, (self._chapter, f"episode {number}")))
        self._shown = _Shown(self._following, names, chapter)
        return self._shown

    def _step(self, taken: Taken) -> None:
        super()._step(taken)
        if self._episode is None:
            return
        self.steps += 1
        observation = taken.observation
        sensors = {name: SensorGlance.of(s) for name, s in observation.status.items()}
        stamp_ns = observation.reference_ns
        self._following.show(stamp_ns, sensors=sensors, chapter=self._shown.chapter)
