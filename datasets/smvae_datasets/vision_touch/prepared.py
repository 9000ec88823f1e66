"""Vision&Touch episodes as a data set: every step prepared, its actions paired, its targets read.

Conversion streams one file at a time into the prepared cache (`cache.py`), which is reused as long
as the settings, the preparing code and the episode files (name, size, time of change) are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError, did_you_mean
from smvae_core.modality import Modality
from smvae_datasets.cache import code_sha256, prepare_once
from smvae_datasets.dataset import ArrayDataset, Target
from smvae_datasets.vision_touch import steps
from smvae_datasets.vision_touch.files import FIELD, STEP_RATE_HZ, Trajectory, list_trajectories
from smvae_datasets.vision_touch.steps import ActionPairing

logger = logging.getLogger(__name__)

_FORMAT = 6
#: What is prepared beside the sensors, by array.
_LABELS = ("trajectory", "step", "recorded", "contact", "ee_pos", "offset_m", "hole_pose")
#: The robot's base frame, by the name that the simulated robot's messages give it.
_FRAME = "base_link"
#: Numbers of the target `hole`; a yaw by its sine and cosine has no jump.
_HOLE = ("x", "y", "z", "sin_yaw", "cos_yaw")


@dataclass(frozen=True, kw_only=True)
class PreparedEpisodes(ArrayDataset):
    """N samples, in order of trajectory and step; arrays are read-only memmaps.

    Targets: `offset`, peg tip (`ee_pos`) minus hole [m], base frame, and `hole`, the hole's x, y, z
    [m] in it and sine and cosine of its yaw, both NaN where the file has no hole_pose attribute;
    `contact`, whether any of the last 32 force readings of the step was in contact. The simulated
    holes repeat after a third or a quarter of a turn, and their yaw stays within 0.6 rad, so it is
    one number. `end_effector` is `ee_pos` (N, 3) in m, base frame.
    """

    @classmethod
    def of(
        cls,
        sensors: tuple[Modality, ...],
        arrays: dict[str, NDArray[Any]],
        *,
        trajectory_names: tuple[str, ...],
        path: Path | None = None,
    ) -> PreparedEpisodes:
        """Return the episodes of arrays by name: the sensors', and those of `_LABELS`.

        Without `recorded` nothing is missing; without `ee_pos` nobody says where the peg was.
        """
        labels = {name: np.array(arrays[name]) for name in _LABELS if name in arrays}
        contact = labels["contact"][:, None].astype(np.float32)
        return cls(
            sensors=sensors,
            arrays={m.name: arrays[m.name] for m in sensors},
            group=labels["trajectory"],
            group_names=trajectory_names,
            recorded=labels.get("recorded"),  # type: ignore[arg-type]
            # NumPy 1 keeps int32 whatever it is multiplied by, and overflows after 42 steps
            stamp_ns=labels["step"].astype(np.int64) * round(1e9 / STEP_RATE_HZ),
            targets={
                "offset": Target(
                    values=labels["offset_m"],
                    unit="m",
                    fields=("x", "y", "z"),
                    frame_id=_FRAME,
                ),
                "hole": Target(
                    values=_hole(labels["hole_pose"]),
                    unit="m, 1",
                    fields=_HOLE,
                    frame_id=_FRAME,
                ),
                "contact": Target(values=contact, binary=True, states=("free", "contact")),
            },
            end_effector=Target(
                values=labels["ee_pos"].astype(np.float32),
                unit="m",
                fields=("x", "y", "z"),
                frame_id=_FRAME,
            )
            if "ee_pos" in labels
            else None,
            path=path,
        )


def _hole(pose: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the target `hole` (N, 5) of poses (N, 4): x, y, z [m] and yaw [rad]."""
    yaw = pose[:, 3:]
    return np.concatenate([pose[:, :3], np.sin(yaw), np.cos(yaw)], axis=1)


def prepare_episodes(
    root: Path,
    modalities: Sequence[Modality],
    *,
    action: ActionPairing = "newest",
    cache: Path | None = None,
    progress: bool = True,
) -> PreparedEpisodes:
    """Return all steps of the trajectories in `root`, prepared, from the cache where it is current.

    Args:
        root: Folder of `NAME_<k>_1000.h5` files.
        modalities: What to prepare; each is read from the field `modality.source`.
        action: Pairing of modalities read from the field `action`. "newest": observation t with
            action t, the newest command at that time, which a live node can do as well. "next":
            observation t with action t + 1, as the data set's authors do; the last step of each
            trajectory has none and is dropped (their loader drops the last step of each *file*).
        cache: Folder of prepared sets; `root/.prepared` by default.
        progress: Show a progress bar on stderr while converting.

    Raises:
        EpisodeError: If a file or the folder cannot be used; nothing is skipped.
        ConfigError: If a modality's source is no field, or `action` is unknown.
    """
    chosen = tuple(modalities)
    _check_settings(chosen, action)
    trajectories = list_trajectories(root)
    folder, arrays = prepare_once(
        cache if cache is not None else root / ".prepared",
        _manifest(root, trajectories, chosen, action),
        [*(m.name for m in chosen), *_LABELS],
        lambda: (
            block
            for index, trajectory in enumerate(trajectories)
            for block in steps.prepared_steps(trajectory, index, chosen, action)
        ),
        sum(t.steps - (action == "next") for t in trajectories),
        progress=progress,
    )
    for modality, held in zip(chosen, np.asarray(arrays["recorded"]).T, strict=True):
        if not held.all():
            logger.warning(
                "%s: %d of %d samples are empty within its range and count as not recorded, the "
                "first in step %d of trajectory %s",
                modality.name,
                int((~held).sum()),
                len(held),
                int(arrays["step"][held.argmin()]),
                trajectories[int(arrays["trajectory"][held.argmin()])].name,
            )
    return PreparedEpisodes.of(
        chosen,
        arrays,
        trajectory_names=tuple(t.name for t in trajectories),
        path=folder,
    )


def _check_settings(modalities: tuple[Modality, ...], action: str) -> None:
    if action not in ("newest", "next"):
        raise ConfigError(f"action pairing: expected 'newest' or 'next', got '{action}'")
    if not modalities:
        raise ConfigError("prepare: expected at least one modality, got none")
    names = [m.name for m in modalities]
    if len(set(names)) != len(names) or set(names) & set(_LABELS):
        raise ConfigError(
            f"prepare: modality names must differ from each other and from labels: {names}"
        )
    for m in modalities:
        if m.source not in FIELD:
            hint = did_you_mean(m.source, FIELD)
            raise ConfigError(
                f"modality '{m.name}': source '{m.source}' is no episode field.{hint}"
            )


def _manifest(
    root: Path, trajectories: list[Trajectory], modalities: tuple[Modality, ...], action: str
) -> dict[str, Any]:
    """Return everything the prepared arrays depend on, as JSON."""
    files = [path for t in trajectories for path in t.files]
    stats = [path.stat() for path in files]
    return {
        "format": _FORMAT,
        "set": "episodes",
        "root": str(root.resolve()),
        "modalities": [m.to_json() for m in modalities],
        "action": action,
        "code": code_sha256(steps),
        "files": [[p.name, s.st_size, s.st_mtime_ns] for p, s in zip(files, stats, strict=True)],
    }
