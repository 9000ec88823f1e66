"""The file of a ROS 1 bag (format 2.0), read from its beginning to its end; its index is not used.

So a bag that was never closed is read as one that was. What cannot be read is an error, or, where
somebody listens for it, one line, and the rest is read.
"""

from __future__ import annotations

import bz2
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from smvae_core.bag_formats.files import (
    LAST_NS,
    Channel,
    CutShort,
    Stored,
    check_head,
    check_pointer,
    in_order,
)
from smvae_core.bag_formats.types import ROS1

ROS1_MAGIC = b"#ROSBAG V2.0\n"
_MESSAGE, _BAG, _CHUNK, _CONNECTION = 2, 3, 5, 7
_U32 = struct.Struct("<I")
_TIME = struct.Struct("<II")

Fields = dict[str, bytes]


class Ros1File:
    """A .bag file."""

    def __init__(self, path: Path, forgive: Callable[[str], None] | None = None) -> None:
        """Read it once for its channels, counts and times.

        Args:
            path: Of the file.
            forgive: Told of what cannot be read; None = that is an error.

        Raises:
            CutShort: If it ends within a record, and nobody forgives.
            ValueError: If it is no ROS 1 bag, or damaged, and nobody forgives.
        """
        self._path, self._forgive = path, forgive
        check_pointer(path)
        with path.open("rb") as file:
            check_head(file.read(len(ROS1_MAGIC)), ROS1_MAGIC, "a ROS 1 bag")
        declared: dict[int, Channel] = {}
        counts: dict[int, int] = {}
        self.begin_ns, self.last_ns = LAST_NS, 0
        for fields, data in self._records():
            if fields["op"][0] == _CONNECTION:
                channel = _channel(fields, bytes(data))
                declared.setdefault(channel.number, channel)
            else:
                number, time_ns = _U32.unpack(fields["conn"])[0], _time_ns(fields)
                counts[number] = counts.get(number, 0) + 1
                self.begin_ns = min(self.begin_ns, time_ns)
                self.last_ns = max(self.last_ns, time_ns)
        self.begin_ns = min(self.begin_ns, self.last_ns)
        self.channels = [
            replace(channel, messages=counts.get(number, 0)) for number, channel in declared.items()
        ]
        self._forgive = forgive and (lambda said: None)  # it was said

    def messages(self, numbers: Collection[int], begin_ns: int, end_ns: int) -> Iterator[Stored]:
        """See `BagFile`."""
        wanted = set(numbers)

        def read() -> Iterator[Stored]:
            for fields, data in self._records():
                if fields["op"][0] != _MESSAGE:
                    continue
                number, time_ns = _U32.unpack(fields["conn"])[0], _time_ns(fields)
                if number in wanted and begin_ns <= time_ns < end_ns:
                    yield number, time_ns, bytes(data)

        yield from in_order(read)

    def _records(self) -> Iterator[tuple[Fields, memoryview]]:
        """Yield connections and messages in the order of the file, those within chunks too."""
        size = self._path.stat().st_size
        with self._path.open("rb") as file:
            file.seek(len(ROS1_MAGIC))
            while (at := file.tell()) < size:
                try:
                    fields, length = _head(file, size)
                except ValueError as err:
                    self._fault(type(err)(f"from byte {at} on: {err}"))
                    return
                op, end = fields["op"][0], file.tell() + length
                if op == _BAG and not any(fields.get("index_pos", b"\0")) and self._forgive:
                    self._forgive("it was not closed; read to its last whole message")
                if op == _CHUNK:
                    yield from self._chunk(fields, file.read(length), length, at)
                elif op in (_CONNECTION, _MESSAGE):
                    data = file.read(length)
                    if len(data) < length:
                        self._fault(CutShort(f"it ends within the record at byte {at}"))
                        return
                    yield fields, memoryview(data)
                file.seek(end)
            if file.tell() > size:
                self._fault(CutShort(f"it ends within the record at byte {at}"))

    def _chunk(
        self, fields: Fields, data: bytes, length: int, at: int
    ) -> Iterator[tuple[Fields, memoryview]]:
        """Yield the records of one chunk, up to the first that is not whole."""
        compression = fields.get("compression", b"none").decode("ascii", "replace")
        fault: ValueError | None = None
        try:
            unpacked = _unpack(compression, data)
        except Exception as err:  # bz2 and lz4 each have their own
            self._fault(ValueError(f"the chunk at byte {at} is damaged: {err}"))
            return
        view, position = memoryview(unpacked), 0
        while position < len(view):
            try:
                head, position = _part(view, position)
                found = _fields(bytes(head))
                body, position = _part(view, position)
                if found["op"][0] == _MESSAGE:
                    _U32.unpack(found["conn"]), _time_ns(found)
            except (ValueError, KeyError, struct.error) as err:
                fault = ValueError(f"the chunk at byte {at} is damaged: {err}")
                break
            if found["op"][0] in (_CONNECTION, _MESSAGE):
                yield found, body
        if fault and len(data) == length:
            self._fault(fault)

    def _fault(self, err: ValueError) -> None:
        if self._forgive is None:
            raise err
        self._forgive(f"{err}; read without that")


