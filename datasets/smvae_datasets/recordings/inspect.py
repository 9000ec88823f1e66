"""What a folder of episodes holds: a line per sensor and target, and what would ruin training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smvae_core.robot import Robot
from smvae_datasets.checks import USUAL_BATCH, Finding, check_dataset
from smvae_datasets.dataset import Dataset, recorded_of
from smvae_datasets.recordings.folder import read_declaration
from smvae_datasets.recordings.prepared import prepare_recordings


@dataclass(frozen=True, kw_only=True)
class EpisodesInspection:
    """What was found in `path`."""

    path: Path
    robot: Robot
    data: Dataset
    findings: tuple[Finding, ...]

    @property
    def valid(self) -> bool:
        """Whether training on all sensors can work."""
        return not any(finding.fatal for finding in self.findings)

    @property
    def lines(self) -> list[str]:
        """Counts, one line per sensor and target, the findings, and the verdict."""
        steps, rate_hz = len(self.data), self.robot.episodes.rate_hz
        told = [
            f"{self.path}: robot {self.robot.name}, {len(self.data.group_names)} episodes, "
            f"{steps} steps ({steps / rate_hz / 60.0:.1f} min at {rate_hz:g} Hz)"
        ]
        for m in self.data.sensors:
            held = int(recorded_of(self.data, m.name).sum())
            told.append(
                f"{m.name:21s}{m.kind:15s}{m.shape!s:16s}[{m.unit}]  in {held} of {steps} steps "
                f"({held / steps:.1%})"
            )
        for name, target in self.data.targets.items():
            known = int(target.known.sum())
            told.append(
                f"{name:21s}{'target':15s}{target.values.shape[1:]!s:16s}[{target.unit}]  "
                f"in {known} of {steps} steps ({known / steps:.1%})"
            )
        told += [f"{'error' if f.fatal else 'training'}: {f}" for f in self.findings]
        fatal = sum(finding.fatal for finding in self.findings)
        verdict = "valid" if self.valid else f"invalid: {fatal} errors"
        return [*told, f"{verdict}, {len(self.findings) - fatal} warnings"]

    def to_json(self) -> dict[str, Any]:
        """Return what the lines say, for programs."""
        data = self.data
        sensors = {
            m.name: {
                "kind": m.kind,
                "shape": list(m.shape),
                "unit": m.unit,
                "steps": int(recorded_of(data, m.name).sum()),
            }
            for m in data.sensors
        }
        targets = {
            name: {"unit": target.unit, "steps": int(target.known.sum())}
            for name, target in data.targets.items()
        }
        return {
            "path": str(self.path),
            "robot": self.robot.name,
            "episodes": len(data.group_names),
            "steps": len(data),
            "rate_hz": self.robot.episodes.rate_hz,
            "sensors": sensors,
            "targets": targets,
            "findings": [asdict(finding) for finding in self.findings],
            "valid": self.valid,
        }


def inspect_episodes(path: Path, *, progress: bool = True) -> EpisodesInspection:
    """Prepare the episodes in `path`, as training does, and look at them.

    Raises:
        DataSetError: If the folder cannot be read.
    """
    robot = read_declaration(path)
    data = prepare_recordings(path, robot.modalities, progress=progress)
    findings = (*_too_few_episodes(data), *check_dataset(data, batch_size=USUAL_BATCH))
    return EpisodesInspection(path=path, robot=robot, data=data, findings=findings)


def _too_few_episodes(data: Dataset) -> list[Finding]:
    """Say when no whole episode can be held out, which training does by default."""
    count = len(data.group_names)
    if count > 1:
        return []
    remedy = "record more, or cut a long recording (episodes.max_s in robot.yaml)"
    problem = "1 episode, and whole ones are held out: at least 2 are needed"
    return [Finding(sensor="", problem=problem, remedy=remedy, fatal=True)]
