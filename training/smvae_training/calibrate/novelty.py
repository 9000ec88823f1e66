"""Calibrate the novelty score on records that the model was not trained on.

Records of one trajectory are alike, and the next trajectory differs as these do from each other. So
the tail of each statistic is widened to the surprises that each fold of trajectories gets from the
others' tail: a statistic that does not carry over, as the texture of a new cell, is trusted less.
Widening the tail of their maximum in the same way was tried and given up: with four trajectories it
is left to the worst statistic, and frozen images went from 65 to 9 % found, while false alarms went
from 0.3 to 0 %.

N records, M modality, Z latent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.errors import SMVAEError
from smvae_core.modality import Modality, all_subsets, subset_name
from smvae_core.model.distributions import Posterior
from smvae_core.model.smvae import SMVAE
from smvae_core.novelty.scale import (
    DEEP_SHARES,
    ERROR,
    SHARES,
    WARN,
    AnySubset,
    MovedTail,
    Novelty,
    Tail,
    Values,
    component,
    conflict,
    largest,
    reconstruction,
    texture,
)
from smvae_core.preprocessing import Statistics
from smvae_core.presence import COUNTS, features, fit_linear
from smvae_core.subsets import FEW_SENSORS, evaluated_subsets
from smvae_training.evaluate.predict import CHUNK, Predictor
from smvae_training.evaluate.records import Records
from smvae_training.steps.subsets import Rows, subset_rows

#: Held-out records that are used at most, every k-th; fewer than the least calibrate nothing.
MAX_RECORDS, LEAST_RECORDS = 1500, 100
#: Pairs of a record and a subset that functions of the presence vector are fitted to; fewest that
#: a tail of one size is fitted to; ridge penalty, in pairs.
ROWS, LEAST_ROWS, PENALTY = 6000, 1000, 10.0
#: Parts that take turns in being scored by the others' tails.
FOLDS = 5


class NotCalibrated(SMVAEError, ValueError):
    """The novelty score cannot be calibrated; says why and what would be right."""


def statistics_of(
    predictor: Predictor, subsets: Sequence[tuple[str, ...]] | None = None
) -> dict[str, dict[str, Values]]:
    """Return subset -> component -> statistic (N,) of a predictor's records.

    NaN where the record does not hold the whole subset; the subsets that are run by default.
    """
    found = _Statistics(predictor)
    chosen = evaluated_subsets(predictor.model.names) if subsets is None else subsets
    return {subset_name(subset): found.of_subset(subset) for subset in chosen}


class _Statistics:
    """The statistics of a predictor's records; what several subsets share is computed once."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.names = predictor.model.names
        self._posterior = cache(predictor.posterior)
        self.of_input = cache(self._of_input)

    def holding(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Return which records (N,) hold all of these modalities."""
        return np.asarray(self._predictor.holding(names))

    def rows(self) -> Rows:
        """Return pairs of a record and a subset, to fit functions of the presence vector to."""
        return subset_rows(self._predictor.recorded.numpy(), self.names, ROWS, seed=0)

    def of_subset(self, subset: tuple[str, ...]) -> dict[str, Values]:
        """Return every statistic (N,) of a subset by component."""
        posterior = self._posterior(subset)
        values: dict[str, Values] = {}
        for name in subset:
            error = self._error(name, slice(None), posterior.mean)
            values[component(subset, "reconstruction", name)] = error
            values |= self.of_input(name)
            if len(subset) > 1:
                rest = self._posterior(tuple(n for n in subset if n != name))
                apart = _apart(self._posterior((name,)), rest)
                values[component(subset, "conflict", name)] = apart
        return values

    def of_rows(self, rows: Rows) -> dict[str, Values]:
        """Return each statistic that depends on the subset, (R,), NaN where its sensor is absent.

        By component less the subset's name.
        """
        posterior = self._predictor.posterior_of_rows(*rows)
        found: dict[str, Values] = {}
        for column, name in enumerate(self.names):
            at = np.flatnonzero(rows.present[:, column])
            error, apart = np.full((2, len(rows.record)), np.nan)
            error[at] = self._error(name, rows.record[at], posterior.mean[at])
            at = np.flatnonzero(rows.present[:, column] & (rows.present.sum(axis=1) > 1))
            alone = np.arange(len(self.names)) == column
            record = rows.record[at]
            rest = self._predictor.posterior_of_rows(record, rows.present[at] & ~alone)
            apart[at] = _apart(_at(self._posterior((name,)), record), rest)
            found |= {f"reconstruction/{name}": error, f"conflict/{name}": apart}
        return found

    def _of_input(self, name: str) -> dict[str, Values]:
        """Return the statistics (N,) that an input has by itself, whatever the subset."""
        x = self._predictor.inputs[name].numpy()
        energy = _energies(self._predictor.model.modality(name), x)
        if energy is None:
            return {}
        return {f"texture/{name}": energy.max(axis=0), f"smooth/{name}": -energy.min(axis=0)}

    def _error(self, name: str, rows: Any, mean: Tensor) -> Values:
        model = self._predictor.model
        with torch.inference_mode():
            parts = [model.reconstruct(z, [name])[name].numpy() for z in mean.split(CHUNK)]
        x = self._predictor.inputs[name].numpy()[rows]
        return reconstruction(model.modality(name), x, np.concatenate(parts))


def _at(posterior: Posterior, index: NDArray[np.int64]) -> Posterior:
    """Return the posterior of some records."""
    shear = None if posterior.shear is None else posterior.shear[index]
    return Posterior(posterior.mean[index], posterior.log_var[index], shear)


def _apart(alone: Posterior, rest: Posterior) -> Values:
    pair = (alone, rest)
    return conflict(*(part.numpy() for p in pair for part in (p.mean, p.variance.log())))


def _energies(modality: Modality, x: NDArray[np.float32]) -> Values | None:
    """Return the texture (R, N) of inputs as a sensor at each of R rates would have given them.

    Episodes hold one reading per ms; live, a slower sensor's are joined by straight lines, which is
    smoother and not to be taken for a fault.
    """
    found = [texture(modality, slowed) for slowed in modality.family.slowed(modality, x)]
    return None if found[0] is None else np.stack([f for f in found if f is not None])


def calibrate(
    model: SMVAE,
    statistics: Mapping[str, Statistics],
    held_out: Records,
    *,
    data: Mapping[str, Any] | None = None,
) -> Novelty:
    """Return the scale of the novelty score for every subset.

    Args:
        model: Trained model.
        statistics: Per modality, from the training data.
        held_out: Records that the model was not trained on.
        data: What the records are, for the manifest.

    Raises:
        NotCalibrated: If there are too few records.
    """
    if len(held_out) < LEAST_RECORDS:
        raise NotCalibrated(f"{len(held_out)} held-out records, {LEAST_RECORDS} are needed")
    measured, group = _Statistics(Predictor(model, statistics, held_out)), held_out.group
    components: dict[str, Tail] = {}
    subsets: dict[str, Tail] = {}
    for subset in all_subsets(model.names) if len(model.names) <= FEW_SENSORS else ():
        if (held := measured.holding(subset)).sum() < LEAST_RECORDS:
            continue
        found = {k: v[held] for k, v in measured.of_subset(subset).items()}
        components |= {k: scale(v, group[held]) for k, v in found.items() if k not in components}
        subsets[subset_name(subset)] = Tail.fit(largest(components, found))
    general = None
    if len(subsets) < 2 ** len(model.names) - 1:
        components |= _scales_of_inputs(measured, group)
        general = _any_subset(measured, components, group)
    return Novelty(
        warn=WARN,
        error=ERROR,
        components=components,
        subsets=subsets,
        any_subset=general,
        calibration={
            **(data or {}),
            "records": len(held_out),
            "groups": len(np.unique(group)),
            "folds": int(folds(group).max()) + 1,
            "shares": list(SHARES),
        },
    )


def _scales_of_inputs(measured: _Statistics, group: NDArray[np.int32]) -> dict[str, Tail]:
    """Return the scales of the statistics that an input has by itself."""
    found: dict[str, Tail] = {}
    for name in measured.names:
        if (held := measured.holding([name])).sum() >= LEAST_RECORDS:
            values = measured.of_input(name)
            found |= {key: scale(v[held], group[held]) for key, v in values.items()}
    return found


def _any_subset(
    measured: _Statistics, inputs: Mapping[str, Tail], group: NDArray[np.int32]
) -> AnySubset:
    """Return the scales of subsets as functions of which sensors are present.

    A statistic's place and width are linear in features of the presence vector; what is left has
    one tail. The largest surprise has a tail for each number of sensors, from scales that have not
    seen its subset. All of it is fitted to pairs of a record and a subset.
    """
    rows = measured.rows()
    record, present = rows
    described = features(present)
    part = np.unique(present, axis=0, return_inverse=True)[1].reshape(-1) % FOLDS
    components: dict[str, MovedTail] = {}
    surprises: list[Values] = []
    for key, values in measured.of_rows(rows).items():
        known = present[:, measured.names.index(key.partition("/")[2])]
        if key.startswith("conflict/"):
            known = known & (present.sum(axis=1) > 1)
        if known.sum() < LEAST_RECORDS:
            continue
        components[key] = moved_tail(described[known], values[known], group[record[known]])
        found = np.zeros(len(values))
        for number in range(FOLDS):  # of subsets that this fold's scale has not seen
            inside = known & (part == number)
            others = known & (part != number)
            moved = moved_tail(described[others], values[others], group[record[others]])
            found[inside] = moved.surprise(described[inside], values[inside])
        surprises.append(found)
    for column, name in enumerate(measured.names):
        for key, values in measured.of_input(name).items():
            if key in inputs:
                found = inputs[key].surprise(values)[record]
                surprises.append(np.where(present[:, column], found, 0.0))
    top, count = np.max(surprises, axis=0), present.sum(axis=1)
    sizes = tuple(_near(top, count, size) for size in range(1, len(measured.names) + 1))
    return AnySubset(names=measured.names, components=components, sizes=sizes)


def moved_tail(known: Values, values: Values, group: NDArray[np.int32]) -> MovedTail:
    """Return the tail of a statistic (R,), from the features (R, F) of its subsets."""
    place = fit_linear(known, values, PENALTY)
    log_error = np.log(1e-3 + np.abs(values - known @ place))
    log_width = fit_linear(known[:, :COUNTS], log_error, PENALTY)
    moved = MovedTail(
        place=tuple(place.tolist()), log_width=tuple(log_width.tolist()), tail=Tail.fit(values)
    )
    return replace(moved, tail=scale(moved.standard(known, values), group))


def _near(values: Values, count: NDArray[np.int64], size: int) -> Tail:
    """Return the tail of values of subsets of a size, or nearly so until there are enough."""
    distance = np.abs(count - size)
    reach = np.sort(distance)[min(len(distance), LEAST_ROWS) - 1]
    return Tail.fit(values[distance <= reach], DEEP_SHARES)


def folds(group: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the fold (N,) of each record: whole groups, or blocks of the only one."""
    names, index = np.unique(group, return_inverse=True)
    if len(names) > 1:
        return index % min(FOLDS, len(names))
    return np.arange(len(group)) * FOLDS // len(group)


def scale(sample: Values, group: NDArray[np.int32]) -> Tail:
    """Return the scale of a statistic (N,), widened to what each fold scores by the others'."""
    fold = folds(group)
    scores = np.zeros(len(fold))
    for number in range(int(fold.max()) + 1):
        inside = fold == number
        scores[inside] = Tail.fit(sample[~inside]).surprise(sample[inside])
    return Tail.fit(sample).then(Tail.fit(scores))
