"""The steps of one trajectory as they are trained on: prepared, with actions paired and labels.

One file is read at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from smvae_core import preprocessing
from smvae_core.errors import EpisodeError, SampleError
from smvae_core.modality import Modality
from smvae_datasets.vision_touch.files import STEPS_PER_FILE, Trajectory, read_attributes, read_file

ActionPairing = Literal["newest", "next"]

#: A step counts as contact when any of this many newest readings does: the force window's length.
CONTACT_READINGS = 32


def prepared_steps(
    trajectory: Trajectory, index: int, modalities: tuple[Modality, ...], action: ActionPairing
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the prepared steps of one file at a time, with the actions shifted where asked for."""
    sources = {m.source for m in modalities} | {"contact", "ee_pos"}
    following: dict[str, NDArray[Any]] | None = None
    for k, path in enumerate(trajectory.files):
        raw = following if following is not None else read_file(path, sources)
        following = None
        count = STEPS_PER_FILE
        if action == "next" and "action" in raw:
            if k + 1 < len(trajectory.files):
                following = read_file(trajectory.files[k + 1], sources)
                ahead = following["action"][:1]
            else:
                ahead = raw["action"][:0]
            raw = {**raw, "action": np.concatenate([raw["action"][1:], ahead])}
        if action == "next" and k + 1 == len(trajectory.files):
            count -= 1
        prepared = {m.name: _prepare_field(path, m, raw[m.source], count) for m in modalities}
        block = {name: values for name, (values, _) in prepared.items()}
        block["recorded"] = np.stack([held for _, held in prepared.values()], axis=1)
        block["trajectory"] = np.full(count, index, np.int32)
        block["step"] = np.arange(count, dtype=np.int32) + STEPS_PER_FILE * k
        newest = raw["contact"][:count, -CONTACT_READINGS:]
        block["contact"] = newest.max(axis=1) > 0
        hole = _hole_pose(path)
        block["ee_pos"] = raw["ee_pos"][:count]
        block["offset_m"] = raw["ee_pos"][:count] - hole[:3]
        block["hole_pose"] = np.broadcast_to(hole, (count, len(hole)))
        yield block


def _prepare_field(
    path: Path, modality: Modality, values: NDArray[Any], count: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the prepared samples (count, *shape) and which of them (count,) hold anything.

    A sample that is empty once it is prepared, as depth that lies outside its range, is none.
    """
    step = 0
    prepared: list[NDArray[Any] | None] = []
    try:
        for step in range(count):
            prepared.append(_prepare(modality, values[step]))
    except SampleError as err:
        raise EpisodeError(path, str(err), field=modality.source, step=step) from err
    held = np.array([p is not None for p in prepared], np.bool_)
    dtype = next((p.dtype for p in prepared if p is not None), np.dtype(np.float32))
    nothing = np.zeros(modality.shape, dtype)
    return np.stack([nothing if p is None else p for p in prepared]), held


def _prepare(modality: Modality, sample: NDArray[Any]) -> NDArray[Any] | None:
    """Return a prepared sample, or None of one that is empty once it is prepared."""
    try:
        return preprocessing.prepare(modality, sample)
    except SampleError as err:
        if err.reason != "empty":
            raise
        return None


def _hole_pose(path: Path) -> NDArray[np.float32]:
    """Return the hole's x, y, z [m] and yaw [rad], NaN where the file says none (the published)."""
    pose = read_attributes(path).get("hole_pose")
    if pose is None:
        return np.full(4, np.nan, np.float32)
    values = np.asarray(pose)
    if values.shape != (4,) or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        expected = "4 finite numbers: x, y, z in m, yaw in rad"
        raise EpisodeError(path, "attribute 'hole_pose'", expected=expected, got=pose)
    return values.astype(np.float32)
