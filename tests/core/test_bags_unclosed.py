"""A .db3 file whose recorder was killed: SQLite's log beside it holds the newest messages."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rosbags")
pytest.importorskip("mcap")
from rosbags.rosbag2 import StoragePlugin

from smvae_core.bag_formats import log as bag_log
from smvae_core.bags import Bag, BagError
from tests.core.test_bags_of_other_writers import ROWS, recorded, text

#: Receive times of what is only in the log.
NEWER = range(1000, 1100, 10)


def killed(path: Path, log: str) -> Path:
    """Return a bag as a recorder that was killed leaves it: in `log` mode, NEWER in the log."""
    whole = recorded(path.with_name("whole"), StoragePlugin.SQLITE3)
    (file,) = whole.glob("*.db3")
    path.mkdir()
    with closing(sqlite3.connect(file)) as base:
        base.execute(f"PRAGMA journal_mode = {log}")
        base.execute("PRAGMA cache_size = 1")  # pages are written before they are committed
        rows = [(1, time, text(str(time))) for time in NEWER]
        base.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", rows)
        if log == "WAL":
            base.commit()
        else:
            base.execute("UPDATE messages SET data = zeroblob(9000)")  # half done
        for each in file.parent.iterdir():
            if "metadata" not in each.name and not each.name.endswith("-shm"):
                shutil.copyfile(each, path / each.name)
    return path


def times(path: Path, **options: Any) -> list[int]:
    with Bag(path, **options) as bag:
        return [received_ns for _, received_ns, _ in bag.messages()]


def content(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir()}


def test_messages_in_the_log_are_read_and_the_recording_stays_as_it_is(tmp_path: Path) -> None:
    path = killed(tmp_path / "bag", "WAL")
    before, said = content(path), list[str]()
    assert times(path, forgive=said.append) == [*(t for _, t in ROWS), *NEWER]
    assert said[-1] == "whole.db3 was not closed: whole.db3-wal beside it is read with it"
    assert content(path) == before
    assert times(path / "whole.db3") == [*(t for _, t in ROWS), *NEWER]
    assert content(path) == before


def test_what_was_half_written_is_taken_back(tmp_path: Path) -> None:
    path = killed(tmp_path / "bag", "DELETE")
    assert (path / "whole.db3-journal").stat().st_size
    with Bag(path / "whole.db3") as bag:
        found = [(received_ns, data) for _, received_ns, data in bag.messages()]
    assert found == [(time, text(str(time))) for _, time in ROWS]


def test_a_log_of_another_file_is_left_alone(tmp_path: Path) -> None:
    path = killed(tmp_path / "bag", "WAL")
    log = path / "whole.db3-wal"
    log.write_bytes(bytes(len(log.read_bytes())))
    assert times(path / "whole.db3") == [t for _, t in ROWS]


def test_without_room_for_a_copy_the_rest_is_read_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = killed(tmp_path / "bag", "WAL")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bag_log.shutil, "copyfile", full)
    said: list[str] = []
    assert times(path, forgive=said.append) == [t for _, t in ROWS]
    assert said[-1].startswith("whole.db3 was not closed: whole.db3-wal beside it cannot be merged")
    assert said[-1].endswith("No space left on device; read without its newest messages")
    with pytest.raises(BagError, match="No space left"):
        times(path / "whole.db3")
