"""A rosbag2 bag written by a thread of its own: writing never delays receiving. No rclpy."""

from __future__ import annotations

import json
import os
import queue
import threading
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg

from smvae_core.bag_formats.types import DEFAULT_TYPESTORE, typestore
from smvae_core.errors import SMVAEError


class RecordingError(SMVAEError, RuntimeError):
    """The bag cannot be written."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"bag {path}: {reason}")


def message_files(package: str) -> list[Path]:
    """Return the .msg files that a package installed, from the prefixes of AMENT_PREFIX_PATH."""
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        files = sorted(Path(prefix, "share", package, "msg").glob("*.msg")) if prefix else []
        if files:
            return files
    return []


def typestore_with(types: list[str]) -> Any:
    """Return the Jazzy types plus those of every other package named in `types`.

    Args:
        types: E.g. 'smvae_msgs/msg/LatentState'.
    """
    store = typestore(DEFAULT_TYPESTORE)
    for package in {name.split("/")[0] for name in types if name not in store.types}:
        found: dict[str, Any] = {}
        for path in message_files(package):
            text = path.read_text(encoding="utf-8")
            found |= get_types_from_msg(text, f"{package}/msg/{path.stem}")
        store.register({k: v for k, v in found.items() if k not in store.types})
    return store


class BagWriter:
    """Takes serialised messages from any thread; `finish` makes the bag whole.

    MCAP, each chunk of about 1 MB compressed with zstd: rosbag2's own default storage, readable by
    Foxglove and by rosbags without ROS.
    """

    def __init__(self, path: Path) -> None:
        """Open the bag and start the thread.

        Raises:
            RecordingError: If the folder exists or cannot be made.
        """
        self.path = path
        self.counts: dict[str, int] = {}
        self.failure: Exception | None = None
        self.deepest = 0
        if path.exists():
            raise RecordingError(path, "exists already; choose another folder or remove it")
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        try:
            self._writer.open()
        except OSError as err:
            raise RecordingError(path, err) from err
        self._connections: dict[str, Any] = {}
        self._queue: queue.SimpleQueue[tuple[str, int, bytes] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="bag", daemon=True)
        self._thread.start()

    def add_topic(self, topic: str, type_name: str) -> None:
        """Announce a topic before its first message.

        Raises:
            RecordingError: If no definition of the type is installed.
        """
        store = typestore_with([type_name])
        if type_name not in store.types:
            raise RecordingError(self.path, f"no definition of {type_name} in AMENT_PREFIX_PATH")
        with self._lock:
            self._connections[topic] = self._writer.add_connection(
                topic, type_name, typestore=store
            )
            self.counts[topic] = 0

    def put(self, topic: str, received_ns: int, data: bytes) -> None:
        """Queue one message (CDR) with the system time at which it came; never blocks."""
        self._queue.put((topic, received_ns, data))

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            self.deepest = max(self.deepest, self._queue.qsize())
            if self.failure is not None:
                continue  # keep the queue empty; finish() reports
            topic, received_ns, data = item
            try:
                with self._lock:
                    self._writer.write(self._connections[topic], received_ns, data)
                    self.counts[topic] += 1
            except Exception as err:  # a full disk, above all; reported by finish()
                self.failure = err

    def finish(self, notes: dict[str, Any]) -> None:
        """Write what is queued, then index and metadata; `notes` go into the bag's custom data.

        Raises:
            RecordingError: If anything could not be written; the bag is then not valid.
        """
        self._queue.put(None)
        self._thread.join()
        if self.failure is not None:
            self._writer.abort()
            raise RecordingError(self.path, self.failure)
        self._writer.set_custom_data("recorder", json.dumps(notes))
        try:
            self._writer.close()
        except OSError as err:
            raise RecordingError(self.path, err) from err
