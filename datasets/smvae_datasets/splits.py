"""Who trains and who is held out: seeded splits by whole trajectory, or sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError

SplitBy = Literal["trajectory", "sample", "given"]

#: Names of the parts that a data set brings, for splits by "given".
TEST_GROUPS = ("test", "held_out")
VALIDATION_GROUPS = ("valid", "validation")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Sorted, disjoint sample indices that together are all samples."""

    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    validation: NDArray[np.int64]
    """Empty unless a share was asked for."""
    by: SplitBy
    seed: int
    leaks: bool
    """True when neighbouring frames of one trajectory stand on both sides: scores are too good."""


def split(
    trajectory: NDArray[Any],
    *,
    by: SplitBy = "trajectory",
    held_out: float = 0.2,
    validation: float = 0.0,
    seed: int = 0,
    names: Sequence[str] = (),
) -> Split:
    """Split samples into train, held out and, if asked for, validation.

    Args:
        trajectory: (N,) integer, the trajectory of each sample; any labels, in any order.
        by: "trajectory" keeps all samples of one on one side. "sample" draws samples one by one, as
            the paper does ("70% of samples", so held_out=0.3); neighbouring frames, 50 ms apart,
            then stand on both sides, and the split is marked as leaking. "given" holds out the test
            part that the data set names; validation is its own part of that name, else a share
            drawn from the rest by sample.
        held_out: Share of the trajectories (or samples) held out, rounded, at least one.
        validation: Share for the third part; 0 for none, else at least one.
        seed: Same seed, same split on any machine. Held out does not depend on `validation`.
        names: Name of each trajectory, or part; read by "given" alone.

    Raises:
        ConfigError: If a share is outside its range, or too few trajectories leave a part empty.
    """
    labels = np.asarray(trajectory)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ConfigError(
            f"split: expected trajectory (N,) of integers, got {labels.shape} {labels.dtype}"
        )
    if by not in get_args(SplitBy):
        raise ConfigError(f"split: expected by one of {get_args(SplitBy)}, got '{by}'")
    if by == "given":
        return _given(labels, names, validation, seed)
    if not 0.0 < held_out < 1.0 or not 0.0 <= validation < 1.0 or held_out + validation >= 1.0:
        raise ConfigError(
            "split: expected 0 < --data.held-out, 0 <= --data.validation and a sum below 1, "
            f"got {held_out} and {validation}"
        )
    unit = np.arange(labels.size) if by == "sample" else np.unique(labels, return_inverse=True)[1]
    count = int(unit.max()) + 1 if unit.size else 0
    held_count = max(1, round(held_out * count))
    validation_count = max(1, round(validation * count)) if validation > 0 else 0
    if held_count + validation_count >= count:
        raise ConfigError(
            f"split by {by}: {count} {_plural(by)} leave a part empty with --data.held-out "
            f"{held_out} and --data.validation {validation}: expected at least "
            f"{2 + (validation > 0)}; record more of them, or cut a long recording "
            "(episodes.max_s in robot.yaml)"
        )
    order = np.random.default_rng(seed).permutation(count)
    part = np.zeros(count, np.int8)
    part[order[:held_count]] = 1
    part[order[held_count : held_count + validation_count]] = 2
    of_sample = part[unit]
    return Split(
        train=np.flatnonzero(of_sample == 0),
        held_out=np.flatnonzero(of_sample == 1),
        validation=np.flatnonzero(of_sample == 2),
        by=by,
        seed=seed,
        leaks=by == "sample",
    )


def _given(labels: NDArray[Any], names: Sequence[str], validation: float, seed: int) -> Split:
    """Return the split that a data set brings with it."""
    parts = [i for i, name in enumerate(names) if name in TEST_GROUPS]
    held = np.isin(labels, parts)
    if not held.any() or held.all():
        have = ", ".join(names) or "none"
        raise ConfigError(f"split by given: the data set names no part 'test', it has {have}")
    own = np.isin(labels, [i for i, name in enumerate(names) if name in VALIDATION_GROUPS])
    if own.any():
        validation = 0.0
    rest = np.flatnonzero(~held & ~own)
    count = max(1, round(validation * labels.size)) if validation > 0 else 0
    if count >= rest.size:
        raise ConfigError(f"split by given: validation={validation} leaves no sample to train on")
    chosen = np.random.default_rng(seed).permutation(rest.size)[:count]
    is_validation = own.copy()
    is_validation[rest[chosen]] = True
    return Split(
        train=np.flatnonzero(~held & ~is_validation),
        held_out=np.flatnonzero(held),
        validation=np.flatnonzero(is_validation),
        by="given",
        seed=seed,
        leaks=False,
    )


def _plural(by: SplitBy) -> str:
    return "trajectories" if by == "trajectory" else "samples"
