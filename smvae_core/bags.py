"""rosbag2 bags (sqlite3 and mcap) through rosbags: no ROS, and every fault is one line.

The offline evaluation and the player read through this, so both see the same messages in the same
order: that of their receive time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from smvae_core.errors import MissingDependency, SMVAEError, did_you_mean

#: Definitions for bags that bring none (sqlite3 bags of Humble and older).
DEFAULT_TYPESTORE = "ros2_jazzy"


class BagError(SMVAEError, ValueError):
    """A bag that is missing, damaged, of another format, or holds what nobody can read."""

    def __init__(self, path: Path | str, what: object) -> None:
        super().__init__(f"bag {path}: {what}")


@dataclass(frozen=True, kw_only=True)
class BagTopic:
    """One topic of a bag."""

    name: str
    message_type: str
    messages: int
    latched: bool
    """Whether every recorded publisher offered transient_local."""


class Bag:
    """An open bag; use it in a `with` block."""

    def __init__(self, path: Path | str, typestore: str = DEFAULT_TYPESTORE) -> None:
        """Check that there is a bag; `with` opens it.

        Args:
            path: Folder with metadata.yaml, or one .mcap or .db3 file.
            typestore: Of rosbags, e.g. 'ros2_humble'; used only where the bag holds no definitions.

        Raises:
            BagError: If there is no bag, or no such typestore.
            MissingDependency: If rosbags is not installed.
        """
        self.path = Path(path)
        self._types = _typestore(self.path, typestore)
        self._typestore = typestore
        self._reader: Any = None
        self.topics: dict[str, BagTopic] = {}
        self.begin_ns = self.end_ns = 0
        self.has_definitions = False
        _check_path(self.path)

    def __enter__(self) -> Bag:
        """Open the bag.

        Raises:
            BagError: If it is damaged, or of a format that rosbags does not read.
        """
        from rosbags.highlevel import AnyReader

        try:
            self._reader = AnyReader([self.path], default_typestore=self._types)
            self._reader.open()
        except Exception as err:  # a damaged file makes rosbags and its storages raise anything
            self._reader = None
            raise BagError(self.path, f"cannot be opened: {_words(err)}; {_RECOVER}") from err
        self.topics = {
            name: BagTopic(
                name=name,
                message_type=info.msgtype or "",
                messages=info.msgcount,
                latched=all(_latched(c) for c in info.connections),
            )
            for name, info in sorted(self._reader.topics.items())
        }
        if self._reader.message_count:
            self.begin_ns, self.end_ns = self._reader.start_time, self._reader.end_time
        self.has_definitions = any(c.msgdef.data for c in self._reader.connections)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @property
    def duration_s(self) -> float:
        """Time between the first and the last message, by their receive times."""
        return max(0, self.end_ns - self.begin_ns) * 1e-9

    def listed(self) -> str:
        """Return the topics with their types, for an error."""
        found = [f"{t.name} ({t.message_type}, {t.messages})" for t in self.topics.values()]
        return ", ".join(found) or "none"

    def messages(
        self,
        topics: Collection[str] | None = None,
        begin_ns: int | None = None,
        end_ns: int | None = None,
    ) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, receive time, CDR bytes) in the order of receive time.

        Args:
            topics: Only these; None for all.
            begin_ns: First receive time that is wanted.
            end_ns: Receive time at which to stop, itself left out.

        Raises:
            BagError: If the bag is damaged in the middle; says after how many messages.
        """
        wanted = [c for c in self._reader.connections if topics is None or c.topic in topics]
        if not wanted:
            return
        found = iter(self._reader.messages(wanted, start=begin_ns, stop=end_ns))
        count = 0
        while True:
            try:
                connection, received_ns, data = next(found)
            except StopIteration:
                return
            except Exception as err:  # zstd, sqlite, struct and rosbags each have their own
                what = f"cannot be read after {count} messages: {_words(err)}; {_RECOVER}"
                raise BagError(self.path, what) from err
            count += 1
            yield connection.topic, int(received_ns), bytes(data)

    def decode(self, topic: str, data: bytes) -> Any:
        """Return a message of a topic, with the fields that rclpy's messages have.

        Raises:
            BagError: If nobody defines its type, or the bytes are not of that type.
        """
        message_type = self.topics[topic].message_type
        if message_type not in self._reader.typestore.types:
            what = f"no definition of {message_type} ({topic}), neither in the bag nor in"
            raise BagError(self.path, f"{what} {self._typestore}")
        try:
            return self._reader.deserialize(data, message_type)
        except Exception as err:  # whatever foreign bytes lead to
            hint = (
                ""
                if self.has_definitions
                else (
                    f"; the bag brings no definitions and {self._typestore} was assumed: "
                    "name the distribution that recorded it, e.g. ros2_humble"
                )
            )
            what = f"a message on {topic} is not a {message_type}: {_words(err)}{hint}"
            raise BagError(self.path, what) from err


_RECOVER = "was the recording cut short? `ros2 bag reindex` or `mcap recover` may save it"


def _check_path(path: Path) -> None:
    """Refuse what cannot be a rosbag2 bag, each with what it probably is."""
    if not path.exists():
        raise BagError(path, "no such file or folder")
    if path.is_dir():
        if (path / "metadata.yaml").is_file():
            return
        inside = sorted(p.name for p in path.iterdir() if p.suffix in (".mcap", ".db3"))
        if inside:
            what = f"no metadata.yaml beside {inside[0]}; give that file itself, or {_RECOVER}"
            raise BagError(path, what)
        raise BagError(path, "no metadata.yaml in it: not the folder of a rosbag2 bag")
    if path.suffix == ".bag":
        raise BagError(path, "a ROS 1 bag: convert it by `rosbags-convert --src X.bag --dst X`")
    if path.suffix not in (".mcap", ".db3"):
        raise BagError(path, "expected a bag's folder, or a .mcap or .db3 file")


def _typestore(path: Path, name: str) -> Any:
    try:
        from rosbags.typesys import Stores, get_typestore
    except ImportError as err:
        raise MissingDependency("rosbags", "bags") from err
    known = [s.value for s in Stores if s.value.startswith("ros2_")]
    if name not in known:
        listed = ", ".join(known)
        hint = did_you_mean(name, known)
        raise BagError(path, f"unknown typestore '{name}': rosbags has {listed}.{hint}")
    return get_typestore(Stores(name))


def _latched(connection: Any) -> bool:
    offered = connection.ext.offered_qos_profiles
    names = [getattr(q.durability, "name", "") for q in offered]
    return bool(names) and all(n == "TRANSIENT_LOCAL" for n in names)


def _words(err: BaseException) -> str:
    """Return an error in one line, with its kind where its text alone says nothing."""
    text = " ".join(str(err).split()).rstrip(".")
    return text if len(text) > 20 else f"{type(err).__name__} {text}".rstrip()
