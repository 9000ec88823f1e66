"""The files of a rosbag2 bag, sqlite3 and MCAP: channels first, then messages in time order.

Nothing is asked of a channel but its name, type, encoding and definition, so that a channel that
nobody reads may be of any kind. Bytes are neither decompressed here (but for a chunk's own
compression) nor decoded.
"""

from __future__ import annotations

import heapq
import os
import sqlite3
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from smvae_core.files import git_lfs

MCAP_MAGIC = b"\x89MCAP0\r\n"
SQLITE_MAGIC = b"SQLite format 3\0"
#: Receive times are 64 bit and not negative.
FIRST_NS, LAST_NS = 0, 2**63 - 1

Stored = tuple[int, int, bytes]
"""(channel, receive time, bytes)."""


class CutShort(ValueError):
    """A file that ends before what its own head or index promises."""


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One channel of a file; several may have one topic."""

    number: int
    topic: str
    """As ROS resolves it: a name without its first slash, as some writers leave, has one here."""
    message_type: str
    encoding: str
    """Of the messages: 'cdr' for ROS 2."""
    definition: tuple[str, str] = ("", "")
    """(format, text) as stored, e.g. ('ros2msg', ...)."""
    digest: str = ""
    """RIHS01 hash of the type; '' where it is not said."""
    qos: str = ""
    """Offered profiles as YAML."""
    messages: int = 0
    """How many the file says that it holds."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "topic", resolved(self.topic))


def resolved(topic: str) -> str:
    """Return a recorded topic as ROS names it."""
    return topic if topic.startswith("/") else f"/{topic}"


class BagFile(Protocol):
    """A file whose channels are known; it is opened anew for every pass."""

    channels: list[Channel]
    begin_ns: int
    """Receive time of the first message, 0 without any."""
    last_ns: int

    def messages(self, numbers: Collection[int], begin_ns: int, end_ns: int) -> Iterator[Stored]:
        """Yield messages of some channels in the order of receive time, `end_ns` left out."""


class SqliteFile:
    """A .db3 file of any rosbag2 schema."""

    def __init__(self, path: Path) -> None:
        """Read the channels.

        Raises:
            CutShort: If the file is shorter than its head says.
            ValueError: If it is no SQLite file.
            sqlite3.Error: If SQLite cannot read it, or it is no bag.
        """
        check_pointer(path)
        with path.open("rb") as file:
            head = file.read(100)
        check_head(head, SQLITE_MAGIC, "an SQLite file")
        page, pages = struct.unpack(">H", head[16:18])[0], struct.unpack(">I", head[28:32])[0]
        expected = (65536 if page == 1 else page) * pages
        if path.stat().st_size < expected:
            raise CutShort(f"{path.stat().st_size} bytes where its head says {expected}")
        self._uri = f"{path.absolute().as_uri()}?immutable=1"
        with closing(self._connect()) as base:
            self._read_channels(base)

    def _connect(self) -> sqlite3.Connection:
        base = sqlite3.connect(self._uri, uri=True)
        base.row_factory = sqlite3.Row
        return base

    def _read_channels(self, base: sqlite3.Connection) -> None:
        counts = {
            row[0]: tuple(row[1:])
            for row in base.execute(
                "SELECT topic_id, COUNT(*), MIN(timestamp), MAX(timestamp) FROM messages "
                "GROUP BY topic_id"
            )
        }
        self.channels = sqlite_channels(base, {number: c[0] for number, c in counts.items()})
        self.begin_ns = min((c[1] for c in counts.values()), default=0)
        self.last_ns = max((c[2] for c in counts.values()), default=0)

    def messages(self, numbers: Collection[int], begin_ns: int, end_ns: int) -> Iterator[Stored]:
        """See `BagFile`."""
        marks = ", ".join("?" * len(numbers))
        with closing(self._connect()) as base:
            for row in base.execute(
                f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({marks}) "
                "AND timestamp >= ? AND timestamp < ? ORDER BY timestamp, id",
                (*numbers, begin_ns, end_ns),
            ):
                yield row[0], row[1], row[2]


