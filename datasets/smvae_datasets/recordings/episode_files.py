"""The files of one episode, HDF5, written and read; `docs/episodes.md` says what stands in them.

An episode is a row of parts of bounded size. Each part is made in memory and moved into place, so
that there is no half file, and a full disk is an error that names the file.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from smvae_core.files import write_bytes
from smvae_core.modality import Modality
from smvae_datasets.dataset import DataSetError
from smvae_datasets.recordings.coding import Coded, Coding, decode, encode
from smvae_datasets.recordings.declared import FORMAT
from smvae_datasets.unreadable import why_unreadable

#: Size at which a part is written.
PART_BYTES = 32 * 2**20
#: What a number's sample takes in lists beside its bytes.
_OVERHEAD_BYTES = 200
#: Images that may wait for being encoded.
_WAITING = 8
#: No sample of a sensor belongs to a step.
NONE = -1


class _Kept:
    """Samples of one sensor, or of one target, that wait for being written."""

    def __init__(self) -> None:
        self.first = 0
        """Number of the first one, counted through the episode."""
        self.stamps: list[int] = []
        self.arrivals: list[int] = []
        self.clocks: list[int] = []
        """What the node's clock said when each arrived."""
        self.values: list[Any] = []

    def clear(self) -> None:
        self.first += len(self.stamps)
        for kept in (self.stamps, self.arrivals, self.clocks, self.values):
            kept.clear()


class EpisodeWriter:
    """Writes one episode as it goes; memory holds a part of it at most."""

    def __init__(
        self,
        folder: Path,
        number: int,
        sensors: Sequence[Modality],
        targets: Mapping[str, Sequence[str]],
        units_m: Mapping[str, float],
        pool: Executor,
    ) -> None:
        """Start empty; nothing is written yet.

        Args:
            folder: Of the recording; there already.
            number: Of the episode.
            sensors: In the robot's order.
            targets: Names of the numbers of each target.
            units_m: Of each sensor's depth, see `coding.encode`.
            pool: Encodes images, and writes.
        """
        self.files: list[Path] = []
        self.steps = 0
        self.counts = {m.name: 0 for m in sensors}
        """Samples of each sensor."""
        self.first_ns = self.last_ns = 0
        """When the first and the last step were taken."""
        self._folder, self._number, self._pool = folder, number, pool
        self._sensors = {m.name: m for m in sensors}
        self._targets, self._units_m = dict(targets), dict(units_m)
        self._kept = {name: _Kept() for name in (*self._sensors, *self._targets)}
        self._steps: list[tuple[int, int, tuple[int, ...]]] = []
        self._waiting: deque[Future[Coded]] = deque()
        self._writing: Future[None] | None = None
        self._bytes = 0

    @property
    def seconds(self) -> float:
        """Time from the first to the last step."""
        return (self.last_ns - self.first_ns) * 1e-9

    def add(
        self, name: str, stamp_ns: int, arrival_ns: int, value: NDArray[Any], clock_ns: int
    ) -> int:
        """Keep a sample and return its number in the episode; `clock_ns` is the node's clock.

        Raises:
            OSError: If a part cannot be written; names it.
        """
        kept: Any = value
        if self._sensors[name].is_image:
            kept = self._pool.submit(encode, value, self._units_m[name])
            self._waiting.append(kept)
            if len(self._waiting) > _WAITING:
                self._bytes += len(self._waiting.popleft().result().data)
        self._add(name, stamp_ns, arrival_ns, kept, clock_ns)
        self.counts[name] += 1
        return self.counts[name] - 1

    def add_target(
        self, name: str, stamp_ns: int, arrival_ns: int, value: NDArray[np.float32]
    ) -> None:
        """Keep what was recorded of a target."""
        self._add(name, stamp_ns, arrival_ns, value, arrival_ns)

    def _add(self, name: str, stamp_ns: int, arrival_ns: int, value: Any, clock_ns: int) -> None:
        kept = self._kept[name]
        kept.clocks.append(clock_ns)
        kept.stamps.append(stamp_ns)
        kept.arrivals.append(arrival_ns)
        kept.values.append(value)
        self._bytes += _OVERHEAD_BYTES
        if self._bytes > PART_BYTES:
            self._flush()

    def add_step(self, reference_ns: int, taken_ns: int, samples: tuple[int, ...]) -> None:
        """Keep a step: the number of each sensor's sample, or `NONE`."""
        self._steps.append((reference_ns, taken_ns, samples))
        self.first_ns = self.first_ns or taken_ns
        self.last_ns = taken_ns
        self.steps += 1

    def close(self) -> None:
        """Write what is left.

        Raises:
            OSError: If a part cannot be written; names it.
        """
        self._flush()
        self._written()

    def _written(self) -> None:
        """Wait until the last part is written."""
        if self._writing is not None:
            self._writing.result()

    def discard(self) -> None:
        """Remove what was written."""
        self._written()
        for path in self.files:
            path.unlink()

    def _flush(self) -> None:
        content = io.BytesIO()
        with h5py.File(content, "w") as file:
            file.attrs["format"] = FORMAT
            for name in self._sensors:
                self._write_sensor(file.create_group(f"sensors/{name}"), name)
            for name, fields in self._targets.items():
                group = file.create_group(f"targets/{name}")
                group.attrs["fields"] = list(fields)
                values = np.array(self._kept[name].values, np.float32).reshape(-1, len(fields))
                self._write_stamps(group, name)
                _create(group, "values", values)
            group = file.create_group("steps")
            rows = [row for _, _, row in self._steps]
            samples = np.array(rows, np.int64).reshape(-1, len(self._sensors))
            group.attrs["sensors"] = list(self._sensors)
            _create(group, "reference_ns", np.array([s[0] for s in self._steps], np.int64))
            _create(group, "taken_ns", np.array([s[1] for s in self._steps], np.int64))
            _create(group, "sample", samples)
        path = self._folder / f"{self._number:04d}.{len(self.files):03d}.h5"
        self._written()
        self._writing = self._pool.submit(write_bytes, path, content.getbuffer())
        self.files.append(path)
        for kept in self._kept.values():
            kept.clear()
        self._steps.clear()
        self._waiting.clear()
        self._bytes = 0

    def _write_sensor(self, group: h5py.Group, name: str) -> None:
        modality, kept = self._sensors[name], self._kept[name]
        group.attrs["kind"], group.attrs["unit"] = modality.kind, modality.unit
        group.attrs["first"] = kept.first
        self._write_stamps(group, name)
        if not modality.is_image:
            shape = modality.shape[:1] if modality.family.is_window else modality.shape
            shape = np.shape(kept.values[0]) if kept.values else shape
            _create(group, "values", np.array(kept.values, np.float32).reshape(-1, *shape))
            return
        images = [future.result() for future in kept.values]
        shapes = np.zeros((len(images), 3), np.int32)
        for row, image in zip(shapes, images, strict=True):
            row[: len(image.shape)] = image.shape
        group.attrs["unit_m"] = self._units_m[name]
        group.create_dataset("bytes", data=np.frombuffer(b"".join(i.data for i in images), "u1"))
        _create(group, "end", np.cumsum([len(i.data) for i in images], dtype=np.int64))
        _create(group, "shape", shapes)
        _create(group, "coding", np.array([i.coding for i in images], np.uint8))

    def _write_stamps(self, group: h5py.Group, name: str) -> None:
        kept = self._kept[name]
        _create(group, "stamp_ns", np.array(kept.stamps, np.int64))
        _create(group, "arrival_ns", np.array(kept.arrivals, np.int64))
        if kept.clocks != kept.arrivals:
            _create(group, "clock_ns", np.array(kept.clocks, np.int64))


