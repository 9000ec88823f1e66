"""Bags of rosbag2 (sqlite3 and mcap) and of ROS 1, without ROS; every fault is one line.

The offline evaluation and the player read through this, so both see the same messages in the same
order: that of their receive time. Only what is asked for is judged: a topic that nobody reads may
be of any encoding, type and definition.
"""

from __future__ import annotations

import heapq
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from smvae_core.bag_formats import log as bag_log
from smvae_core.bag_formats.files import (
    FIRST_NS,
    LAST_NS,
    BagFile,
    Channel,
    CutShort,
    McapFile,
    SqliteFile,
    resolved,
)
from smvae_core.bag_formats.ros1 import Ros1File
from smvae_core.bag_formats.salvage import salvaging
from smvae_core.bag_formats.types import CDR, DEFAULT_TYPESTORE, ROS1, Decoder, MessageTypes
from smvae_core.errors import MissingDependency, SMVAEError, one_line
from smvae_core.what_is import what_is

METADATA = "metadata.yaml"
#: Topics that an error names.
_MOST_LISTED = 20

_FILES: dict[str, Callable[[Path], BagFile]] = {
    "mcap": McapFile,
    "sqlite3": SqliteFile,
    "ros1": Ros1File,
}
_SUFFIXES = {".mcap": "mcap", ".db3": "sqlite3", ".bag": "ros1"}
#: Behind the name of a file that was compressed whole.
_PACKED = ".zstd"
_RECOVER = "was the recording cut short? `ros2 bag reindex` or `mcap recover` may save it"


class BagError(SMVAEError, ValueError):
    """A bag that is missing, damaged, of another format, or holds what nobody can read."""

    def __init__(self, path: Path | str, what: object) -> None:
        super().__init__(f"bag {path}: {what}")


class NotOfType(BagError):
    """One message whose bytes are not of its topic's type; the next may be."""


class _Told(bytes):
    """A message of a topic that the bag defines in more than one way."""

    channel: Channel


@dataclass(frozen=True, kw_only=True)
class BagTopic:
    """One topic of a bag."""

    name: str
    message_type: str
    """Several, where its publishers differ, are joined by ' and '; '' = nothing says which."""
    messages: int
    """How many the files say that they hold."""
    latched: bool
    """Whether every recorded publisher offered transient_local."""
    encoding: str = CDR
    """Of its messages."""
    counted: int = 0
    """How many metadata.yaml says that there are; 0 where it says nothing."""
    type_hash: str = ""
    """RIHS01 of its type, as the recorder noted it; '' where it did not."""


@dataclass(frozen=True, kw_only=True)
class _Metadata:
    """What metadata.yaml says; an .mcap or .db3 file alone stands for one that says little."""

    storage: str
    files: tuple[Path, ...]
    compression: str = ""
    """'file', 'message', or '' for none."""
    topics: tuple[dict[str, Any], ...] = ()


class Readable(Protocol):
    """What messages are read from: a bag, or another recording that is read as one."""

    def messages(self, topics: Collection[str] | None = None) -> Iterator[tuple[str, int, Any]]:
        """Yield (topic, receive time, data) in the order of receive time."""

    def decode(self, topic: str, data: Any) -> Any:
        """Return a message; `NotOfType` where its bytes are of no such type."""


def listed(topics: Mapping[str, BagTopic]) -> str:
    """Return topics with their types and numbers of messages, for an error.

    Of many topics those with messages come first, and the rest is counted.
    """
    every = list(topics.values())
    if len(every) > _MOST_LISTED:
        every.sort(key=lambda topic: not topic.messages)
    found = [f"{t.name} ({t.message_type}, {t.messages})" for t in every[:_MOST_LISTED]]
    if more := every[_MOST_LISTED:]:
        filled = sum(bool(t.messages) for t in more)
        found.append(f"and {len(more)} more topics, {filled} of them with messages")
    return ", ".join(found) or "none"


