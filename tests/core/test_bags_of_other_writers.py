"""Bags as other writers, editors and accidents leave them: what is asked for is read, or named."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rosbags")
pytest.importorskip("mcap")
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapWriter
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from smvae_core.bag_formats.files import in_order
from smvae_core.bags import Bag, BagError

STORE = get_typestore(Stores.ROS2_JAZZY)
TEXT = "std_msgs/msg/String"
DEFINITION = STORE.generate_msgdef(TEXT, ros_version=2)[0].encode()
Row = tuple[str, int]
ROWS: list[Row] = [(("/a", "/b")[n % 2], 10 * n) for n in range(1, 41)]


def text(data: str) -> bytes:
    return bytes(STORE.serialize_cdr(STORE.types[TEXT](data=data), TEXT))


def recorded(path: Path, storage: Any = StoragePlugin.MCAP) -> Path:
    """Write ROWS as a rosbag2 folder whose publishers offer a latched profile."""
    long = QosTime(2147483647, 4294967295)
    qos = [
        Qos(
            QosHistory.KEEP_LAST, 10, QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL,
            long, long, QosLiveliness.AUTOMATIC, long, False,
        )
    ]  # fmt: skip
    with Writer(path, version=9, storage_plugin=storage) as writer:
        topics = {
            name: writer.add_connection(name, TEXT, typestore=STORE, offered_qos_profiles=qos)
            for name in ("/a", "/b")
        }
        for topic, received_ns in ROWS:
            writer.write(topics[topic], received_ns, text(f"{received_ns}"))
    return path


def by_hand(
    path: Path,
    rows: list[Row] | None = None,
    foreign: tuple[str, str, bytes, str] | None = None,
    *,
    profile: str = "ros2",
    **options: Any,
) -> Path:
    """Write an MCAP as its own library does: (encoding of the schema, type, schema, encoding)."""
    with path.open("wb") as file:
        writer = McapWriter(file, **options)
        writer.start(profile=profile, library="by hand")
        schema = writer.register_schema(TEXT, "ros2msg", DEFINITION)
        channels = {name: writer.register_channel(name, "cdr", schema) for name in ("/a", "/b")}
        for topic, received_ns in ROWS if rows is None else rows:
            data = text(f"{received_ns}")
            writer.add_message(channels[topic], received_ns, data, received_ns)
        if foreign:
            kind, message_type, definition, encoding = foreign
            number = writer.register_schema(message_type, kind, definition)
            channel = writer.register_channel("/foreign", encoding, number)
            writer.add_message(channel, 1000, b'{"a": 1}', 1000)
        writer.finish()
    return path


def read(path: Path, topics: tuple[str, ...] | None = ("/a", "/b")) -> list[tuple[str, int, str]]:
    with Bag(path) as bag:
        return [(t, ns, bag.decode(t, data).data) for t, ns, data in bag.messages(topics)]


EVERYTHING = [(topic, ns, f"{ns}") for topic, ns in ROWS]


def edited(path: Path, edit: Callable[[str], str]) -> Path:
    file = path / "metadata.yaml"
    before = file.read_text(encoding="utf-8")
    after = edit(before)
    assert after != before
    file.write_text(after, encoding="utf-8")
    return path


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize(
    "edit",
    [
        lambda y: re.sub(r"(sec|nsec): (2147483647|4294967295)", r"\1: 0", y),
        lambda y: re.sub(r"(?s)offered_qos_profiles:.*?(?=\n +serialization)",
                         "offered_qos_profiles: []", y),
        lambda y: y.replace("reliability: reliable", "reliability: best_effort", 1),
        lambda y: y.replace("durability: transient_local", "durability: volatile", 1),
    ],
    ids=["durations of 0", "removed", "one best effort", "one volatile"],
)  # fmt: skip
def test_every_message_comes_whatever_qos_the_metadata_names(
    storage: Any, edit: Callable[[str], str], tmp_path: Path
) -> None:
    assert read(edited(recorded(tmp_path / "bag", storage), edit)) == EVERYTHING


def test_the_metadata_says_what_is_latched_as_it_does_for_ros(tmp_path: Path) -> None:
    with Bag(recorded(tmp_path / "bag")) as bag:
        assert [t.latched for t in bag.topics.values()] == [True, True]
    edited(tmp_path / "bag", lambda y: y.replace("transient_local", "volatile", 1))
    with Bag(tmp_path / "bag") as bag:
        assert [t.latched for t in bag.topics.values()] == [False, True]
    with Bag(next((tmp_path / "bag").glob("*.mcap"))) as bag:  # the file says what was recorded
        assert [t.latched for t in bag.topics.values()] == [True, True]


def test_fewer_messages_than_are_counted_are_an_error_only_where_they_are_read(
    tmp_path: Path,
) -> None:
    path = edited(
        recorded(tmp_path / "bag"), lambda y: y.replace("message_count: 20", "message_count: 21", 1)
    )
    with Bag(path) as bag:
        short = next(t for t in bag.topics.values() if t.counted == 21).name
        whole = next(t for t in bag.topics.values() if t.counted == 20).name
        assert len(list(bag.messages([whole]))) == 20
        with pytest.raises(BagError, match=f"{short} has 20 messages, but 21 are counted"):
            next(bag.messages(None, 200))


def test_messages_that_a_files_own_statistics_count_and_that_do_not_come_are_an_error(
    tmp_path: Path,
) -> None:
    """A chunk whose index entry is gone: the reader passes it in silence."""
    path = by_hand(tmp_path / "x.mcap", chunk_size=64, compression=CompressionType.NONE)
    with Bag(path) as bag:
        file: Any = bag._files[0]
        everything = file.messages
        file.messages = lambda *given: (m for m in everything(*given) if m[1] != 200)
        with pytest.raises(BagError, match=r"/a has 19 messages, but 20 are counted in the bag"):
            list(bag.messages())


FOREIGN = {
    "json": ("jsonschema", "events", b'{"type": "object"}', "json"),
    "protobuf": ("protobuf", "foxglove.Log", b"\x0a\x03", "protobuf"),
    "broken": ("ros2msg", "sensor_msgs/msg/PointCloud2", b"sensor_msgs/msg/PointCloud2", "cdr"),
    "another definition": ("ros2msg", TEXT, b"int32 data\n", "cdr"),
}


@pytest.mark.parametrize("options", [{}, {"use_chunking": False}], ids=["chunks", "none"])
@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_topic_that_nobody_asks_for_may_be_anything(
    foreign: str, options: dict[str, Any], tmp_path: Path
) -> None:
    path = by_hand(tmp_path / "x.mcap", None, FOREIGN[foreign], **options)
    assert read(path) == EVERYTHING
    with Bag(path) as bag:
        cdr = FOREIGN[foreign][3] == "cdr"
        assert len(list(bag.messages())) == len(ROWS) + cdr
        assert bag.topics["/foreign"].encoding == FOREIGN[foreign][3]


def test_a_topic_that_is_asked_for_and_is_foreign_is_named(tmp_path: Path) -> None:
    with (
        Bag(by_hand(tmp_path / "x.mcap", None, FOREIGN["json"])) as bag,
        pytest.raises(BagError, match="the messages on /foreign are json, expected cdr"),
    ):
        next(bag.messages(["/a", "/foreign"]))
    with Bag(by_hand(tmp_path / "y.mcap", None, FOREIGN["broken"])) as bag:
        ((topic, _, data),) = bag.messages(["/foreign"])
        with pytest.raises(
            BagError,
            match=r"/foreign: the bag's own definition of sensor_msgs/msg/PointCloud2 cannot",
        ):
            bag.decode(topic, data)


def test_a_profile_that_the_writer_left_empty_is_no_hindrance(tmp_path: Path) -> None:
    assert read(by_hand(tmp_path / "x.mcap", profile="")) == EVERYTHING


def test_another_hash_matters_only_for_the_type_that_is_read(tmp_path: Path) -> None:
    foreign = "RIHS01_" + "ab" * 32
    path = edited(recorded(tmp_path / "bag"), lambda y: re.sub(r"RIHS01_\w+", foreign, y, count=1))
    with Bag(path) as bag:
        odd = next(t.name for t in bag.topics.values() if t.type_hash == foreign)
        other = "/b" if odd == "/a" else "/a"
        assert len([bag.decode(t, data) for t, _, data in bag.messages([other])]) == 20
        with pytest.raises(BagError, match="hash mismatch"):
            bag.decode(odd, text("x"))


def test_a_definition_that_the_recorder_did_not_find_is_taken_from_the_typestore(
    tmp_path: Path,
) -> None:
    """rosbag2 writes 'unknown' for the encoding of a definition that it did not find."""
    path = recorded(tmp_path / "bag", StoragePlugin.SQLITE3)
    with sqlite3.connect(next(path.glob("*.db3"))) as base:
        base.execute("UPDATE message_definitions SET encoding = 'unknown'")
    base.close()
    assert read(path) == EVERYTHING


WITHOUT_INDEX = {
    "no chunks": {"use_chunking": False},
    "no index": {"index_types": IndexType.NONE},
    "no summary": {"index_types": IndexType.NONE, "use_statistics": False,
                   "repeat_channels": False, "repeat_schemas": False},
    "channels in the data alone": {"repeat_channels": False, "repeat_schemas": False},
}  # fmt: skip


@pytest.mark.parametrize("options", WITHOUT_INDEX)
def test_messages_out_of_order_are_sorted_with_and_without_index(
    options: str, tmp_path: Path
) -> None:
    rows = ROWS[:]
    for n in range(3, len(rows) - 1, 7):  # two threads of a recorder, and one late by far
        rows[n], rows[n + 1] = rows[n + 1], rows[n]
    rows.append(rows.pop(5))
    path = by_hand(tmp_path / "x.mcap", rows, chunk_size=256, **WITHOUT_INDEX[options])
    assert read(path) == EVERYTHING
    with Bag(path) as bag:
        assert (bag.begin_ns, bag.end_ns) == (10, 401)
        assert [ns for _, ns, _ in bag.messages(None, 50, 100)] == [50, 60, 70, 80, 90]
        assert len(list(bag.messages(["/a"]))) == bag.topics["/a"].messages == 20


def test_what_is_out_of_order_is_sorted_stably_and_held_no_longer_than_needed() -> None:
    draw = random.Random(0)
    times = [10 * n + draw.choice((0, 0, 0, -35)) for n in range(1000)]
    reading = {"now": 0}

    def source() -> Iterator[tuple[int, int, bytes]]:
        for turn, received_ns in enumerate(times):
            reading["now"] = turn
            yield turn, received_ns, b""

    found, furthest = [], 0
    for turn, received_ns, _ in in_order(source):
        found.append((received_ns, turn))
        furthest = max(furthest, reading["now"] - len(found) + 1)
    assert found == sorted((ns, turn) for turn, ns in enumerate(times))
    assert furthest <= 4, "35 ns are at most four messages of 10 ns each"


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_compressed_bags_are_read(mode: Any, storage: Any, tmp_path: Path) -> None:
    path = tmp_path / "bag"
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        topics = {t: writer.add_connection(t, TEXT, typestore=STORE) for t in ("/a", "/b")}
        for topic, ns in ROWS:
            writer.write(topics[topic], ns, text(f"{ns}"))
    assert read(path) == EVERYTHING


def test_the_files_of_a_split_bag_are_one_bag(tmp_path: Path) -> None:
    path = recorded(tmp_path / "bag")
    (only,) = path.glob("*.mcap")
    by_hand(only, ROWS[:22:2] + ROWS[1:22:2])
    by_hand(path / "second.mcap", ROWS[22:])
    edited(path, lambda y: y.replace(f"- {only.name}", f"- {only.name}\n  - second.mcap", 1))
    assert read(path) == EVERYTHING


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_folder_may_have_any_name(storage: Any, tmp_path: Path) -> None:
    """A folder is no ROS 1 bag, and no path is a URI that somebody put together by hand."""
    path = recorded(tmp_path / "bag", storage).rename(tmp_path / "run 7%20#1?.bag")
    assert read(path) == EVERYTHING


def not_there(path: Path) -> None:
    next(path.glob("*.mcap")).unlink()


def without_bytes(path: Path) -> None:
    next(path.glob("*.mcap")).write_bytes(b"")


def another_format(path: Path) -> None:
    next(path.glob("*.mcap")).write_bytes(b"SQLite format 3\0" + bytes(100))


def half_of_it(path: Path) -> None:
    file = next(path.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def of_another_storage(path: Path) -> None:
    edited(path, lambda y: y.replace("storage_identifier: mcap", "storage_identifier: rrbag"))


def packed_otherwise(path: Path) -> None:
    packed = "compression_format: lz4\n  compression_mode: FILE"
    edited(path, lambda y: re.sub(r"compression_format: ''\n  compression_mode: ''", packed, y))


def without_a_key(path: Path) -> None:
    edited(path, lambda y: y.replace("relative_file_paths", "files_by_path"))


def not_yaml(path: Path) -> None:
    edited(path, lambda y: y + "]: [")


@pytest.mark.parametrize(
    ("spoil", "expected", "cut"),
    [
        (not_there, "metadata.yaml names bag.mcap, which is not there", False),
        (without_bytes, r"it is empty \(0 bytes\), expected an MCAP file", False),
        (another_format, r"it begins with b'SQLite f', expected an MCAP file", False),
        (half_of_it, "File end magic is invalid", True),
        (of_another_storage, "its storage is 'rrbag', expected mcap or sqlite3", False),
        (packed_otherwise, "its compression is 'lz4', expected zstd", False),
        (without_a_key, "not that of a rosbag2 bag, it lacks 'relative_file_paths'", False),
        (not_yaml, "metadata.yaml is no YAML", False),
    ],
)
def test_what_cannot_be_opened_says_what_was_found_and_guesses_nothing(
    spoil: Callable[[Path], None], expected: str, cut: bool, tmp_path: Path
) -> None:
    path = recorded(tmp_path / "bag")
    spoil(path)
    with pytest.raises(BagError, match=expected) as found, Bag(path):
        pass
    assert ("was the recording cut short?" in str(found.value)) is cut
    assert "\n" not in str(found.value)


def test_a_sqlite_file_is_cut_short_where_its_own_head_says_so(tmp_path: Path) -> None:
    (file,) = recorded(tmp_path / "bag", StoragePlugin.SQLITE3).glob("*.db3")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with (
        pytest.raises(BagError, match=r"bytes where its head says .* was the recording cut"),
        Bag(file),
    ):
        pass
    file.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    with pytest.raises(BagError, match="cannot be opened") as found, Bag(file):
        pass
    assert "cut short" not in str(found.value)


# --- definitions ---------------------------------------------------------------------------------

OWN = "arm_msgs/msg/Load"
#: The same members in another order: as many bytes, other numbers.
BEFORE, AFTER = "float64 force\nfloat64 torque\n", "float64 torque\nfloat64 force\n"


def defined(definition: str) -> Any:
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(definition, OWN))
    return store


def load(definition: str) -> bytes:
    store = defined(definition)
    return bytes(store.serialize_cdr(store.types[OWN](force=7.0, torque=0.5), OWN))


def redefined(path: Path) -> Path:
    """Write a topic whose type is defined anew half-way, as a merged recording is."""
    with path.open("wb") as file:
        writer = McapWriter(file)
        writer.start(profile="ros2", library="by hand")
        for received_ns, definition in enumerate((BEFORE, AFTER), start=1):
            schema = writer.register_schema(OWN, "ros2msg", definition.encode())
            channel = writer.register_channel("/load", "cdr", schema)
            for turn in range(3):
                writer.add_message(channel, 10 * received_ns + turn, load(definition), 0)
        writer.finish()
    return path


def test_a_type_that_is_defined_anew_is_read_by_each_messages_own_definition(
    tmp_path: Path,
) -> None:
    with Bag(redefined(tmp_path / "a.mcap")) as bag:
        assert bag.defined_twice == {"/load"}
        found = [bag.decode(topic, data) for topic, _, data in bag.messages()]
    assert [(m.force, m.torque) for m in found] == [(7.0, 0.5)] * 6


def test_one_definition_in_all_files_of_a_bag_counts_once(tmp_path: Path) -> None:
    with Bag(recorded(tmp_path / "bag")) as bag:
        assert not bag.defined_twice
        assert all(type(data) is bytes for _, _, data in bag.messages())


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("closed", [True, False])
def test_a_definition_may_have_any_line_ends_and_none_at_its_end(
    tmp_path: Path, end: str, closed: bool
) -> None:
    path = tmp_path / "a.mcap"
    text_of = BEFORE if closed else BEFORE.rstrip()
    with path.open("wb") as file:
        writer = McapWriter(file)
        writer.start(profile="ros2", library="by hand")
        schema = writer.register_schema(OWN, "ros2msg", text_of.replace("\n", end).encode())
        channel = writer.register_channel("/load", "cdr", schema)
        writer.add_message(channel, 1, load(BEFORE), 1)
        writer.finish()
    with Bag(path) as bag:
        ((topic, _, data),) = bag.messages()
        assert bag.decode(topic, data).force == 7.0


def test_a_definition_that_cannot_be_read_is_not_quoted_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    with path.open("wb") as file:
        writer = McapWriter(file)
        writer.start(profile="ros2", library="by hand")
        schema = writer.register_schema(OWN, "ros2msg", b"float64 force; \n" * 200)
        writer.add_message(writer.register_channel("/load", "cdr", schema), 1, load(BEFORE), 1)
        writer.finish()
    with Bag(path) as bag:
        ((topic, _, data),) = bag.messages()
        with pytest.raises(BagError, match=f"definition of {OWN} cannot be read") as caught:
            bag.decode(topic, data)
    assert len(str(caught.value)) < 400 + len(str(path))


def schemas(path: Path, *types: str) -> Path:
    """Write one topic with a channel per type; '' is a channel without schema."""
    with path.open("wb") as file:
        writer = McapWriter(file)
        writer.start(profile="ros2", library="by hand")
        for received_ns, name in enumerate(types, start=1):
            definition = STORE.generate_msgdef(name, ros_version=2)[0].encode() if name else b""
            schema = writer.register_schema(name, "ros2msg", definition) if name else 0
            channel = writer.register_channel("/a", "cdr", schema)
            writer.add_message(channel, received_ns, text("a"), received_ns)
        writer.finish()
    return path


@pytest.mark.parametrize(
    ("types", "what"),
    [
        ((TEXT, "std_msgs/msg/Bool"), f"/a: it holds std_msgs/msg/Bool and {TEXT}; a topic of one"),
        (("",), "/a: nothing says of which type its messages are: it has no schema"),
    ],
)
def test_a_topic_of_two_types_or_none_is_named(
    tmp_path: Path, types: tuple[str, ...], what: str
) -> None:
    with Bag(schemas(tmp_path / "a.mcap", *types)) as bag:
        topic, _, data = next(bag.messages())
        with pytest.raises(BagError, match=re.escape(what)):
            bag.decode(topic, data)


def test_a_channel_without_schema_has_the_type_that_the_metadata_names(tmp_path: Path) -> None:
    path = recorded(tmp_path / "bag")
    (file,) = path.glob("*.mcap")
    schemas(file, *[""] * 20)
    with Bag(edited(path, lambda y: y.replace("message_count: 20", "message_count: 0"))) as bag:
        topic, _, data = next(bag.messages())
        assert bag.decode(topic, data).data == "a"


@pytest.mark.parametrize("name", ["a.mcap", "a.db3", "a.bag"])
def test_a_pointer_of_git_lfs_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(BagError, match="it is a pointer of Git LFS: `git lfs pull` fetches"):
        Bag(path).__enter__()