def _head(file: BinaryIO, size: int) -> tuple[Fields, int]:
    """Return the header of the next record and the length of its data."""
    data = file.read(_length(file))
    fields = _fields(data)
    length = _length(file)
    if fields["op"][0] not in (_CHUNK, _MESSAGE, _CONNECTION) and file.tell() + length > size:
        raise CutShort("it ends within a record")
    return fields, length


def _length(file: BinaryIO) -> int:
    data = file.read(4)
    if len(data) < 4:
        raise CutShort("it ends within a record")
    return int(_U32.unpack(data)[0])


def _part(view: memoryview, position: int) -> tuple[memoryview, int]:
    """Return bytes that stand behind their length, and the position behind them."""
    begin = position + 4
    if begin > len(view):
        raise ValueError("a record is not whole")
    end = begin + _U32.unpack(view[position:begin])[0]
    if end > len(view):
        raise ValueError("a record is not whole")
    return view[begin:end], end


def _fields(data: bytes) -> Fields:
    view, position = memoryview(data), 0
    found: Fields = {}
    while position < len(view):
        part, position = _part(view, position)
        name, equals, value = bytes(part).partition(b"=")
        if not equals:
            raise ValueError("a header without fields")
        found[name.decode("ascii", "replace")] = value
    if len(found.get("op", b"")) != 1:
        raise ValueError("a header that says no kind of record")
    return found


def _channel(fields: Fields, data: bytes) -> Channel:
    said = _fields(data + b"\x04\x00\x00\x00op=\x07")
    package, _, name = said.get("type", b"").decode("utf-8", "replace").rpartition("/")
    text = said.get("message_definition", b"").decode("utf-8", "replace")
    return Channel(
        number=_U32.unpack(fields["conn"])[0],
        topic=fields["topic"].decode("utf-8", "replace"),
        message_type=f"{package}/msg/{name}",
        encoding=ROS1,
        definition=("ros1msg", text),
        qos="[{durability: transient_local}]" if said.get("latching") == b"1" else "",
    )


def _time_ns(fields: Fields) -> int:
    seconds, nanoseconds = _TIME.unpack(fields["time"])
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def _unpack(compression: str, data: bytes) -> bytes:
    """Return what a chunk holds; of one that is cut short as much as there is."""
    if compression == "none":
        return data
    if compression == "bz2":
        return bz2.BZ2Decompressor().decompress(data)
    if compression == "lz4":
        from lz4.frame import LZ4FrameDecompressor

        unpacked: bytes = LZ4FrameDecompressor().decompress(data)
        return unpacked
    raise ValueError(f"its compression is '{compression}', expected none, bz2 or lz4")