class McapFile:
    """A .mcap file of any writer: with or without summary, chunks, index and order."""

    def __init__(self, path: Path) -> None:
        """Read the channels; a file without summary is read whole for them.

        Raises:
            CutShort: If it does not end as an MCAP file does.
            ValueError: If it does not begin as one.
            McapError: If a record is damaged.
        """
        from mcap.reader import make_reader

        self._path = path
        check_pointer(path)
        with path.open("rb") as file:
            check_head(file.read(len(MCAP_MAGIC)), MCAP_MAGIC, "an MCAP file")
            file.seek(-len(MCAP_MAGIC), os.SEEK_END)
            if file.read() != MCAP_MAGIC:
                raise CutShort("File end magic is invalid")
            file.seek(0)
            summary = make_reader(file).get_summary()
        # a writer may leave out of the summary what stands in the data already
        self._indexed = bool(summary and summary.chunk_indexes and summary.channels)
        if summary is None or summary.statistics is None or not summary.channels:
            self._scan()
            return
        found = summary.statistics
        self.channels = mcap_channels(
            summary.channels.values(), summary.schemas, found.channel_message_counts
        )
        self.begin_ns, self.last_ns = found.message_start_time, found.message_end_time

    def _records(self) -> Iterator[Any]:
        """Yield every record in the order of the file, those within chunks too."""
        from mcap.stream_reader import StreamReader

        with self._path.open("rb") as file:
            yield from StreamReader(file, validate_crcs=True).records

    def _scan(self) -> None:
        """Take channels, counts and times from the records themselves."""
        from mcap.records import Channel as Declared
        from mcap.records import Message, Schema

        schemas: dict[int, Any] = {}
        declared: dict[int, Any] = {}
        counts: dict[int, int] = {}
        begin_ns, last_ns = LAST_NS, 0
        for record in self._records():
            if isinstance(record, Schema):
                schemas[record.id] = record
            elif isinstance(record, Declared):
                declared[record.id] = record
            elif isinstance(record, Message):
                counts[record.channel_id] = counts.get(record.channel_id, 0) + 1
                begin_ns, last_ns = min(begin_ns, record.log_time), max(last_ns, record.log_time)
        self.channels = mcap_channels(declared.values(), schemas, counts)
        self.begin_ns, self.last_ns = min(begin_ns, last_ns), last_ns

    def messages(self, numbers: Collection[int], begin_ns: int, end_ns: int) -> Iterator[Stored]:
        """See `BagFile`."""
        wanted = set(numbers)
        if not self._indexed:
            yield from in_order(lambda: self._unindexed(wanted, begin_ns, end_ns))
            return
        found_topics = (c.topic for c in self.channels if c.number in wanted)
        topics = {name for topic in found_topics for name in (topic, topic[1:])}
        from mcap.reader import make_reader

        with self._path.open("rb") as file:
            reader = make_reader(file, validate_crcs=True)
            found = reader.iter_messages(topics, starting_at=begin_ns, ending_before=end_ns)
            for _, channel, message in found:
                if channel.id in wanted:
                    yield channel.id, message.log_time, message.data

    def _unindexed(self, wanted: Collection[int], begin_ns: int, end_ns: int) -> Iterator[Stored]:
        from mcap.records import Message

        for record in self._records():
            if (
                isinstance(record, Message)
                and record.channel_id in wanted
                and begin_ns <= record.log_time < end_ns
            ):
                yield record.channel_id, record.log_time, record.data


def in_order(read: Callable[[], Iterable[Stored]]) -> Iterator[Stored]:
    """Yield messages in the order of receive time, holding no more than are out of it.

    They are read twice: the first pass tells of each how early a later one may still be.

    Args:
        read: () -> the messages in any order, the same at every call.
    """
    times = np.array([received_ns for _, received_ns, _ in read()], np.int64)
    earliest_left = np.append(np.minimum.accumulate(times[::-1])[::-1], LAST_NS)
    held: list[tuple[int, int, int, bytes]] = []
    for turn, (number, received_ns, data) in enumerate(read(), start=1):
        heapq.heappush(held, (received_ns, turn, number, data))
        while held and held[0][0] <= earliest_left[turn]:
            received_ns, _, number, data = heapq.heappop(held)
            yield number, received_ns, data


def check_pointer(path: Path) -> None:
    """Raise ValueError where Git LFS has not fetched a file."""
    if pointer := git_lfs(path):
        raise ValueError(pointer)


def check_head(head: bytes, magic: bytes, what: str) -> None:
    """Raise ValueError unless a file begins as one of its format does."""
    if not head:
        raise ValueError(f"it is empty (0 bytes), expected {what}")
    if not head.startswith(magic):
        begin = head[: len(magic)]
        raise ValueError(f"it begins with {begin!r}, expected {what}, which begins with {magic!r}")


def sqlite_channels(base: sqlite3.Connection, counts: Mapping[int, int]) -> list[Channel]:
    """Return the channels of a .db3 file; `counts` has the messages of each."""
    definitions: dict[str, tuple[str, str]] = {}
    if base.execute("PRAGMA table_info(message_definitions)").fetchall():
        definitions = {
            row["topic_type"]: (row["encoding"], row["encoded_message_definition"])
            for row in base.execute("SELECT * FROM message_definitions")
        }
    return [
        Channel(
            number=row["id"],
            topic=row["name"],
            message_type=row["type"],
            encoding=row["serialization_format"],
            definition=definitions.get(row["type"], ("", "")),
            digest=_column(row, "type_description_hash"),
            qos=_column(row, "offered_qos_profiles"),
            messages=counts.get(row["id"], 0),
        )
        for row in base.execute("SELECT * FROM topics ORDER BY id")
    ]


def _column(row: sqlite3.Row, name: str) -> str:
    """Return a column that older schemas lack."""
    return str(row[name] or "") if name in row.keys() else ""  # noqa: SIM118 (a Row is no mapping)


def mcap_channels(
    declared: Iterable[Any], schemas: dict[int, Any], counts: dict[int, int]
) -> list[Channel]:
    """Return the channels that an MCAP file declares; `counts` has the messages of each."""
    found = []
    for each in declared:
        channel = Channel(
            number=each.id,
            topic=each.topic,
            message_type="",
            encoding=each.message_encoding,
            digest=each.metadata.get("topic_type_hash", ""),
            qos=each.metadata.get("offered_qos_profiles", ""),
            messages=counts.get(each.id, 0),
        )
        if schema := schemas.get(each.schema_id):
            text = schema.data.decode("utf-8", "replace")
            channel = replace(channel, message_type=schema.name, definition=(schema.encoding, text))
        found.append(channel)
    return found