def _open(path: Path) -> h5py.File:
    try:
        part = h5py.File(path, "r")
    except OSError as err:
        if told := why_unreadable(path, err):
            raise DataSetError(path, told) from err
        hint = "remove the folder of the recording and run `smvae episodes` again"
        raise DataSetError(path, f"cannot be read: {err}", hint=hint) from err
    if (found := part.attrs.get("format")) != FORMAT:
        part.close()
        raise DataSetError(path, "format of episodes", expected=FORMAT, got=found)
    return part


def _create(group: h5py.Group, name: str, values: NDArray[Any]) -> None:
    """Write an array, compressed where there is something to compress."""
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if len(values) else {}
    group.create_dataset(name, data=values, **packed)


class EpisodeFiles:
    """One episode, open for reading; numbers are read whole, images one at a time."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Open the parts, in order.

        Raises:
            DataSetError: If one is missing, damaged or of another format.
        """
        self.path = files[0]
        self._stack = ExitStack()
        self._parts: list[h5py.File] = []
        self._images: dict[str, list[tuple[int, h5py.Group, NDArray[np.int64]]]] = {}
        for path in files:
            with self._closing_if_it_fails():
                self._parts.append(self._stack.enter_context(_open(path)))

    @contextmanager
    def _closing_if_it_fails(self) -> Iterator[None]:
        try:
            yield
        except DataSetError:
            self._stack.close()
            raise

    def __enter__(self) -> EpisodeFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def array(self, name: str) -> NDArray[Any]:
        """Return a data set of all parts, one behind the other, e.g. 'sensors/wrist/stamp_ns'."""
        found = [part[name][()] for part in self._parts if len(part[name])]
        return np.concatenate(found) if found else np.asarray(self._parts[0][name][()])

    def clock_ns(self, sensor: str) -> NDArray[np.int64]:
        """Return what the node's clock said when each sample came: receive time, or /clock."""
        groups = [part[f"sensors/{sensor}"] for part in self._parts]
        found = [g["clock_ns" if "clock_ns" in g else "arrival_ns"][()] for g in groups]
        return np.concatenate(found)

    def has_target(self, target: str) -> bool:
        """Return whether the recording held the target's topic."""
        return f"targets/{target}" in self._parts[0]

    def fields(self, target: str) -> tuple[str, ...]:
        """Return the names of a target's numbers."""
        return tuple(map(str, self._parts[0][f"targets/{target}"].attrs["fields"]))

    def sensors(self) -> tuple[str, ...]:
        """Return the sensors in the order of the columns of 'steps/sample'."""
        return tuple(map(str, self._parts[0]["steps"].attrs["sensors"]))

    def image(self, name: str, number: int) -> NDArray[Any]:
        """Return one image of a sensor by its number in the episode.

        Raises:
            DataSetError: If its bytes are damaged.
        """
        if name not in self._images:
            groups = [part[f"sensors/{name}"] for part in self._parts]
            self._images[name] = [(int(g.attrs["first"]), g, g["end"][()]) for g in groups]
        first, group, end = next(f for f in reversed(self._images[name]) if f[0] <= number)
        row = number - first
        begin = int(end[row - 1]) if row else 0
        shape = tuple(int(side) for side in group["shape"][row] if side)
        data = group["bytes"][begin : int(end[row])].tobytes()
        try:
            return decode(Coded(data, shape, Coding(group["coding"][row])), group.attrs["unit_m"])
        except ValueError as err:
            raise DataSetError(self.path, f"image {number} of {name}: {err}") from err
