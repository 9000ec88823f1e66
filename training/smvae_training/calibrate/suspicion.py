"""Calibrate suspicion on sequences of records that the model was not trained on.

N records in order, R pairs of a record and a set of others, M modality, Z latent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from smvae_core.model.smvae import SMVAE
from smvae_core.novelty.scale import MovedTail, Tail, Values, reconstruction
from smvae_core.novelty.suspicion import (
    EVIDENCE,
    FAST,
    LAG_S,
    LONGEST_LAG_S,
    MISFIT,
    NARROWEST_STILLNESS,
    STILLNESS,
    Span,
    Suspicion,
    blamed,
    change,
    excusing,
    given,
    limit,
    scale_key,
    stillness,
)
from smvae_core.preprocessing import Statistics
from smvae_core.presence import features
from smvae_core.subsets import FEW_SENSORS
from smvae_datasets.dataset import Dataset
from smvae_training.calibrate.novelty import (
    LEAST_RECORDS,
    MAX_RECORDS,
    ROWS,
    NotCalibrated,
    moved_tail,
    scale,
)
from smvae_training.evaluate.predict import CHUNK, Predictor
from smvae_training.evaluate.records import Records
from smvae_training.steps.subsets import subset_rows

#: Records are taken so far apart [s], about as a sensor is judged live.
SPACING_S = 0.2


class NoSequences(NotCalibrated):
    """The records have no order in time, or lie too far apart."""


class Sequences(NamedTuple):
    """Records in the order of their groups, then of time."""

    records: Records
    at_s: NDArray[np.float64]
    """(N,) within the group."""

    @classmethod
    def of(cls, data: Dataset, index: NDArray[np.int64]) -> Sequences:
        """Return some of the records `index`: spaced, and from the begin of each group.

        Raises:
            NoSequences: If hardly a record has one shortly before it, as in an image set.
        """
        found: list[list[int]] = []
        for group in np.unique(data.group[index]):
            rows = index[data.group[index] == group]
            rows = rows[np.argsort(data.stamp_ns[rows], kind="stable")]
            taken: list[int] = []
            for row in rows.tolist():
                since_ns = int(data.stamp_ns[row] - data.stamp_ns[taken[-1]]) if taken else None
                if since_ns is None or since_ns >= 0.95 * SPACING_S * 1e9:
                    taken.append(row)
            found.append(taken[: max(1, MAX_RECORDS // len(np.unique(data.group[index])))])
        chosen = np.array([row for taken in found for row in taken], np.int64)
        sequences = cls(
            Records.of(data, chosen, len(chosen)), data.stamp_ns[chosen].astype(np.float64) * 1e-9
        )
        if (count := int((sequences.before >= 0).sum())) < LEAST_RECORDS:
            raise NoSequences(
                f"{count} held-out records come {LAG_S:g} to {LONGEST_LAG_S:g} s after another, "
                f"{LEAST_RECORDS} are needed"
            )
        return sequences

    @property
    def before(self) -> NDArray[np.int64]:
        """(N,) the newest record that is long enough before each; -1 where there is none."""
        found = np.full(len(self.at_s), -1, np.int64)
        group, at_s = self.records.group, self.at_s
        for row in range(len(at_s)):
            other = row - 1
            while other >= 0 and group[other] == group[row] and at_s[row] - at_s[other] < LAG_S:
                other -= 1
            near = other >= 0 and at_s[row] - at_s[other] <= LONGEST_LAG_S
            if near and group[other] == group[row]:
                found[row] = other
        return found


def calibrate_suspicion(
    model: SMVAE, statistics: Mapping[str, Statistics], held_out: Sequences
) -> Suspicion:
    """Return the scales and limits of suspicion.

    Args:
        model: Trained model.
        statistics: Per modality, from the training data.
        held_out: Records that the model was not trained on.
    """
    measured = _Statistics(Predictor(model, statistics, held_out.records), held_out)
    names = model.names
    few = len(names) <= FEW_SENSORS
    found = Suspicion(
        names=names,
        scales=_scales(measured) if few else {},
        any_others={} if few else _any_others(measured),
    )
    most, contradiction = _most(measured, found)
    return replace(
        found,
        limits={n: {k: limit(v) for k, v in each.items()} for n, each in most.items()},
        contradiction=limit(contradiction),
        calibration={
            "records": len(held_out.records),
            "groups": len(np.unique(held_out.records.group)),
            "most": most | {"contradiction": contradiction},
        },
    )


class _Statistics:
    """The statistics of a predictor's records given any others."""

    def __init__(self, predictor: Predictor, sequences: Sequences) -> None:
        self._predictor = predictor
        self.names = predictor.model.names
        self.recorded: NDArray[np.bool_] = predictor.recorded.numpy()
        self.group, self.at_s = sequences.records.group, sequences.at_s
        self.before = sequences.before
        self.given = cache(self._given)

    def is_image(self, name: str) -> bool:
        """Return whether a sensor's samples are pictures."""
        return self._predictor.model.modality(name).is_image

    def _moves(self, name: str) -> bool:
        """Return whether a sensor's live samples are never quite the same."""
        modality = self._predictor.model.modality(name)
        x = self._predictor.inputs[name][:1].numpy()
        return modality.family.second_differences(modality, x) is not None

    def of(
        self,
        name: str,
        record: NDArray[np.int64],
        present: NDArray[np.bool_],
    ) -> dict[str, Values]:
        """Return the statistics (R,) of a sensor in some records given others (R, M).

        NaN where the record does not hold the sensor, or has none before it to compare with.
        """
        column = self.names.index(name)
        x = self._predictor.inputs[name].numpy()
        foretold = self._foretold(name, record, present)
        error = reconstruction(self._predictor.model.modality(name), x[record], foretold)
        found = {MISFIT: np.where(self.recorded[record, column], error, np.nan)}
        if not self._moves(name):
            return found
        before = self.before[record]
        same = (self.recorded[before] >= present).all(axis=1) & self.recorded[before, column]
        held = np.flatnonzero((before >= 0) & same & self.recorded[record, column])
        value = np.full(len(record), np.nan)
        past = self._foretold(name, before[held], present[held])
        own = change(x[record[held]], x[before[held]])
        value[held] = stillness(change(foretold[held], past), own)
        return found | {STILLNESS: value}

    def _foretold(
        self, name: str, record: NDArray[np.int64], present: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        model = self._predictor.model
        if not len(record):
            return np.zeros((0, *model.modality(name).shape), np.float32)
        z = self._predictor.posterior_of_rows(record, present).mean
        with torch.inference_mode():
            parts = [model.reconstruct(part, [name])[name].numpy() for part in z.split(CHUNK)]
        return np.concatenate(parts)

    def _given(self, name: str, others: tuple[str, ...]) -> dict[str, Values]:
        """Return the statistics (N,) of a sensor given others; NaN where a record lacks one."""
        columns = [self.names.index(n) for n in (name, *others)]
        record = np.flatnonzero(self.recorded[:, columns].all(axis=1))
        present = np.tile([n in others for n in self.names], (len(record), 1))
        found: dict[str, Values] = {}
        for statistic, value in self.of(name, record, present).items():
            found[statistic] = np.full(len(self.at_s), np.nan)
            found[statistic][record] = value
        return found


def _scales(measured: _Statistics) -> dict[str, Tail]:
    """Return the scale of every sensor given every set of others."""
    found: dict[str, Tail] = {}
    for name in measured.names:
        rest = [n for n in measured.names if n != name]
        sets = [s for size in range(1, len(rest) + 1) for s in combinations(rest, size)]
        for others in sets:
            for statistic, value in measured.given(name, others).items():
                known = np.isfinite(value)
                if known.sum() >= LEAST_RECORDS:
                    tail = scale(value[known], measured.group[known])
                    found[scale_key(statistic, name, others)] = _no_narrower(statistic, tail)
    return found


def _any_others(measured: _Statistics) -> dict[str, MovedTail]:
    """Return scales that are functions of which others are present."""
    rows = subset_rows(measured.recorded, measured.names, ROWS, seed=0)
    found: dict[str, MovedTail] = {}
    for column, name in enumerate(measured.names):
        given = ~rows.present[:, column]
        values = measured.of(name, rows.record[given], rows.present[given])
        for statistic, value in values.items():
            known = np.isfinite(value)
            if known.sum() < LEAST_RECORDS:
                continue
            group = measured.group[rows.record[given][known]]
            moved = moved_tail(features(rows.present[given][known]), value[known], group)
            tail = _no_narrower(statistic, moved.tail)
            found[f"{statistic}/{name}"] = replace(moved, tail=tail)
    return found


def _no_narrower(statistic: str, tail: Tail) -> Tail:
    if statistic != STILLNESS:
        return tail
    return replace(tail, slope=min(tail.slope, 1.0 / (NARROWEST_STILLNESS * np.log(10.0))))


def _most(measured: _Statistics, scales: Suspicion) -> tuple[dict[str, dict[str, float]], float]:
    """Return the most evidence that the records reach, by `given` and by name; contradiction."""
    names = measured.names
    found: dict[str, dict[str, float]] = {}
    contradiction = 0.0
    for name in names:
        rest = tuple(n for n in names if n != name)
        least = 2 if len(names) <= FEW_SENSORS else max(len(rest), 2)
        for size in range(least, len(rest) + 1):
            for others in combinations(rest, size):
                most, against = _evidence(measured, scales, name, others)
                if most:
                    found[given(name, others)] = most
                    contradiction = max(contradiction, against)
    return found, contradiction


def _evidence(
    measured: _Statistics, scales: Suspicion, name: str, others: tuple[str, ...]
) -> tuple[dict[str, float], float]:
    """Return the most evidence against a sensor given others, by name, and contradiction.

    Of an image not the slow one: where colours or light are unusual they are so for a whole scene.
    """
    surprises = _surprises(measured, scales, name, others)
    fewer = [_surprises(measured, scales, name, each) for each in excusing(others)]
    slow = f"{MISFIT}/slow" if measured.is_image(name) else ""
    asked = [key for key in EVIDENCE if key != slow]
    spans: dict[str, Span] = {}
    most: dict[str, float] = {}
    for row in range(len(measured.at_s)):
        if row == 0 or measured.group[row] != measured.group[row - 1]:
            spans = {key: Span(EVIDENCE[key][1]) for key in asked} | {"": Span(FAST)}
        for key, span in spans.items():
            statistic = EVIDENCE[key][0] if key else MISFIT
            values = surprises.get(statistic)
            if values is None or np.isnan(values[row]):
                continue
            surprise = float(values[row])
            if key:
                surprise = blamed(statistic, surprise, (float(e[statistic][row]) for e in fewer))
            span.add(float(measured.at_s[row]), surprise)
            if np.isfinite(span.evidence):
                most[key] = max(most.get(key, 0.0), float(span.evidence))
    against = most.pop("", 0.0)
    return most, against


def _surprises(
    measured: _Statistics, scales: Suspicion, name: str, others: tuple[str, ...]
) -> dict[str, Values]:
    """Return the surprises (N,) of a sensor given others by statistic, NaN where there is none."""
    found: dict[str, Values] = {}
    for statistic, value in measured.given(name, others).items():
        surprise = scales.surprise(statistic, name, others, value)
        found[statistic] = np.where(np.isnan(value), np.nan, surprise)
    return found
