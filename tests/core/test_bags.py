"""Bags of both storages give the same messages in order of receive time; windows and faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rosbags")
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from smvae_core.bags import Bag, BagError, BagTopic, listed

STORE = get_typestore(Stores.ROS2_JAZZY)
TEXT = "std_msgs/msg/String"
STORAGES = (StoragePlugin.MCAP, StoragePlugin.SQLITE3)


def text(data: str) -> bytes:
    return bytes(STORE.serialize_cdr(STORE.types[TEXT](data=data), TEXT))


def write(path: Path, rows: list[tuple[str, int, str]], storage: Any = StoragePlugin.MCAP) -> Path:
    with Writer(path, version=9, storage_plugin=storage) as writer:
        topics = {t: writer.add_connection(t, TEXT, typestore=STORE) for t in ("/a", "/b")}
        for topic, received_ns, data in rows:
            writer.write(topics[topic], received_ns, text(data))
    return path


@pytest.mark.parametrize("storage", STORAGES, ids=lambda s: s.name)
def test_messages_come_in_the_order_of_their_receive_time(storage: Any, tmp_path: Path) -> None:
    rows = [("/a", 30, "3"), ("/b", 10, "1"), ("/a", 20, "2"), ("/b", 40, "4")]
    with Bag(write(tmp_path / "bag", rows, storage)) as bag:
        assert {n: (t.message_type, t.messages) for n, t in bag.topics.items()} == {
            "/a": (TEXT, 2),
            "/b": (TEXT, 2),
        }
        assert (bag.begin_ns, bag.end_ns) == (10, 41)
        found = [(t, ns, bag.decode(t, data).data) for t, ns, data in bag.messages()]
        assert found == [("/b", 10, "1"), ("/a", 20, "2"), ("/a", 30, "3"), ("/b", 40, "4")]
        assert [ns for _, ns, _ in bag.messages(["/a"])] == [20, 30]
        assert [ns for _, ns, _ in bag.messages(None, 20, 40)] == [20, 30]
        assert list(bag.messages(["/none"])) == []
        assert bag.listed() == f"/a ({TEXT}, 2), /b ({TEXT}, 2)"


def test_an_empty_bag_has_no_length_and_no_messages(tmp_path: Path) -> None:
    with Bag(write(tmp_path / "bag", [])) as bag:
        assert bag.duration_s == 0.0
        assert list(bag.messages()) == []


def test_a_bag_can_be_read_twice_and_messages_start_anywhere(tmp_path: Path) -> None:
    bag = Bag(write(tmp_path / "bag", [("/a", n, str(n)) for n in range(1, 100)]))
    for _ in range(2):
        with bag:
            assert len(list(bag.messages())) == 99
            assert next(bag.messages(None, 50))[1] == 50


def test_bytes_of_another_type_are_named_with_their_topic(tmp_path: Path) -> None:
    path = tmp_path / "bag"
    with Writer(path, version=9) as writer:
        connection = writer.add_connection("/a", TEXT, typestore=STORE)
        writer.write(connection, 1, b"\0\1\0\0")
    with Bag(path) as bag:
        ((topic, _, data),) = bag.messages()
        with pytest.raises(BagError, match=f"a message on /a is not a {TEXT}"):
            bag.decode(topic, data)


def test_a_typestore_that_nobody_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"unknown typestore 'jazzy'.*Did you mean 'ros2_jazzy'"):
        Bag(tmp_path, "jazzy")


def test_of_many_topics_those_with_messages_are_listed_and_the_rest_is_counted() -> None:
    def topic(name: str, messages: int) -> BagTopic:
        return BagTopic(name=name, message_type=TEXT, messages=messages, latched=False)

    many = {f"/a{n}": topic(f"/a{n}", 0) for n in range(500)} | {"/z": topic("/z", 7)}
    text = listed(many)
    assert text.startswith(f"/z ({TEXT}, 7), /a0 ({TEXT}, 0), ")
    assert text.endswith(", and 481 more topics, 0 of them with messages")
    assert listed({"/b": topic("/b", 1)}) == f"/b ({TEXT}, 1)"
    assert listed({}) == "none"
