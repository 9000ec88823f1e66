"""One episode of a LeRobot folder as a recording: a row gives one message of each column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.bags import BagTopic
from smvae_core.errors import one_line
from smvae_core.files import git_lfs
from smvae_datasets.lerobot.folder import EpisodeEntry, LeRobotError, LeRobotFolder
from smvae_datasets.lerobot.messages import (
    NumbersMessage,
    compressed_message,
    image_message,
    message_type,
)
from smvae_datasets.lerobot.video import frames, pixels

#: Stamps begin here, since a LeRobot folder has no clock and a stamp of zero is none.
BEGIN_NS = 1_000_000_000
#: Rows that are in memory at once.
_ROWS = 64


class LeRobotEpisode:
    """An episode; use it in a `with` block."""

    def __init__(
        self,
        folder: LeRobotFolder,
        entry: EpisodeEntry,
        forgive: Callable[[str], None] = lambda fault: None,
    ) -> None:
        """Look at one of a folder's `present`; nothing is opened yet.

        Args:
            folder: That it lies in.
            entry: Where it lies.
            forgive: Called with a line about frames that a video lacks.
        """
        self.folder, self.entry, self._forgive = folder, entry, forgive
        self.path: Path = entry.data
        self.name = entry.name
        self._compared: set[str] = set()
        length = entry.length if entry.length > 0 else self._counted()
        self.begin_ns = BEGIN_NS
        self.end_ns = BEGIN_NS + round(length / folder.fps * 1e9)
        self.topics = {
            name: BagTopic(name=name, message_type=message_type(f), messages=length, latched=False)
            for name, f in folder.features.items()
            if f.is_read and (f.dtype != "video" or entry.has_video(name))
        }
        self.lost: Counter[str] = Counter()
        """Topic -> rows that lack it: no frame in its video, an empty cell, a file not there."""

    def _counted(self) -> int:
        """Return how many rows there are, where `meta` says that there are none."""
        import pyarrow as pa

        try:
            return len(_Index.of(self.path, self.entry.index).seconds)
        except (OSError, ValueError, KeyError, pa.ArrowException):
            return 0  # `messages` says why

    def __enter__(self) -> LeRobotEpisode:
        return self

    def __exit__(self, *_: object) -> None: ...

    def messages(self, topics: Collection[str] | None = None) -> Iterator[tuple[str, int, Any]]:
        """Yield (feature, stamp, cell) row by row; the stamp is the receive time too.

        A row that has nothing of a feature, such as no frame in its video, is counted in `lost`,
        and said; so is a table of other than the named length.

        Raises:
            LeRobotError: If the table is damaged, or lacks a feature that `meta` names.
        """
        wanted = [name for name in self.topics if topics is None or name in topics]
        videos = {
            name: _Player(*self.entry.videos[name], 0.5 / self.folder.fps)
            for name in wanted
            if self.folder.features[name].dtype == "video"
        }
        rows, absent = 0, dict.fromkeys(wanted, "are empty")
        for name in wanted:
            del self.lost[name]
        try:
            for second, row in self._rows([name for name in wanted if name not in videos]):
                rows += 1
                stamp_ns = BEGIN_NS + round(second * 1e9)
                for name in wanted:
                    cell = videos[name].at(second) if name in videos else row[name]
                    if missing := self._missing(name, cell):
                        absent[name] = f"name files that are not there, such as {missing}"
                    if cell is None or missing:
                        self.lost[name] += 1
                        continue
                    yield name, stamp_ns, (stamp_ns, cell)
        finally:
            for video in videos.values():
                video.close()
        if rows != self.entry.length:
            self._forgive(f"{self.name} has {rows} rows, meta says {self.entry.length}")
        for name, video in videos.items():
            absent[name] = "have no frame" + (f": {video.fault}" if video.fault else "")
        for name in wanted:
            if self.lost[name]:
                self._forgive(f"{name}: {self.lost[name]} of {rows} rows {absent[name]}")

    def _rows(self, columns: list[str]) -> Iterator[tuple[float, dict[str, Any]]]:
        """Yield (time [s], cells) of the episode, a few rows in memory at once."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        try:
            found = self._index()
            times = iter(self._times(found))
            with pq.ParquetFile(found.path) as file:
                lacking = [c for c in columns if c not in file.schema_arrow.names]
                if lacking:
                    raise ValueError(f"no column {', '.join(lacking)}")
                for batch in file.iter_batches(_ROWS, found.groups, ["episode_index", *columns]):
                    batch = batch.filter(pc.equal(batch["episode_index"], self.entry.index))
                    cells = {name: _cells(batch[name]) for name in columns}
                    self._compare(cells)
                    for at in range(len(batch)):
                        yield next(times), {name: cells[name][at] for name in columns}
        except (OSError, ValueError, KeyError, pa.ArrowException) as err:
            why = git_lfs(self.path) or one_line(err)
            raise LeRobotError(self.folder.path, f"{self._place()}: {why}") from err

    def _index(self) -> _Index:
        """Return where the episode's rows are: in the table that `meta` names, or in another.

        Raises:
            OSError, ValueError, ArrowException: If the named table cannot be read.
        """
        found = _Index.of(self.path, self.entry.index)
        if len(found.seconds):
            return found
        for path in sorted(self.folder.path.glob("data/**/*.parquet")):
            other = _Index.of(path, self.entry.index) if path != self.path else found
            if len(other.seconds):
                there, named = (p.relative_to(self.folder.path) for p in (path, self.path))
                self._forgive(f"{self.name} is in {there}, meta says {named}")
                return other
        return found

    def _times(self, found: _Index) -> NDArray[np.float64]:
        """Return the time of each row in the episode [s].

        In LeRobot the first row is at 0, and a row follows the other by 1 / fps. Where the column
        holds another clock's times, they are brought there; where it does not even rise,
        `frame_index` tells the time.
        """
        seconds, told = found.seconds, found.frames / self.folder.fps
        if not (np.isfinite(seconds).all() and (np.diff(seconds) > 0).all()):
            self._forgive(
                f"{self.name}: timestamp does not rise, so rows are {self.folder.fps:g} per second"
            )
            return told
        if len(seconds) and abs(ahead := seconds[0] - told[0]) > 0.5 / self.folder.fps:
            self._forgive(
                f"{self.name}: timestamp begins at {seconds[0]:.6f} s where it should be "
                f"{told[0]:.6f} s; the difference is subtracted"
            )
            return seconds - ahead
        return seconds

    def _compare(self, cells: dict[str, Any]) -> None:
        """Say once of each feature that it has another size than `meta` says."""
        for name, values in cells.items():
            feature = self.folder.features[name]
            first = next((value for value in values if value is not None), None)
            if feature.is_image or name in self._compared or first is None:
                continue
            self._compared.add(name)
            has, said = np.size(first), int(np.prod(feature.shape))
            if has != said:
                self._forgive(f"{name} has {has} numbers, meta says {said}")

    def _place(self) -> str:
        return f"{self.path.relative_to(self.folder.path)}, {self.name}"

    def decode(self, topic: str, data: tuple[int, Any]) -> Any:
        """Return a cell as a message: JointState and numbers, Image, or CompressedImage."""
        stamp_ns, cell = data
        feature = self.folder.features[topic]
        if feature.dtype == "video":
            return image_message(pixels(cell), stamp_ns)
        if feature.dtype == "image":
            return compressed_message(self._file(cell), stamp_ns)
        return NumbersMessage(feature, cell, stamp_ns)

    def _file(self, cell: dict[str, Any]) -> bytes:
        """Return the bytes of an image that stands in the table, or in a file of its own."""
        if cell.get("bytes") is not None:
            return bytes(cell["bytes"])
        return (self.folder.path / str(cell.get("path"))).read_bytes()

    def _missing(self, name: str, cell: Any) -> str:
        """Return '' or the file of an image that a cell names and the folder lacks."""
        if cell is None or self.folder.features[name].dtype != "image" or cell.get("bytes"):
            return ""
        path = str(cell.get("path"))
        return "" if (self.folder.path / path).is_file() else path


