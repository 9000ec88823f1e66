"""Damaged files of rosbag2 bags: what of them can be read, with one line for each fault.

A file is read as an undamaged one first. Only where that fails its records are taken one by one:
those that are whole are yielded, the others counted.
"""

from __future__ import annotations

import io
import sqlite3
import struct
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from smvae_core.bag_formats.files import (
    LAST_NS,
    MCAP_MAGIC,
    SQLITE_MAGIC,
    BagFile,
    Channel,
    CutShort,
    McapFile,
    SqliteFile,
    Stored,
    check_head,
    in_order,
    mcap_channels,
    sqlite_channels,
)
from smvae_core.errors import one_line

Forgive = Callable[[str], None]
#: Rows in a row that cannot be read, after which a table is taken to have ended.
_MISSED = 5000
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 3, 4, 5, 6
_RECORD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class Forgiving:
    """A file that is read as far as it can be."""

    def __init__(
        self,
        path: Path,
        strict: Callable[[Path], BagFile],
        salvaged: Callable[[Path, Forgive], BagFile],
        forgive: Forgive,
    ) -> None:
        """Open a file.

        Args:
            path: Of the file.
            strict: Opens an undamaged one.
            salvaged: Opens a damaged one.
            forgive: Told of each fault.

        Raises:
            Exception: If not even its channels can be read; of many types.
        """
        self._path, self._salvaged, self._forgive = path, salvaged, forgive
        self._file: BagFile
        self._strict = True
        try:
            self._file = strict(path)
        except Exception as err:  # what a damaged file makes sqlite, mcap and struct raise
            what = "was not closed" if isinstance(err, CutShort) else "is damaged"
            forgive(f"{path.name} {what}: {one_line(err)}; read to its last whole message")
            self._file, self._strict = salvaged(path, forgive), False
        self.channels = self._file.channels
        self.begin_ns, self.last_ns = self._file.begin_ns, self._file.last_ns

    def messages(self, numbers: Collection[int], begin_ns: int, end_ns: int) -> Iterator[Stored]:
        """See `BagFile`."""
        done = 0
        try:
            for found in self._file.messages(numbers, begin_ns, end_ns):
                yield found
                done += 1
        except GeneratorExit:
            raise
        except Exception as err:  # see above
            if not self._strict:
                raise
            self._forgive(f"{self._path.name} is damaged: {one_line(err)}; read without that")
            self._file, self._strict = self._salvaged(self._path, self._forgive), False
            yield from islice(self._file.messages(numbers, begin_ns, end_ns), done, None)


class SalvagedSqlite:
    """A .db3 file, row by row."""

    def __init__(self, path: Path, forgive: Forgive) -> None:
        """Read the channels.

        Raises:
            sqlite3.Error: If not even they can be read.
        """
        with path.open("rb") as file:
            check_head(file.read(len(SQLITE_MAGIC)), SQLITE_MAGIC, "an SQLite file")
        self._uri = f"{path.absolute().as_uri()}?immutable=1"
        counts: dict[int, int] = {}
        self.begin_ns, self.last_ns = LAST_NS, 0
        self.lost = 0
        with closing(self._connect()) as base:
            for number, time_ns, _ in self._rows(base, "length(data)"):
                counts[number] = counts.get(number, 0) + 1
                self.begin_ns, self.last_ns = (
                    min(self.begin_ns, time_ns),
                    max(self.last_ns, time_ns),
                )
            self.channels = sqlite_channels(base, counts)
        self.begin_ns = min(self.begin_ns, self.last_ns)
        if self.lost:
            forgive(f"{path.name}: {self.lost} messages between readable ones are lost")

    def _connect(self) -> sqlite3.Connection:
        base = sqlite3.connect(self._uri, uri=True)
        base.row_factory = sqlite3.Row
        base.execute("PRAGMA writable_schema = ON")  # or a file that is cut short is refused
        return base

    def _rows(self, base: sqlite3.Connection, data: str) -> Iterator[tuple[int, int, Any]]:
        row, missed = 1, 0
        self.lost = 0
        while missed < _MISSED:
            try:
                found = base.execute(
                    f"SELECT topic_id, timestamp, {data}, CAST(data AS BLOB) FROM messages "
                    "WHERE id = ?",
                    (row,),
                ).fetchone()
            except sqlite3.Error:
                found = None
            row += 1
            if found is None or not isinstance(found[1], int):
                missed += 1
                continue
            self.lost, missed = self.lost + missed, 0
            yield found[0], found[1], found[2]

    def messages(self, numbers: Collection[int], begin_ns: int, end_ns: int) -> Iterator[Stored]:
        """See `BagFile`."""
        wanted = set(numbers)

        def read() -> Iterator[Stored]:
            with closing(self._connect()) as base:
                for number, time_ns, data in self._rows(base, "data"):
                    if number in wanted and begin_ns <= time_ns < end_ns:
                        yield number, time_ns, bytes(data)

        yield from in_order(read)


