"""Targets that nobody has to record: what the sensors of the next record say.

After Lee et al. 2020, "Making Sense of Vision and Touch": next contact, and how the end effector
moves until then. They are decoded, weighted and left out as recorded targets are. Their third
question, whether sensors belong together, is no fact of any one record: `steps/pairing.py`.

N records, C channels of a sensor, K numbers of a target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError
from smvae_core.messages.members import groups
from smvae_datasets.dataset import ArrayDataset, Dataset, DataSetError, Target, recorded_of
from smvae_training.config import PAIRING, TrainConfig
from smvae_training.run import split_episodes

#: Two records follow each other if they are at most this many usual steps apart.
_LONGEST_STEP = 1.5

Values = NDArray[np.float32]


class _Channels(NamedTuple):
    """Numbers of a sensor that belong together, such as the three of a force."""

    sensor: str
    unit: str
    fields: tuple[str, ...]
    values: Values
    """(N, C) or (N, C, T), in the sensor's unit; NaN where the record lacks the sensor."""

    @property
    def newest(self) -> Values:
        """(N, C) the last reading of a window."""
        return self.values if self.values.ndim == 2 else self.values[:, :, -1]


def target_name(option: str) -> str:
    """Return what the target of an option of `data.self_supervised` is called."""
    return f"next_{option}"


def computed_targets(config: TrainConfig) -> tuple[str, ...]:
    """Return the names of the targets that a configuration computes from the sensors."""
    return tuple(target_name(o) for o in config.data.self_supervised if o != PAIRING)


def with_self_supervised(config: TrainConfig, data: Dataset) -> Dataset:
    """Return the records with the targets that `data.self_supervised` asks for, by their names.

    What is typical is measured on the run's training records, so the same run and data always give
    the same targets.

    Args:
        config: Of the run.
        data: All its records, as they were prepared.

    Raises:
        ConfigError: If no sensor tells what is asked for, or a name is taken.
        DataSetError: If records have no times.
    """
    asked = config.data.self_supervised
    if not asked:
        return data
    names = [m.name for m in data.sensors]
    for name in (*computed_targets(config), *(o for o in asked if o == PAIRING)):
        if name in names or name in data.targets:
            raise ConfigError(f"--data.self-supervised: the data have a '{name}' of their own")
    if PAIRING in asked and len(names) < 2:
        raise ConfigError(f"--data.self-supervised: pairing needs two sensors, have {names[0]}")
    if not computed_targets(config):
        return data
    following = next_records(data)
    train = split_episodes(config, data).train
    found = {target_name(o): _MAKERS[o](data, following, train) for o in asked if o in _MAKERS}
    return ArrayDataset(
        sensors=data.sensors,
        arrays=data.arrays,
        group=data.group,
        group_names=data.group_names,
        recorded=data.recorded,
        stamp_ns=data.stamp_ns,
        samples=data.samples,
        targets={**data.targets, **found},
        end_effector=data.end_effector,
        path=data.path,
    )


def next_records(data: Dataset) -> NDArray[np.int64]:
    """Return which record (N,) follows each one, -1 where none does.

    The next of the same group follows, at most 1.5 times the median step later.

    Raises:
        DataSetError: If no two records of a group differ in time.
    """
    order = np.lexsort((data.stamp_ns, data.group))
    step_ns = np.diff(data.stamp_ns[order])
    later = (np.diff(data.group[order]) == 0) & (step_ns > 0)
    if not later.any():
        what = "records have no times, so none follows another: --data.self-supervised needs it"
        raise DataSetError(data.path or "records", what)
    near = later & (step_ns <= _LONGEST_STEP * np.median(step_ns[later]))
    found = np.full(len(data), -1, np.int64)
    found[order[:-1][near]] = order[1:][near]
    return found


def _of_next(values: Values, following: NDArray[np.int64]) -> Values:
    """Return the values (N, K) of the next records, NaN where there is none."""
    there = (following >= 0)[:, None]
    return np.asarray(np.where(there, values[following], np.float32(np.nan)), np.float32)