class Bag:
    """An open bag; use it in a `with` block."""

    def __init__(
        self,
        path: Path | str,
        typestore: str = DEFAULT_TYPESTORE,
        *,
        forgive: Callable[[str], None] | None = None,
    ) -> None:
        """Check that there is a bag; `with` opens it.

        Args:
            path: Folder of a bag, or one .mcap, .db3 or .bag file.
            typestore: Of rosbags, e.g. 'ros2_humble'; used only where the bag holds no definition.
            forgive: Told of each fault in one line, and all that is whole is read nevertheless;
                None = a fault is an error.

        Raises:
            BagError: If there is no bag, or no such typestore.
            MissingDependency: If rosbags or mcap is not installed.
        """
        self.path = Path(path)
        try:
            import mcap  # noqa: F401
        except ImportError as err:
            raise MissingDependency("mcap", "bags") from err
        try:
            self._types = MessageTypes(typestore)
        except ValueError as err:
            raise BagError(self.path, err) from err
        self._forgive = forgive
        self._stack = ExitStack()
        self._files: list[BagFile] = []
        self._unpack: Callable[[bytes], bytes] = bytes
        self._decoders: dict[tuple[str, int], Decoder] = {}
        self.defined_twice: set[str] = set()
        """Topics whose type the bag defines in more than one way."""
        self.topics: dict[str, BagTopic] = {}
        self.begin_ns = self.end_ns = 0
        _check_path(self.path, whole=forgive is None)

    def __enter__(self) -> Bag:
        """Open the bag.

        Raises:
            BagError: If it is damaged, or of a format that is not read.
        """
        try:
            self._open(self._read_metadata())
        except CutShort as err:
            raise self._unopened(f"{one_line(err)}; {_RECOVER}") from err
        except Exception as err:  # what a damaged file makes sqlite, mcap, zstd and YAML raise
            raise self._unopened(one_line(err)) from err
        return self

    def _unopened(self, what: str) -> BagError:
        self._stack.close()
        return BagError(self.path, f"cannot be opened: {what}")

    def _read_metadata(self) -> _Metadata:
        if not self.path.is_dir():
            return _of_files([self.path])
        try:
            return self._said_metadata()
        except (OSError, ValueError) as err:
            found = _inside(self.path)
            if self._forgive is None or not found:
                raise
            missing = isinstance(err, FileNotFoundError)
            what = f"there is no {METADATA}" if missing else one_line(err)
            self._forgive(f"{what}; read by its files, {', '.join(p.name for p in found)}")
            return _of_files(found)

    def _said_metadata(self) -> _Metadata:
        """Return what metadata.yaml says.

        Raises:
            OSError: If there is none.
            ValueError: If it is none of a bag that is read.
        """
        from ruamel.yaml.error import YAMLError

        try:
            loaded = _load_yaml((self.path / METADATA).read_text(encoding="utf-8"))
        except (ValueError, YAMLError) as err:
            raise ValueError(f"{METADATA} is no YAML: {one_line(err)}") from err
        try:
            found = loaded["rosbag2_bagfile_information"]
            storage = found["storage_identifier"]
            names = [PurePath(name).name for name in found["relative_file_paths"]]
            topics = tuple(found["topics_with_message_count"])
            compression = (found.get("compression_mode") or "none").lower().replace("none", "")
            packer = found.get("compression_format") if compression else "zstd"
        except (KeyError, TypeError, AttributeError) as err:
            raise ValueError(f"{METADATA} is not that of a rosbag2 bag, it lacks {err}") from err
        if storage not in _FILES:
            raise ValueError(f"its storage is '{storage}', expected {' or '.join(_FILES)}")
        if packer != "zstd":
            raise ValueError(f"its compression is '{packer}', expected zstd")
        if missing := [name for name in names if not (self.path / name).is_file()]:
            what = f"{METADATA} names {', '.join(missing)}, which is not there"
            names = [name for name in names if name not in missing]
            if self._forgive is None or not names:
                raise ValueError(what)
            self._forgive(f"{what}; read without that")
        return _Metadata(
            storage=storage,
            files=tuple(self.path / name for name in names),
            compression=compression,
            topics=topics,
        )

    def _folder(self) -> Path:
        """Return a new folder, there until the bag is closed."""
        return Path(self._stack.enter_context(TemporaryDirectory(prefix="smvae-bag-")))

    def _open(self, metadata: _Metadata) -> None:
        paths = list(metadata.files)
        self._unpack = bytes
        if metadata.compression == "message":
            self._unpack = _decompress
        elif metadata.compression == "file":
            folder = self._folder()
            paths = [_decompress_file(path, folder, self._forgive) for path in paths]
        if metadata.storage == "sqlite3":
            paths = [bag_log.merged(path, self._folder, self._forgive) for path in paths]
        self._decoders = {}
        self._files = list(self._opened(metadata.storage, paths))
        filled = [f for f in self._files if any(c.messages for c in f.channels)]
        self.begin_ns = min((f.begin_ns for f in filled), default=0)
        self.end_ns = max((f.last_ns + 1 for f in filled), default=0)
        named = {resolved(_said(t)["name"]): t for t in metadata.topics}
        names = sorted({c.topic for c in self._channels()} | set(named))
        self.topics = {name: self._topic(name, named.get(name)) for name in names}
        self.defined_twice = {name for name in names if len(self._definitions(name)) > 1}

    def _opened(self, storage: str, paths: Iterable[Path]) -> Iterator[BagFile]:
        """Yield the files, open; without those that cannot be, where that is forgiven."""
        forgive = self._forgive
        if forgive is None:
            yield from map(_FILES[storage], paths)
            return
        opened: Callable[[Path], BagFile] = (
            (lambda path: Ros1File(path, forgive))
            if storage == "ros1"
            else salvaging(storage, forgive)
        )
        found, failed = 0, ""
        for path in paths:
            file, why = _attempt(opened, path)
            if file is None:
                failed = f"{path.name} cannot be read: {why}"
                forgive(failed)
            else:
                yield file
                found += 1
        if not found:
            raise ValueError(failed)

    def _channels(self, topic: str | None = None) -> list[Channel]:
        every = (c for file in self._files for c in file.channels)
        return [c for c in every if topic is None or c.topic == topic]

    def _definitions(self, topic: str) -> set[str]:
        """Return what the channels of a topic that hold messages say of its type."""
        found = (c.definition[1] for c in self._channels(topic) if c.messages)
        return {text for text in found if text}

    def _topic(self, name: str, named: dict[str, Any] | None) -> BagTopic:
        """Return what files and metadata.yaml say of a topic; QoS by the latter, as in ROS."""
        channels = self._channels(name)
        said = _said(named) if named else {}
        types = {c.message_type for c in channels if c.message_type}
        types = types or {str(said.get("type", ""))}
        encodings = {c.encoding for c in channels} or {CDR}
        hashes = [c.digest for c in channels]
        qos = [said.get("offered_qos_profiles")] if named else [c.qos for c in channels]
        return BagTopic(
            name=name,
            message_type=" and ".join(sorted(types)),
            messages=sum(c.messages for c in channels),
            latched=bool(qos) and all(_latched(each) for each in qos),
            encoding=" and ".join(sorted(encodings)),
            counted=int(named["message_count"]) if named else 0,
            type_hash=next(filter(None, (said.get("type_description_hash"), *hashes)), ""),
        )

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def duration_s(self) -> float:
        """Time between the first and the last message, by their receive times."""
        return max(0, self.end_ns - self.begin_ns) * 1e-9

    def listed(self) -> str:
        """Return the topics with their types, for an error."""
        return listed(self.topics)

    def messages(
        self,
        topics: Collection[str] | None = None,
        begin_ns: int | None = None,
        end_ns: int | None = None,
    ) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, receive time, CDR bytes) in the order of receive time.

        Args:
            topics: Only these; None for all that are CDR, or of ROS 1.
            begin_ns: First receive time that is wanted.
            end_ns: Receive time at which to stop, itself left out.

        Raises:
            BagError: If a topic is of neither, the bag is damaged in the middle (says after how
                many messages), or holds fewer messages of a topic than it counts.
        """
        if topics is None:
            topics = [t.name for t in self.topics.values() if t.encoding in (CDR, ROS1)]
        wanted = [self.topics[name] for name in topics if name in self.topics]
        for topic in wanted:
            if topic.encoding not in (CDR, ROS1):
                what = f"the messages on {topic.name} are {topic.encoding}, expected {CDR}"
                raise BagError(self.path, what)
            self._check_count(topic, topic.messages, topic.counted)
        came = dict.fromkeys((t.name for t in wanted), 0)
        begin = FIRST_NS if begin_ns is None else max(FIRST_NS, begin_ns)
        end = LAST_NS if end_ns is None else max(begin, end_ns)
        found = self._stored(came, begin, end)
        packed, fault = 0, ""
        while True:
            try:
                received_ns, channel, data = next(found)
            except StopIteration:
                break
            except Exception as err:  # sqlite, struct and mcap each have their own
                what = f"cannot be read after {sum(came.values())} messages: {one_line(err)}"
                if self._forgive is None:
                    raise BagError(self.path, what) from err
                self._forgive(what)
                break
            try:
                data = self._unpack(data)
            except Exception as err:  # of zstd
                if self._forgive is None:
                    what = f"cannot be read after {sum(came.values())} messages: {one_line(err)}"
                    raise BagError(self.path, what) from err
                packed, fault = packed + 1, fault or one_line(err)
                continue
            if channel.topic in self.defined_twice:
                data = _Told(data)
                data.channel = channel
            came[channel.topic] += 1
            yield channel.topic, received_ns, data
        if packed and self._forgive is not None:
            self._forgive(f"{packed} messages cannot be decompressed; the first: {fault}")
        if begin <= self.begin_ns and end >= self.end_ns:
            for topic in wanted:
                self._check_count(topic, came[topic.name], topic.messages)

    def _stored(
        self, topics: Collection[str], begin_ns: int, end_ns: int
    ) -> Iterator[tuple[int, Channel, bytes]]:
        """Yield (receive time, channel, bytes as stored) of all files in order."""

        def of_file(file: BagFile) -> Iterator[tuple[int, Channel, bytes]]:
            wanted = {c.number: c for c in file.channels if c.topic in topics}
            if wanted:
                for number, received_ns, data in file.messages(list(wanted), begin_ns, end_ns):
                    yield received_ns, wanted[number], data

        return heapq.merge(*map(of_file, self._files), key=lambda found: found[0])

    def _check_count(self, topic: BagTopic, came: int, counted: int) -> None:
        if came < counted:
            what = f"{topic.name} has {came} messages, but {counted} are counted in the bag"
            if self._forgive is None:
                raise BagError(self.path, f"{what}; `ros2 bag reindex` counts anew what is there")
            self._forgive(what)

    def decode(self, topic: str, data: bytes) -> Any:
        """Return a message of a topic, with the fields that rclpy's messages have.

        A type may be defined anew within a recording: each message is read by its own definition.

        Args:
            topic: Of the message.
            data: As `messages` yields it.

        Raises:
            BagError: If its topic is of several types, nobody defines its type, its definition
                cannot be read or is not that of its hash, or the bytes are not of that type.
        """
        channel = data.channel if isinstance(data, _Told) else None
        key = topic, id(channel) if channel else 0
        if key not in self._decoders:
            try:
                self._decoders[key] = self._decoder(self.topics[topic], channel)
            except ValueError as err:
                raise BagError(self.path, f"{topic}: {err}") from err
        try:
            return self._decoders[key](data)
        except ValueError as err:
            raise NotOfType(self.path, f"a message on {topic} is not a {err}") from err

    def _decoder(self, topic: BagTopic, channel: Channel | None) -> Decoder:
        """Return what decodes a topic, or one of its channels where their definitions differ.

        Raises:
            ValueError: See `decode`.
        """
        channels = self._channels(topic.name) if channel is None else [channel]
        if len({c.message_type for c in self._channels(topic.name) if c.message_type}) > 1:
            raise ValueError(f"it holds {topic.message_type}; a topic of one type is needed")
        if not topic.message_type:
            raise ValueError("nothing says of which type its messages are: it has no schema")
        alike = [c for c in self._channels() if c.message_type == topic.message_type]
        definitions = [c.definition for c in (*channels, *alike)]
        type_hash = topic.type_hash if channel is None else channel.digest
        return self._types.decoder(topic.message_type, definitions, type_hash, topic.encoding)


def decoded(
    bag: Readable, topics: Collection[str], refuse: Callable[[str, int, NotOfType], None]
) -> Iterator[tuple[str, int, Any]]:
    """Yield (topic, receive time, message) in the order of receive time.

    Args:
        bag: Open.
        topics: Only these.
        refuse: Told of each message whose bytes are not of its topic's type: topic, receive time
            and error. The next one may be.

    Raises:
        BagError: If the bag is damaged, a topic cannot be decoded, or not one message of it can.
    """
    good: set[str] = set()
    first: dict[str, NotOfType] = {}
    for topic, received_ns, data in bag.messages(topics):
        try:
            message = bag.decode(topic, data)
        except NotOfType as err:
            first.setdefault(topic, err)
            refuse(topic, received_ns, err)
            continue
        good.add(topic)
        yield topic, received_ns, message
    for topic, fault in first.items():
        if topic not in good:
            raise fault


def _attempt(opened: Callable[[Path], BagFile], path: Path) -> tuple[BagFile | None, str]:
    """Return a file, open, or None and why it cannot be."""
    try:
        return opened(path), ""
    except Exception as err:  # of many types, see `Bag.__enter__`
        return None, one_line(err)


def _said(named: dict[str, Any]) -> dict[str, Any]:
    return dict(named["topic_metadata"])


def _check_path(path: Path, *, whole: bool) -> None:
    """Refuse what cannot be a bag, each with what it probably is.

    Args:
        path: Folder or file.
        whole: Refuse a folder without metadata.yaml too.
    """
    if not path.exists():
        raise BagError(path, "no such file or folder")
    if path.is_dir():
        if (path / METADATA).is_file():
            return
        if inside := _inside(path):
            if not whole:
                return
            what = f"no metadata.yaml beside {inside[0].name}; give that file itself, or {_RECOVER}"
            raise BagError(path, what)
        what = "no metadata.yaml in it: expected the folder of a rosbag2 bag"
        raise BagError(path, f"{what}, got {what_is(path)}")
    if path.suffix not in _SUFFIXES:
        what = "expected a bag's folder, or a .mcap, .db3 or .bag file"
        raise BagError(path, f"{what}, got {what_is(path)}")


def _inside(folder: Path) -> list[Path]:
    """Return the files of rosbag2 in a folder, in the order of their numbers."""

    def suffix(path: Path) -> str:
        return Path(path.name.removesuffix(_PACKED)).suffix

    found = [p for p in folder.iterdir() if suffix(p) in (".mcap", ".db3") and p.is_file()]
    return sorted(found, key=lambda p: [int(t) if t.isdigit() else t for t in _split(p.name)])


def _split(name: str) -> list[str]:
    """Return a name's digits and what stands between them, in turn, text first."""
    return re.split(r"(\d+)", name)