class SalvagedMcap:
    """A .mcap file, record by record; of a chunk that is cut short what comes before the cut."""

    def __init__(self, path: Path, forgive: Forgive) -> None:
        """Read it once for its channels, counts and times."""
        from mcap.records import Channel as Declared
        from mcap.records import Schema

        self._path, self._forgive = path, forgive
        schemas: dict[int, Any] = {}
        declared: dict[int, Any] = {}
        counts: dict[int, int] = {}
        self.begin_ns, self.last_ns = LAST_NS, 0
        for op, data in self._records():
            try:
                if op == _SCHEMA:
                    schema = Schema.read(_stream(data))
                    schemas[schema.id] = schema
                elif op == _CHANNEL:
                    channel = Declared.read(_stream(data))
                    declared[channel.id] = channel
            except Exception as err:  # a record whose lengths are damaged
                self._say(f"a record cannot be read: {one_line(err)}")
            if op == _MESSAGE and len(data) >= _MESSAGE_HEAD.size:
                number, _, time_ns, _ = _MESSAGE_HEAD.unpack_from(data)
                counts[number] = counts.get(number, 0) + 1
                self.begin_ns = min(self.begin_ns, time_ns)
                self.last_ns = max(self.last_ns, time_ns)
        self.begin_ns = min(self.begin_ns, self.last_ns)
        self.channels: list[Channel] = mcap_channels(declared.values(), schemas, counts)
        self._forgive = lambda said: None  # it was said

    def _say(self, what: str) -> None:
        self._forgive(f"{self._path.name}: {what}")

    def _records(self) -> Iterator[tuple[int, memoryview]]:
        """Yield (kind, content) of all records that are whole, those within chunks too."""
        size = self._path.stat().st_size
        with self._path.open("rb") as file:
            check_head(file.read(len(MCAP_MAGIC)), MCAP_MAGIC, "an MCAP file")
            while (at := file.tell()) + _RECORD.size <= size:
                op, length = _RECORD.unpack(file.read(_RECORD.size))
                if op == 0:
                    self._say(f"unreadable from byte {at} on")
                    return
                data = file.read(min(length, size))
                if op == _CHUNK:
                    yield from self._chunk(data, len(data) == length, at)
                elif len(data) == length:
                    yield op, memoryview(data)
                if len(data) < length:
                    self._say(f"ends within the record at byte {at}")
                    return
                if op == 2:  # footer
                    return

    def _chunk(self, data: bytes, whole: bool, at: int) -> Iterator[tuple[int, memoryview]]:
        try:
            _, _, size, crc = _CHUNK_HEAD.unpack_from(data)
            compression, position = _text(data, _CHUNK_HEAD.size)
            packed = memoryview(data)[position + _U64.size :]
            unpacked = memoryview(_unpack(compression, packed))
        except Exception as err:  # zstd and lz4 each have their own
            self._say(f"the chunk at byte {at} is damaged: {one_line(err)}; left out")
            return
        if whole and len(unpacked) != size:
            self._say(f"the chunk at byte {at} holds {len(unpacked)} bytes of {size}; left out")
            return
        if whole and crc and zlib.crc32(unpacked) != crc:
            self._say(f"the chunk at byte {at} has a wrong CRC; left out")
            return
        position = 0
        while position + _RECORD.size <= len(unpacked):
            op, length = _RECORD.unpack_from(unpacked, position)
            position += _RECORD.size
            if position + length > len(unpacked):
                return
            yield op, unpacked[position : position + length]
            position += length

    def messages(self, numbers: Collection[int], begin_ns: int, end_ns: int) -> Iterator[Stored]:
        """See `BagFile`."""
        wanted = set(numbers)

        def read() -> Iterator[Stored]:
            for op, data in self._records():
                if op != _MESSAGE or len(data) < _MESSAGE_HEAD.size:
                    continue
                number, _, time_ns, _ = _MESSAGE_HEAD.unpack_from(data)
                if number in wanted and begin_ns <= time_ns < end_ns:
                    yield number, time_ns, bytes(data[_MESSAGE_HEAD.size :])

        yield from in_order(read)


def salvaging(storage: str, forgive: Forgive) -> Callable[[Path], BagFile]:
    """Return what opens a file of rosbag2, damaged or not."""
    strict, salvaged = _FILES[storage]
    return lambda path: Forgiving(path, strict, salvaged, forgive)


_FILES: dict[str, tuple[Callable[[Path], BagFile], Callable[[Path, Forgive], BagFile]]] = {
    "mcap": (McapFile, SalvagedMcap),
    "sqlite3": (SqliteFile, SalvagedSqlite),
}


def _stream(data: memoryview) -> Any:
    from mcap.data_stream import ReadDataStream

    return ReadDataStream(io.BytesIO(data))


def _text(data: bytes, position: int) -> tuple[str, int]:
    begin = position + _U32.size
    end = begin + _U32.unpack_from(data, position)[0]
    return data[begin:end].decode(), end


def _unpack(compression: str, data: memoryview) -> bytes | memoryview:
    """Return what a chunk holds; of one that is cut short as much as there is."""
    if not compression:
        return data
    if compression == "zstd":
        import zstandard

        unpacked: bytes = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        return unpacked
    if compression == "lz4":
        from lz4.frame import LZ4FrameDecompressor

        found: bytes = LZ4FrameDecompressor().decompress(bytes(data))
        return found
    raise ValueError(f"its compression is '{compression}', expected zstd or lz4")
