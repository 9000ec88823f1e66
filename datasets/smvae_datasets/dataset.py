"""What a data set offers to training and evaluation, whatever it was made from.

N records, M sensors, K numbers of a target. `recorded` says what a record holds: an array's slot
of what it does not hold is never read, whatever stands there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import SMVAEError
from smvae_core.modality import Modality

Records = TypeVar("Records", bound="ArrayDataset")


class DataSetError(SMVAEError, ValueError):
    """A data set that cannot be used; names file, place, expected, got and what would be right."""

    def __init__(
        self,
        path: Path | str,
        what: str,
        *,
        line: int | None = None,
        expected: object | None = None,
        got: object | None = None,
        hint: str = "",
    ) -> None:
        where = f"{path}" if line is None else f"{path}, line {line}"
        tail = f": expected {expected}, got {got}" if expected is not None else ""
        super().__init__(f"{where}: {what}{tail}" + (f"; {hint}" if hint else ""))


@dataclass(frozen=True, kw_only=True)
class Target:
    """What was recorded beside the sensors: asked of a latent, never observed by the model."""

    values: NDArray[np.float32]
    """(N, K), in `unit`; 0 or 1 of a binary target; NaN = not recorded."""
    unit: str = "1"
    binary: bool = False
    fields: tuple[str, ...] = ()
    """Name of each of the K numbers, e.g. 'x'; empty for numbers from 0."""
    states: tuple[str, ...] = ()
    """Of one binary number: what 0 and 1 are called, e.g. 'free' and 'contact'."""
    frame_id: str = ""
    """Frame that the numbers are in; empty = not declared, or they are in none."""
    rule: str = ""
    """How it was computed from the sensors, in words; empty = it was recorded."""

    def take(self, rows: NDArray[np.int64]) -> Target:
        return replace(self, values=self.values[rows])

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N,) True where all K numbers were recorded."""
        return np.asarray(np.isfinite(self.values).all(axis=1))

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each of the K numbers."""
        return self.fields or tuple(map(str, range(self.values.shape[1])))


class Dataset(Protocol):
    """N prepared records of M sensors, each in a group that a split keeps whole."""

    @property
    def sensors(self) -> tuple[Modality, ...]:
        """What can be observed, in the order of the columns of `recorded`."""

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Sensor name -> (N, *modality.shape) in the dtype of `preprocessing.prepare`."""

    @property
    def recorded(self) -> NDArray[np.bool_]:
        """(N, M) True where the record holds the sensor; every record holds at least one."""

    @property
    def stamp_ns(self) -> NDArray[np.int64]:
        """(N,) time of the record within its group; 0 where records have no time."""

    @property
    def samples(self) -> NDArray[np.int64] | None:
        """(N, M) number of the sample that a record holds, among those of its sensor and group.

        That of a slow sensor stands in several records. None = not known.
        """

    @property
    def group(self) -> NDArray[np.int32]:
        """(N,) index into `group_names`: the trajectory, or the published part."""

    @property
    def group_names(self) -> tuple[str, ...]:
        """Name of each group, e.g. trajectory names, or 'train' and 'test'."""

    @property
    def targets(self) -> Mapping[str, Target]:
        """Named targets of all records."""

    @property
    def end_effector(self) -> Target | None:
        """Where the end effector was, of data that tell it beside their sensors and targets."""

    @property
    def path(self) -> Path | None:
        """Folder or archive that the records come from."""

    def __len__(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class ArrayDataset:
    """A `Dataset` of arrays in memory or memory maps; without `recorded` nothing is missing."""

    sensors: tuple[Modality, ...]
    arrays: Mapping[str, NDArray[Any]]
    group: NDArray[np.int32]
    group_names: tuple[str, ...]
    recorded: NDArray[np.bool_] = None  # type: ignore[assignment]  # all, see __post_init__
    stamp_ns: NDArray[np.int64] = None  # type: ignore[assignment]  # 0, see __post_init__
    samples: NDArray[np.int64] | None = None
    targets: Mapping[str, Target] = field(default_factory=dict)
    end_effector: Target | None = None
    path: Path | None = None

    def __post_init__(self) -> None:
        """Fill in what was not given.

        Raises:
            DataSetError: If arrays, `recorded`, `samples` or targets are of other sizes, or a
                record holds no sensor at all.
        """
        count, names = len(self.group), [m.name for m in self.sensors]
        if self.recorded is None:
            full = np.broadcast_to(np.True_, (count, len(names)))
            object.__setattr__(self, "recorded", full)
        if self.stamp_ns is None:
            object.__setattr__(self, "stamp_ns", np.broadcast_to(np.int64(0), count))
        where = self.path or "records"
        if sorted(self.arrays) != sorted(names):
            raise DataSetError(where, "arrays", expected=names, got=sorted(self.arrays))
        sizes = {name: len(a) for name, a in self.arrays.items()}
        sizes |= {f"target {name}": len(t.values) for name, t in self.targets.items()}
        if self.end_effector is not None:
            sizes["end_effector"] = len(self.end_effector.values)
        for name, size in (sizes | {"stamp_ns": len(self.stamp_ns)}).items():
            if size != count:
                raise DataSetError(where, name, expected=f"{count} records", got=size)
        expected = (count, len(names))
        for what, table in (("recorded", self.recorded), ("samples", self.samples)):
            if table is not None and table.shape != expected:
                raise DataSetError(where, what, expected=expected, got=table.shape)
        if not (held := self.recorded.any(axis=1)).all():
            raise DataSetError(
                where, f"record {int(np.argmin(held))} holds no sensor; leave such records out"
            )

    def __len__(self) -> int:
        return len(self.group)

    def take(self: Records, rows: NDArray[np.int64]) -> Records:
        """Return some of the records."""
        place = self.end_effector
        return replace(
            self,
            arrays={name: a[rows] for name, a in self.arrays.items()},
            group=self.group[rows],
            recorded=self.recorded[rows],
            stamp_ns=self.stamp_ns[rows],
            samples=None if self.samples is None else self.samples[rows],
            targets={name: t.take(rows) for name, t in self.targets.items()},
            end_effector=None if place is None else place.take(rows),
        )


@dataclass(frozen=True, kw_only=True)
class ImageRecords(ArrayDataset):
    """N images with what belongs to them, in the order of the data set's files."""

    name: str
    """Data set as it stands in tables, e.g. 'mnist' or 'mnist_binarised': never to be mixed."""
    group_names: tuple[str, ...] = ("train", "test")
    origin: str = ""
    """What the images are where the name does not tell, e.g. 'simulated robot frames'."""
    published: bool = True
    """False for files that differ from the published ones, or have no published form."""


def recorded_of(data: Dataset, name: str) -> NDArray[np.bool_]:
    """Return which records (N,) hold the sensor `name`."""
    return data.recorded[:, [m.name for m in data.sensors].index(name)]


def holding(data: Dataset, index: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.int64]:
    """Return those of the records `index` that hold all of the sensors `names`."""
    return index[np.all([recorded_of(data, name)[index] for name in names], axis=0)]


def conditions(targets: Mapping[str, Target], count: int) -> dict[str, NDArray[np.bool_]]:
    """Return which of N records belong to each condition that scores tell apart.

    The two states of the first target that names them, the second state first, and 'all'.
    """
    found: dict[str, NDArray[np.bool_]] = {}
    for target in targets.values():
        if target.states and not found:
            value = target.values[:, 0]
            found = {target.states[1]: value > 0, target.states[0]: value == 0}
    return found | {"all": np.ones(count, bool)}
