"""Mean squared error as a ratio to the training mean image, paired over trajectories.

The ratio of a trajectory is r_t = (mean error of its records) / (the mean image's on the same
records); reported are the mean of r_t and its standard error over trajectories.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.modality import Modality
from smvae_training.evaluate.likelihood.summary import standard_error
from smvae_training.evaluate.measures import images

REGIONS = ("whole", "varying")

#: What a good model reaches on held-out trajectories, by what its subset holds.
SAME_CAMERA_LIMIT, OTHER_CAMERA_LIMIT, BLIND_STANDARD_ERRORS = 0.5, 0.6, 2.0


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """One cell of the ratio table."""

    mean: float
    """Of r_t over trajectories."""
    standard_error: float
    """Of that mean; NaN with fewer than two trajectories."""
    pooled: float
    """Sum of the errors of all records over the mean image's."""
    trajectories: int
    records: int


def paired_ratio(
    error: NDArray[np.float64],
    reference: NDArray[np.float64],
    trajectory: NDArray[np.int32],
    rows: NDArray[np.bool_],
) -> Ratio:
    """Return the ratio of two errors (N,) over the records marked in `rows` (N,)."""
    rows = rows & np.isfinite(error) & np.isfinite(reference)
    error, reference, trajectory = error[rows], reference[rows], trajectory[rows]
    names, which = np.unique(trajectory, return_inverse=True)
    count = len(names)
    if not count:
        nan = math.nan
        return Ratio(mean=nan, standard_error=nan, pooled=nan, trajectories=0, records=0)
    ours = np.bincount(which, error, count)
    theirs = np.maximum(np.bincount(which, reference, count), 1e-12)
    ratios = ours / theirs
    return Ratio(
        mean=float(ratios.mean()),
        standard_error=standard_error(ratios),
        pooled=float(ours.sum() / theirs.sum()),
        trajectories=count,
        records=int(rows.sum()),
    )


def checks(
    modalities: tuple[Modality, ...],
    ratios: dict[str, dict[str, dict[str, dict[str, Ratio]]]],
) -> list[dict[str, Any]]:
    """Return each requirement with its number and whether it holds.

    Args:
        modalities: Of the model.
        ratios: subset -> target -> condition -> region -> Ratio.
    """
    cameras = {m.name for m in images(modalities)}
    found = []
    for subset, targets in ratios.items():
        seen = set(subset.split("+")) & cameras
        for target, conditions in targets.items():
            rule = "same camera" if target in seen else "other camera" if seen else "no camera"
            for condition, regions in conditions.items():
                for region, ratio in regions.items():
                    where = {
                        "rule": rule,
                        "subset": subset,
                        "target": target,
                        "condition": condition,
                        "region": region,
                    }
                    found.append(where | _check(rule, ratio))
    return found


def _check(rule: str, ratio: Ratio) -> dict[str, Any]:
    if rule == "no camera":
        value = ratio.mean + BLIND_STANDARD_ERRORS * ratio.standard_error
        text = f"mean + {BLIND_STANDARD_ERRORS:g} standard errors < 1"
        return {"requirement": text, "value": value, "passed": value < 1.0} | asdict(ratio)
    limit = SAME_CAMERA_LIMIT if rule == "same camera" else OTHER_CAMERA_LIMIT
    text = f"mean <= {limit:g}"
    return {"requirement": text, "value": ratio.mean, "passed": ratio.mean <= limit} | asdict(ratio)