def _of_files(files: Sequence[Path]) -> _Metadata:
    """Return what files say of themselves: those of the first one's storage."""
    packed = all(p.name.endswith(_PACKED) for p in files)
    storages = [_SUFFIXES[Path(p.name.removesuffix(_PACKED)).suffix] for p in files]
    return _Metadata(
        storage=storages[0],
        files=tuple(p for p, s in zip(files, storages, strict=True) if s == storages[0]),
        compression="file" if packed else "",
    )


def _latched(profiles: Any) -> bool:
    """Return whether all offered profiles are transient_local.

    They are a list, or YAML text of one (older bags), with durability as a number or a word.
    """
    if isinstance(profiles, str):
        profiles = _load_yaml(profiles)
    found = [p.get("durability") for p in profiles or () if isinstance(p, dict)]
    return bool(found) and all(durability in (1, "transient_local") for durability in found)


def _load_yaml(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(text)


def _decompress(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def _decompress_file(path: Path, folder: Path, forgive: Callable[[str], None] | None) -> Path:
    import zstandard

    target = folder / path.name.removesuffix(_PACKED)
    with zstandard.open(path, "rb") as packed, target.open("wb") as file:
        try:
            shutil.copyfileobj(packed, file)
        except zstandard.ZstdError as err:
            if forgive is None:
                raise
            forgive(f"{path.name} cannot be decompressed whole: {one_line(err)}")
    return target