@dataclass(frozen=True)
class _Index:
    """Which rows of a table are an episode's."""

    path: Path
    groups: list[int]
    """Row groups that may hold some."""
    seconds: NDArray[np.float64]
    """Of each row, as the table says."""
    frames: NDArray[np.int64]

    @classmethod
    def of(cls, path: Path, episode: int) -> _Index:
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            groups = _groups(file, episode)
            names = [c for c in ("timestamp", "frame_index") if c in file.schema_arrow.names]
            if "timestamp" not in names:
                raise ValueError("there is no column timestamp")
            table = file.read_row_groups(groups, ["episode_index", *names])
        table = table.filter(pc.equal(table["episode_index"], episode))
        seconds = table["timestamp"].to_numpy().astype(np.float64).reshape(-1)
        frames = np.arange(len(seconds))
        if "frame_index" in names:
            frames = table["frame_index"].to_numpy().astype(np.int64).reshape(-1)
        return cls(path, groups, seconds, frames)


class _Player:
    """A video that is asked for ever later times, and decodes each frame once."""

    def __init__(self, path: Path, begin_s: float, tolerance_s: float) -> None:
        self._begin_s, self._tolerance_s = begin_s, tolerance_s
        self._frames = frames(path, max(0.0, begin_s - tolerance_s))
        self._next: tuple[float, Any] | None = None
        self.fault = ""
        self._advance()

    def _advance(self) -> None:
        try:
            self._next = next(self._frames, None)
        except (OSError, ValueError) as err:  # what av raises
            self._next, self.fault = None, one_line(err)

    def at(self, second: float) -> Any | None:
        """Return the frame of a time of the episode, or None where the video has none."""
        wanted_s = self._begin_s + second
        while self._next is not None and self._next[0] < wanted_s - self._tolerance_s:
            self._advance()
        if self._next is None or self._next[0] > wanted_s + self._tolerance_s:
            return None
        return self._next[1]

    def close(self) -> None:
        self._frames.close()


def _groups(file: Any, episode: int) -> list[int]:
    """Return the row groups that may hold an episode, by their statistics."""
    column = file.schema_arrow.names.index("episode_index")
    found = []
    for number in range(file.metadata.num_row_groups):
        said = _flat_column(file.metadata.row_group(number), "episode_index", column)
        if said is None or not said.has_min_max or said.min <= episode <= said.max:
            found.append(number)
    return found


def _flat_column(group: Any, name: str, guess: int) -> Any:
    for number in (guess, *range(group.num_columns)):
        column = group.column(number)
        if column.path_in_schema == name:
            return column.statistics
    return None


def _array(column: Any) -> Any:
    return column.to_numpy(zero_copy_only=False)


def _cells(column: Any) -> Any:
    """Return a column's cells: a row of numbers (C,), or of an image its bytes and path."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_struct(kind):
        return column.to_pylist()
    is_whole = not column.null_count
    if pa.types.is_fixed_size_list(kind) and not pa.types.is_nested(kind.value_type) and is_whole:
        return _array(column.flatten()).reshape(len(column), kind.list_size)
    if pa.types.is_nested(kind):
        return [None if c is None else np.asarray(c).reshape(-1) for c in column.to_pylist()]
    return _array(column).reshape(-1, 1)
