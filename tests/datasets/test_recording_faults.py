"""Ten faults in every storage: a clear line of each, and the rest of the data kept."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from smvae_core.robot import read_robot
from smvae_datasets.recordings.build import build_episodes
from smvae_datasets.recordings.report import summary_lines
from tests.datasets.recorded import MS, ROBOT, STORAGES, motion, rechunk, write_bag

SECONDS = 1.2
#: Of the wrench, in that time.
READINGS = 600


_WHOLE: dict[str, Path] = {}
"""A bag of each storage; written once, never touched."""


@pytest.fixture(scope="module", autouse=True)
def whole_bags(tmp_path_factory: pytest.TempPathFactory) -> None:
    for storage in STORAGES:
        folder = tmp_path_factory.mktemp(storage)
        _WHOLE[storage] = write_bag(folder / "bag", motion(SECONDS), storage)


def _recorded(folder: Path, storage: str) -> tuple[Path, Path]:
    """Return a copy of a whole bag and the file that holds its messages."""
    whole = _WHOLE[storage]
    bag = folder / whole.name
    if whole.is_file():
        return bag, Path(shutil.copy(whole, bag))
    shutil.copytree(whole, bag)
    return bag, next(p for p in bag.iterdir() if p.suffix in (".mcap", ".db3"))


def _rows(content: bytes, number: int) -> int:
    """Return where a page of an SQLite file begins that holds rows, counted from the middle."""
    size = int.from_bytes(content[16:18], "big")
    pages = range(len(content) // 2 // size * size, len(content), size)
    return [at for at in pages if content[at] == 0x0D][number]


def cut(folder: Path, storage: str) -> Path:
    bag, file = _recorded(folder, storage)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * 0.7)])
    return bag


def flipped(folder: Path, storage: str) -> Path:
    bag, file = _recorded(folder, storage)
    content = bytearray(file.read_bytes())
    begin = _rows(content, 0) if storage == "sqlite3" else len(content) // 2
    for at in range(begin, begin + 8):
        content[at] ^= 0xFF
    file.write_bytes(bytes(content))
    return bag


def empty(folder: Path, storage: str) -> Path:
    bag, file = _recorded(folder, storage)
    file.write_bytes(b"")
    return bag


def wrong_type(folder: Path, storage: str) -> Path:
    other = {"/joints": "/wrist/image", "/wrist/image": "/other"}
    messages = (m._replace(topic=other.get(m.topic, m.topic)) for m in motion(SECONDS))
    return write_bag(folder / "bag", messages, storage)


def missing_index(folder: Path, storage: str) -> Path:
    """No metadata.yaml, and of MCAP no summary; of ROS 1 a bag that was never closed."""
    bag, file = _recorded(folder, storage)
    content = file.read_bytes()
    if storage == "ros1":
        position = content.index(b"index_pos=") + len(b"index_pos=")
        index = int.from_bytes(content[position : position + 8], "little")
        file.write_bytes(content[:position] + bytes(8) + content[position + 8 : index])
        return bag
    (bag / "metadata.yaml").unlink()
    if storage == "mcap":  # all behind the record that ends the data
        file.write_bytes(content[: content.rindex(b"\x0f" + (4).to_bytes(8, "little"))])
    return bag


def missing_split(folder: Path, storage: str) -> Path:
    """Of two files only one is there; a ROS 1 bag is one file, and lacks its index."""
    if storage == "ros1":
        return missing_index(folder, storage)
    bag, file = _recorded(folder, storage)
    metadata = bag / "metadata.yaml"
    text = metadata.read_text()
    assert f"- {file.name}" in text
    metadata.write_text(text.replace(f"- {file.name}", f"- {file.name}\n  - gone{file.suffix}", 1))
    return bag


def bad_checksum(folder: Path, storage: str) -> Path:
    """A chunk whose checksum does not fit; SQLite has none, there a page of garbage."""
    bag, file = _recorded(folder, storage)
    content = bytearray(file.read_bytes())
    if storage == "sqlite3":
        page = int.from_bytes(content[16:18], "big")
        begin = _rows(content, 1)
        content[begin : begin + page] = b"\xa5" * page
    elif storage == "mcap":
        at = content.index(b"\x04\x00\x00\x00zstd", len(content) // 2)
        content[at - 4] ^= 0xFF
    else:
        at = content.index(b"BZh9", len(content) // 2)
        content[at + 10] ^= 0xFF
    file.write_bytes(bytes(content))
    return bag


def bad_schema(folder: Path, storage: str) -> Path:
    bag, file = _recorded(folder, storage)
    broken = b"Wrench { wrench"
    if storage == "mcap":
        rechunk(file, {"geometry_msgs/msg/WrenchStamped": broken})
    elif storage == "sqlite3":
        with closing(sqlite3.connect(file)) as base, base:
            base.execute(
                "UPDATE message_definitions SET encoded_message_definition = ? "
                "WHERE topic_type = 'geometry_msgs/msg/WrenchStamped'",
                (broken.decode(),),
            )
    else:
        bag.unlink()
        said = {"/wrench": broken.decode()}
        bag = write_bag(folder / "bag", motion(SECONDS), storage, broken=said)
    return bag


def time_jumps(folder: Path, storage: str) -> Path:
    """Half-way all stamps go back by ten seconds."""
    found = list(motion(SECONDS))
    jumped = (
        m._replace(stamp_ns=m.stamp_ns - (10_000 * MS if n >= len(found) // 2 else 0))
        for n, m in enumerate(found)
    )
    return write_bag(folder / "bag", jumped, storage)


def zero_stamps(folder: Path, storage: str) -> Path:
    messages = (
        m._replace(stamp_ns=0 if n % 7 == 0 else m.stamp_ns) for n, m in enumerate(motion(SECONDS))
    )
    return write_bag(folder / "bag", messages, storage)


def disorder(folder: Path, storage: str) -> Path:
    """Every seventh message is stamped before those that came just before it."""
    messages = (
        m._replace(stamp_ns=m.stamp_ns - 7 * MS if n % 7 == 6 else m.stamp_ns)
        for n, m in enumerate(motion(SECONDS))
    )
    return write_bag(folder / "bag", messages, storage)


#: Fault -> how it is made, what its line says, and the least number of readings that are kept.
FAULTS: dict[str, tuple[Callable[[Path, str], Path], str, int]] = {
    "cut": (cut, "was not closed|ends within", 200),
    "flipped": (flipped, "damaged", 350),
    "empty": (empty, r"empty \(0 bytes\)", 0),
    "wrong type": (wrong_type, "/wrist/image holds sensor_msgs/msg/JointState", READINGS),
    "missing index": (missing_index, "no metadata.yaml|was not closed", READINGS),
    "missing split": (missing_split, "names gone|was not closed", READINGS),
    "bad checksum": (bad_checksum, "damaged", 350),
    "bad schema": (bad_schema, "WrenchStamped cannot be read", 0),
    "time jumps": (time_jumps, "time went back by", READINGS - 10),
    "zero stamps": (zero_stamps, "x zero stamp", 450),
    "disorder": (disorder, "[0-9]+ late", 450),
}


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_and_the_rest_is_kept(tmp_path: Path, fault: str, storage: str) -> None:
    (tmp_path / "robot.yaml").write_text(ROBOT)
    robot = read_robot(tmp_path / "robot.yaml")
    make, said, least = FAULTS[fault]
    bag = make(tmp_path, storage)
    summary = build_episodes([bag, _WHOLE["mcap"]], robot, tmp_path / "out", jobs=1, progress=False)
    lines = summary_lines(summary)
    assert any(re.search(said, line) for line in lines), lines
    assert all("\n" not in line and len(line) < 400 for line in lines)
    damaged, whole = summary["recordings"].values()
    assert whole["sensors"]["force"]["messages"] == READINGS
    if fault == "empty":
        assert "failed" in damaged
        return
    force, depth = damaged["sensors"]["force"], damaged["sensors"]["depth"]
    assert force["used"] + force["unused"] >= least
    assert depth["used"] + depth["unused"] >= 8
    if fault == "bad schema":
        assert force["refused"] == {"decode": READINGS}
        assert depth["messages"] == depth["used"] + depth["unused"] == 24
