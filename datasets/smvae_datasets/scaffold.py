"""A first robot.yaml from a recording: what was found in it, as text that a person then changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smvae_core.robot import RobotError
from smvae_core.robot.reading import parse_robot
from smvae_core.robot.writing import to_yaml


@dataclass(frozen=True, kw_only=True)
class Scaffold:
    """What of a recording can be declared."""

    data: dict[str, Any]
    """In the keys of robot.yaml, as `parse_robot` takes it."""
    about: Mapping[str, str]
    """Sensor or target -> what was seen of it."""
    left_out: tuple[str, ...]
    """What is no sensor, with the reason."""
    faults: tuple[str, ...] = ()
    """What of the recording is damaged."""

    def text(self, recording: Path) -> str:
        """Return robot.yaml, which reads as what was found; remarks stand in it as comments.

        Raises:
            RobotError: If nothing of the recording can be a sensor; says what there is.
        """
        if not self.data["sensors"]:
            faults = (f"fault: {fault}" for fault in self.faults)
            reasons = "; ".join((*faults, *self.left_out)) or "it is empty"
            raise RobotError(recording, "", f"nothing of it can be a sensor: {reasons}")
        return "\n".join(self._lines(recording)) + "\n"

    def _lines(self, recording: Path) -> Iterator[str]:
        robot = parse_robot(self.data, f"{recording}, as scaffolded")
        yield f"# Found in {recording.name}. `smvae robot validate` prints what is not said here."
        for line in to_yaml(robot).splitlines():
            name = line.partition(":")[0]
            if name.strip() in self.about and line.startswith("  ") and line[2] != " ":
                yield f"  # {self.about[name.strip()]}"
            yield line
        yield from (f"# Fault: {fault}" for fault in self.faults)
        if self.left_out:
            yield "# Left out:"
            yield from (f"# - {reason}" for reason in self.left_out)
