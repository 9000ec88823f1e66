"""What of a robot's declaration decides which samples are kept, and which of them a step holds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from smvae_core.fusion.rules import FusionRule
from smvae_core.modality import Modality
from smvae_core.robot import Robot
from smvae_core.settings import Settings, complete, table

#: Of the files in a folder of episodes.
FORMAT = 1
#: Of the converter: raised where it keeps other samples, or other stamps, of the same recording.
#: 2: stamps of simulated time count from the recorded /clock.
CONVERTER = 2
#: Settings of a sensor that decide what a step holds; `enabled` too, for a step.
_FUSION = ("enabled", *(name for name in FusionRule.__dataclass_fields__ if name != "enabled"))
#: Options of a sensor that samples are prepared by when they are read.
_PREPARED = ("fit", "rate_hz")


@dataclass(frozen=True)
class Declared:
    """A robot, as the builder of episodes needs it."""

    robot: Robot
    settings: Settings
    """Of the node, which makes a latent `episodes.rate_hz` times per second at most."""

    @classmethod
    def of(cls, robot: Robot) -> Declared:
        known = table(robot.modalities)
        given = robot.parameters() | {
            "trigger": robot.episodes.trigger,
            "max_rate_hz": float(robot.episodes.rate_hz),
        }
        return cls(robot, Settings.of(complete(known, given), robot.modalities))

    @property
    def half_step_ns(self) -> int:
        """How far what was recorded of a target may lie from a step."""
        return round(0.5e9 / self.robot.episodes.rate_hz)

    @property
    def samples_sha256(self) -> str:
        """Digest of what decides which samples are kept and how: other samples, another one."""
        rules = self.robot.episodes
        return _digest(
            [
                FORMAT,
                [self._kept(modality) for modality in self.robot.modalities],
                [[t.name, t.channel.topic, t.select] for t in self.robot.targets],
                [rules.split_on, rules.gap_s, rules.min_s, rules.max_s],
            ]
        )

    @property
    def steps_sha256(self) -> str:
        """Digest of what decides which samples a step holds."""
        pace, rules = self.settings.pace, self.settings.rules
        spans = [m.family.span_s(m) for m in self.robot.modalities]
        return _digest([vars(pace), {n: vars(rule) for n, rule in rules.items()}, spans])

    def _kept(self, modality: Modality) -> Any:
        family, said = modality.family, modality.to_json()
        shape = () if family.is_image else modality.shape[:1]
        options = {k: v for k, v in (said["options"] or {}).items() if k not in _PREPARED}
        sensor = next(s for s in self.robot.sensors if s.name == modality.name)
        settings = {k: v for k, v in sensor.settings.items() if k not in _FUSION}
        channel = [sensor.channel.topic, sensor.channel.type, sensor.channel.feature]
        crop, fields = crop_of(modality), said["fields"]
        return [modality.name, modality.kind, shape, fields, options, settings, channel, crop]


def crop_of(modality: Modality) -> tuple[int, int, int, int] | None:
    """Return the part of an image that is kept; None = all of it.

    A view that is padded may reach beyond the declared crop, so of such a sensor all is kept.
    """
    options = modality.options
    if not modality.is_image or options.fit == "pad":
        return None
    crop: tuple[int, int, int, int] | None = options.crop
    return crop


def uncropped(modality: Modality) -> Modality:
    """Return the modality that prepares what was kept of its images."""
    if crop_of(modality) is None:
        return modality
    return replace(modality, options=replace(modality.options, crop=None))


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=list).encode()).hexdigest()
