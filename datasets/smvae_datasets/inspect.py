"""What an episode file or folder holds: one line per field with ranges, and every problem found.

An *error* is what `read_file` or `list_trajectories` refuses (the data cannot be used); a *warning*
is a reading that is allowed and looks wrong, such as a black image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from smvae_core.errors import EpisodeError
from smvae_core.kinds.depth_image import CUT_SHARE
from smvae_core.presets import VISION_TOUCH
from smvae_core.presets import VISION_TOUCH_RANGE_M as DEPTH_RANGE_M
from smvae_datasets.checks import USUAL_BATCH, Finding, check_dataset, too_few
from smvae_datasets.vision_touch.files import (
    FIELDS,
    STEP_RATE_HZ,
    STEPS_PER_FILE,
    Field,
    Trajectory,
    list_trajectories,
    load_field,
    open_file,
)
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_datasets.vision_touch.steps import prepared_steps

#: tanh of a raw newton value beyond this differs from 1 by less than 1 %.
SATURATED_TANH = 0.99
QUATERNIONS = ("ee_ori", "ee_yaw", "ee_yaw_delta")
#: How far from 1 the length of a quaternion may be.
QUATERNION_TOLERANCE = 1e-2
#: Files that are prepared as for training, spread over the folder.
PREPARED_FILES = 40


@dataclass(kw_only=True)
class FieldSummary:
    """One field over all readable files."""

    field: Field
    dtypes: set[str] = dataclasses.field(default_factory=set)
    """As stored on disk."""
    steps: int = 0
    minimum: float = np.inf
    maximum: float = -np.inf
    total: float = 0.0
    channels: tuple[NDArray[Any], NDArray[Any]] | None = None
    """Smallest and largest value of each channel, the last axis."""
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    """What was counted, see `CHECKS`."""
    notes: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    errors: list[str] = dataclasses.field(default_factory=list)
    """Names of files where this field cannot be read."""

    @property
    def mean(self) -> float:
        size = self.steps * int(np.prod(self.field.shape))
        return self.total / size if size else np.nan

    @property
    def line(self) -> str:
        """Name, shape, dtype, range, mean, unit and what was noticed, in one line."""
        shape = f"({', '.join(map(str, (self.steps, *self.field.shape)))})"
        dtype = "/".join(sorted(self.dtypes)) or "-"
        numbers = "never readable"
        if self.steps:
            numbers = f"{self.minimum:.4g} .. {self.maximum:.4g}, mean {self.mean:.4g}"
        remarks = "; ".join([*self.notes, *self.warnings])
        if self.errors:
            remarks = f"not readable in {len(self.errors)} files" + (remarks and f"; {remarks}")
        head = f"{self.field.name:21s}{shape:22s}{dtype:9s}{numbers:42s}[{self.field.unit}]"
        return f"{head:108s}{remarks}".rstrip()


@dataclass(kw_only=True)
class Inspection:
    """What was found under `path`."""

    path: Path
    trajectories: int
    files: int
    steps: int
    """Steps in the files that opened."""
    fields: tuple[FieldSummary, ...]
    errors: tuple[str, ...]
    """One line each; empty means that the data can be used."""
    findings: tuple[Finding, ...] = ()
    """What would ruin training, see `smvae_datasets.checks`; of data without errors."""

    @property
    def valid(self) -> bool:
        return not self.errors

    @property
    def warnings(self) -> tuple[str, ...]:
        """Of fields, then of the sensors that are trained on."""
        of_fields = [f"{s.field.name}: {w}" for s in self.fields for w in s.warnings]
        return (*of_fields, *map(str, self.findings))

    def to_json(self) -> dict[str, Any]:
        """Return what is printed, for programs."""
        return {
            "path": str(self.path),
            "trajectories": self.trajectories,
            "files": self.files,
            "steps": self.steps,
            "fields": {
                s.field.name: {
                    "steps": s.steps,
                    "shape": list(s.field.shape),
                    "unit": s.field.unit,
                    "range": [float(s.minimum), float(s.maximum)] if s.steps else None,
                }
                for s in self.fields
            },
            "errors": list(self.errors),
            "warnings": list(self.warnings),
            "valid": self.valid,
        }


def inspect_path(path: Path) -> Inspection:
    """Read everything under `path`, a file or a folder, and report instead of stopping.

    Files are read one field at a time; memory stays that of one field of one file.
    """
    errors: list[str] = []
    trajectories, files = 1, [path]
    if not path.is_file():
        try:
            found = list_trajectories(path)
            trajectories, files = len(found), [file for t in found for file in t.files]
        except EpisodeError as err:
            errors.append(str(err))
            trajectories, files = 0, sorted(path.glob("*.h5")) if path.is_dir() else []
    summaries = tuple(FieldSummary(field=f) for f in FIELDS)
    opened = sum(_inspect_file(file, summaries, errors) for file in files)
    for summary in summaries:
        _conclude(summary)
    return Inspection(
        path=path,
        trajectories=trajectories,
        files=len(files),
        steps=STEPS_PER_FILE * opened,
        fields=summaries,
        errors=tuple(errors),
        findings=() if errors else tuple(_findings(files, single=path.is_file())),
    )


def _findings(files: Sequence[Path], single: bool) -> list[Finding]:
    """Return what would ruin training, judged by files spread over the folder."""
    chosen = sorted({*np.linspace(0, len(files) - 1, PREPARED_FILES).astype(int).tolist()})
    blocks = [
        block
        for number, index in enumerate(chosen)
        for block in prepared_steps(
            Trajectory(name=files[index].stem, files=(files[index],)),
            number,
            VISION_TOUCH,
            "newest",
        )
    ]
    arrays = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    names = tuple(files[index].stem for index in chosen)
    data = PreparedEpisodes.of(VISION_TOUCH, arrays, trajectory_names=names)
    few = [] if single else too_few(STEPS_PER_FILE * len(files), USUAL_BATCH)
    return few + check_dataset(data)


def print_inspection(inspection: Inspection, console: Console | None = None) -> None:
    """Print one line of counts, one per field, and one per error (red) or warning (yellow)."""
    out = console if console is not None else Console()
    minutes = inspection.steps / STEP_RATE_HZ / 60.0
    counts = (
        f"{inspection.path}: {inspection.trajectories} trajectories, {inspection.files} files, "
        f"{inspection.steps} steps ({minutes:.1f} min at {STEP_RATE_HZ:g} Hz)"
    )
    lines = [Text(counts, style="bold")]
    for summary in inspection.fields if inspection.steps else ():
        style = "red" if summary.errors else "yellow" if summary.warnings else ""
        lines.append(Text(summary.line, style=style))
    lines += [Text(f"error: {error}", style="red") for error in inspection.errors]
    lines += [Text(f"training: {found}", style="yellow") for found in inspection.findings]
    verdict = "valid" if inspection.valid else f"invalid: {len(inspection.errors)} errors"
    warnings = len(inspection.warnings)
    lines.append(Text(f"{verdict}, {warnings} warnings", style="bold"))
    for line in lines:
        out.print(line, soft_wrap=True)


def _inspect_file(path: Path, summaries: tuple[FieldSummary, ...], errors: list[str]) -> bool:
    """Add one file to the summaries; return whether it opened."""
    try:
        file = open_file(path)
    except EpisodeError as err:
        errors.append(str(err))
        return False
    with file:
        for summary in summaries:
            try:
                values = load_field(path, file, summary.field)
            except EpisodeError as err:
                errors.append(str(err))
                summary.errors.append(path.name)
                continue
            summary.dtypes.add(str(file[summary.field.name].dtype))
            _accumulate(summary, values)
    return True


def _accumulate(summary: FieldSummary, values: NDArray[Any]) -> None:
    summary.steps += len(values)
    summary.minimum = min(summary.minimum, float(values.min()))
    summary.maximum = max(summary.maximum, float(values.max()))
    every = values.reshape(-1, values.shape[-1])
    low, high = every.min(axis=0), every.max(axis=0)
    if summary.channels is not None:
        low, high = np.minimum(low, summary.channels[0]), np.maximum(high, summary.channels[1])
    summary.channels = low, high
    summary.total += float(values.sum(dtype=np.float64))
    count = CHECKS.get(summary.field.name)
    if count is not None:
        for name, number in count(values).items():
            summary.counts[name] = summary.counts.get(name, 0) + number


def _count_image(values: NDArray[Any]) -> dict[str, int]:
    return {"black": int((values.max(axis=(1, 2, 3)) == 0).sum())}


def _count_depth(values: NDArray[Any]) -> dict[str, int]:
    near, far = DEPTH_RANGE_M
    outside = (values <= near) | (values >= far)
    return {
        "outside": int(outside.sum()),
        "blind": int(outside.all(axis=(1, 2, 3)).sum()),
        "far": int((values >= far).sum()),
        "returns": int((values > near).sum()),
    }


def _count_force(values: NDArray[Any]) -> dict[str, int]:
    flat = (values == values[:, :1]).all(axis=(1, 2))
    saturated = np.abs(np.tanh(values)) > SATURATED_TANH
    return {"saturated": int(saturated.sum()), "frozen": int(flat.sum())}


def _count_contact(values: NDArray[Any]) -> dict[str, int]:
    return {"readings": int(values.sum()), "steps": int(values.any(axis=1).sum())}


def _count_action(values: NDArray[Any]) -> dict[str, int]:
    return {"zero": int((values == 0).all(axis=1).sum())}


def _count_quaternion(values: NDArray[Any]) -> dict[str, int]:
    length = np.linalg.norm(values.astype(np.float64), axis=1)
    return {"not unit": int((np.abs(length - 1.0) > QUATERNION_TOLERANCE).sum())}


#: Field name -> what is counted in one file's values.
CHECKS: dict[str, Callable[[NDArray[Any]], dict[str, int]]] = {
    "image": _count_image,
    "depth_data": _count_depth,
    "ee_forces_continuous": _count_force,
    "contact": _count_contact,
    "action": _count_action,
    **dict.fromkeys(QUATERNIONS, _count_quaternion),
}


def _conclude(summary: FieldSummary) -> None:
    """Turn counts into notes (always told) and warnings (looks wrong)."""
    name, steps, counts = summary.field.name, summary.steps, summary.counts
    if not steps:
        return
    values = steps * int(np.prod(summary.field.shape))
    if name == "image" and counts["black"]:
        summary.warnings.append(f"all zero in {counts['black']} of {steps} steps")
    if name == "depth_data":
        summary.notes.append(
            f"{counts['outside'] / values:.1%} outside (0, {DEPTH_RANGE_M[1]:g}) m"
        )
        if counts["far"] > CUT_SHARE * counts["returns"]:
            share = counts["far"] / counts["returns"]
            summary.warnings.append(
                f"{share:.0%} of the returns lie beyond {DEPTH_RANGE_M[1]:g} m: another unit?"
            )
        if counts["blind"]:
            summary.warnings.append(f"no return at all in {counts['blind']} of {steps} steps")
    if name == "ee_forces_continuous":
        summary.notes.append(f"tanh saturates on {counts['saturated'] / values:.1%}")
        if counts["frozen"]:
            summary.warnings.append(f"constant through {counts['frozen']} of {steps} windows")
    if name == "contact":
        summary.notes.append(f"{counts['steps'] / steps:.1%} of steps in contact")
    if name == "action" and counts["zero"]:
        told = summary.warnings if counts["zero"] == steps else summary.notes
        told.append(f"all zero in {counts['zero']} of {steps} steps")
    if name in QUATERNIONS and counts["not unit"]:
        summary.warnings.append(f"not unit length in {counts['not unit']} of {steps} steps")
    if name != "contact" and summary.minimum == summary.maximum:
        summary.warnings.append(f"constant {summary.minimum:g} everywhere")
    elif name != "contact" and summary.channels is not None:
        low, high = summary.channels
        still = ", ".join(map(str, np.flatnonzero(low == high)))
        if still:
            summary.warnings.append(f"channel {still} never changes")