def _next_contact(data: Dataset, following: NDArray[np.int64], train: NDArray[np.int64]) -> Target:
    """Return whether a force of the next record is far from the usual one.

    The usual force is the median of the training records: a tool's weight and a sensor's bias. The
    size of a record is the largest distance from it of any of its readings.
    """
    forces = _channels(data, "force")
    if not forces:
        raise _missing(data, "contact", "a sensor with a force, such as force.x")
    force = forces[0]
    readings = np.swapaxes(force.values.reshape(*force.values.shape[:2], -1), 1, 2)
    told = readings[train].reshape(-1, readings.shape[2])
    told = told[np.isfinite(told).all(axis=1)]
    if not len(told):
        raise ConfigError(f"--data.self-supervised: no training record holds '{force.sensor}'")
    usual = np.median(told, axis=0)
    size = np.linalg.norm(readings - usual, axis=2).max(axis=1)
    threshold = two_levels(size[train])
    touched = np.where(np.isnan(size), np.nan, size > threshold).astype(np.float32)[:, None]
    listed = ", ".join(f"{value:.3g}" for value in usual)
    rule = (
        f"whether the next record's {force.sensor} is more than {threshold:.3g} N from "
        f"({listed}) N, its median"
    )
    return Target(values=_of_next(touched, following), binary=True, rule=rule)


def two_levels(sizes: NDArray[Any]) -> float:
    """Return the threshold that parts sizes (N,) into two levels, by Otsu 1979 of their logarithm.

    NaN and zeros count nowhere.

    Raises:
        ConfigError: If they do not differ.
    """
    logs = np.sort(np.log(sizes[sizes > 0].astype(np.float64)))
    if len(logs) < 2 or logs[0] == logs[-1]:
        raise ConfigError("--data.self-supervised: contact: the training records' forces are equal")
    low = np.arange(1, len(logs))
    sums = np.cumsum(logs)
    apart = sums[:-1] / low - (sums[-1] - sums[:-1]) / (len(logs) - low)
    best = int(np.argmax(low * (len(logs) - low) * np.square(apart)))
    return float(np.exp(0.5 * (logs[best] + logs[best + 1])))


def _next_motion(data: Dataset, following: NDArray[np.int64], _: NDArray[np.int64]) -> Target:
    """Return how far a position moves until the next record; else what is commanded there.

    The position of a sensor, of joints or of a pose, comes first, then that of the end effector
    where the data tell it beside the sensors.
    """
    positions, commands = _channels(data, "position"), _channels(data, "linear", "angular")
    if positions:
        source, unit, fields, frame = *positions[0][:3], ""
        place = positions[0].newest
    elif data.end_effector is not None:
        told = data.end_effector
        source, unit, fields, frame = "the end effector", told.unit, told.fields, told.frame_id
        place = told.values
    elif commands:
        parts = [c for c in commands if c.sensor == commands[0].sensor]
        return Target(
            values=_of_next(np.concatenate([c.newest for c in parts], axis=1), following),
            unit=", ".join(c.unit for c in parts),
            fields=tuple(field for c in parts for field in c.fields),
            rule=f"the next record's {commands[0].sensor}",
        )
    else:
        raise _missing(data, "motion", "a sensor with a position or a twist, such as position.j1")
    moved = _of_next(place, following) - place
    if unit == "rad":  # a joint that turns on and on
        moved = np.where(np.abs(moved) > np.pi, moved - 2.0 * np.pi * np.sign(moved), moved)
    return Target(
        values=moved.astype(np.float32),
        unit=unit,
        fields=fields,
        frame_id=frame,
        rule=f"how far {source} moves until the next record",
    )


_MAKERS: dict[str, Callable[[Dataset, NDArray[np.int64], NDArray[np.int64]], Target]] = {
    "contact": _next_contact,
    "motion": _next_motion,
}


def _channels(data: Dataset, *wanted: str) -> list[_Channels]:
    """Return the numbers of every sensor that stand below a member of one of the names."""
    found = []
    for modality in data.sensors:
        held = recorded_of(data, modality.name)
        for group, (unit, rows) in groups(modality.fields, modality.unit).items():
            if group not in wanted:
                continue
            values = np.asarray(data.arrays[modality.name][:, rows], np.float32)
            there = held.reshape(-1, *(1,) * (values.ndim - 1))
            values = np.where(there, values, np.float32(np.nan))
            fields = tuple(modality.fields[row] for row in rows)
            found.append(_Channels(modality.name, unit, fields, values))
    return found


def _missing(data: Dataset, option: str, what: str) -> ConfigError:
    have = ", ".join(f"'{m.name}'" for m in data.sensors)
    return ConfigError(f"--data.self-supervised: {option} needs {what}; have {have}")
