"""Writes LeRobot v3: tables and AV1 videos that hold many episodes each, and their statistics.

Memory stays that of some rows, and of one episode's numbers.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from smvae_datasets.lerobot import statistics
from smvae_datasets.lerobot.folder import (
    DATA_PATH,
    IMAGES,
    INDICES,
    INFO,
    VIDEO_PATH,
    Feature,
    LeRobotError,
    require_packages,
)

VERSION = "v3.0"
CODEC = "libsvtav1"
#: As LeRobot's own: every second frame is a key frame, so that any row is found fast.
_ENCODING = {"g": "2", "crf": "30", "preset": "10"}
#: The encoder takes nothing smaller.
SMALLEST_VIDEO = 64
_FILES_PER_CHUNK = 1000
_DATA_MB, _VIDEO_MB = 100, 200
_EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_ROWS = 256


def image_feature(name: str, height: int, width: int) -> Feature:
    """Return the feature of a colour image: a video where its size can be one."""
    sides = (height, width)
    video = all(side % 2 == 0 and side >= SMALLEST_VIDEO for side in sides)
    return Feature(name=name, dtype="video" if video else "image", shape=(*sides, 3))


def refuse_existing(path: Path) -> None:
    """Refuse to write where something is.

    Raises:
        LeRobotError: If there is.
    """
    if path.exists():
        raise LeRobotError(path, "already there; give a folder that is not")


class LeRobotWriter:
    """Writes one folder; use it in a `with` block, which completes it or leaves nothing."""

    def __init__(
        self, path: Path, features: Sequence[Feature], *, fps: float, robot: str = ""
    ) -> None:
        """Begin a folder.

        Args:
            path: Must not exist yet.
            features: Of every row: images are (H, W, 3) uint8 RGB, or (H, W) uint16 of depth in
                millimetres; everything else an array of the feature's shape and type.
            fps: Rows per second; the n-th row of an episode is at n / fps.
            robot: Name of the robot.

        Raises:
            LeRobotError: If there is something already, or a feature cannot be written.
            MissingDependency: If pyarrow or av is not installed.
        """
        require_packages()
        self.path, self.fps = path, Fraction(fps).limit_denominator(1000)
        refuse_existing(path)
        for feature in features:
            if "/" in feature.name or feature.name in INDICES:
                raise LeRobotError(path, f"no feature can be called '{feature.name}'")
        self.features = {feature.name: feature for feature in features}
        self.robot = robot
        self.frames = 0
        self._part = path.with_name(f"{path.name}.part")
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, Any]] = []
        self._stats: list[statistics.Stats] = []
        self._table: _Table | None = None
        self._videos: dict[str, _Video] = {}

    def __enter__(self) -> LeRobotWriter:
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir(parents=True)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for file in (self._table, *self._videos.values()):
            if file is not None:
                file.close()
        if kind is None and self._episodes:
            self._write_meta()
            os.replace(self._part, self.path)
        else:
            shutil.rmtree(self._part, ignore_errors=True)

    def add_episode(self, rows: Iterable[Mapping[str, NDArray[Any]]], task: str) -> int:
        """Write one episode and return its number of rows; one without rows is left out.

        Raises:
            LeRobotError: If a row is not what the features say.
        """
        episode, first, count = len(self._episodes), self.frames, 0
        task_index = self._tasks.setdefault(task, len(self._tasks))
        stats = {name: statistics.Collector(f.is_image) for name, f in self.features.items()}
        begin: dict[str, tuple[int, int, float]] = {}
        waiting: list[dict[str, Any]] = []
        for count, row in enumerate(rows, 1):
            if count == 1:
                self._table = self._next_table()
                begin = {n: self._begin(n) for n, f in self.features.items() if f.dtype == "video"}
            cells: dict[str, Any] = {
                "timestamp": float((count - 1) / self.fps),
                "frame_index": count - 1,
                "episode_index": episode,
                "index": first + count - 1,
                "task_index": task_index,
            }
            for name, feature in self.features.items():
                value = self._checked(feature, row)
                stats[name].add(value)
                if feature.dtype == "video":
                    self._videos[name].add(value)
                else:
                    cells[name] = _cell(feature, value)
            waiting.append(cells)
            if len(waiting) == _ROWS:
                self._write(waiting)
        if not count:
            return 0
        self._write(waiting)
        self.frames += count
        found = {name: collector.result() for name, collector in stats.items()}
        found |= statistics.of_indices(count, first, episode, task_index, float(self.fps))
        self._stats.append(found)
        assert self._table is not None
        self._episodes.append(
            {
                "episode_index": episode,
                "tasks": [task],
                "length": count,
                "data/chunk_index": self._table.chunk,
                "data/file_index": self._table.file,
                "dataset_from_index": first,
                "dataset_to_index": first + count,
                **self._places(begin, count),
                **statistics.flat(found),
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
            }
        )
        return count

    def _checked(self, feature: Feature, row: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        value = np.asarray(row[feature.name])
        shape = feature.shape[:2] if feature.is_image and feature.shape[2] == 1 else feature.shape
        if value.shape != shape:
            what = f"feature '{feature.name}': expected shape {shape}, got {value.shape}"
            raise LeRobotError(self.path, what)
        return value

    def _begin(self, name: str) -> tuple[int, int, float]:
        """Return chunk, file and time at which an episode begins in a feature's video."""
        video = self._videos.get(name)
        if video is None or video.megabytes >= _VIDEO_MB:
            if video is not None:
                video.close()
            chunk, file = divmod(0 if video is None else video.number + 1, _FILES_PER_CHUNK)
            path = VIDEO_PATH.format(video_key=name, chunk_index=chunk, file_index=file)
            video = _Video(self._part / path, self.features[name], self.fps, chunk, file)
            self._videos[name] = video
        return video.chunk, video.file, float(video.frames / self.fps)

    def _places(self, begin: Mapping[str, tuple[int, int, float]], count: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, (chunk, file, from_s) in begin.items():
            found[f"videos/{name}/chunk_index"] = chunk
            found[f"videos/{name}/file_index"] = file
            found[f"videos/{name}/from_timestamp"] = from_s
            found[f"videos/{name}/to_timestamp"] = from_s + float(count / self.fps)
        return found

    def _next_table(self) -> _Table:
        table = self._table
        if table is not None and table.megabytes < _DATA_MB:
            return table
        if table is not None:
            table.close()
        chunk, file = divmod(0 if table is None else table.number + 1, _FILES_PER_CHUNK)
        path = self._part / DATA_PATH.format(chunk_index=chunk, file_index=file)
        return _Table(path, self.features, chunk, file)

    def _write(self, waiting: list[dict[str, Any]]) -> None:
        assert self._table is not None
        self._table.write(waiting)
        waiting.clear()

    def _write_meta(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._part / _EPISODES_PATH.format(chunk_index=0, file_index=0)
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(self._episodes), path)
        tasks = pa.table({"task_index": list(self._tasks.values()), "task": list(self._tasks)})
        pq.write_table(
            tasks.replace_schema_metadata({"pandas": json.dumps(_TASKS_BY_NAME)}),
            self._part / "meta/tasks.parquet",
        )
        stats = statistics.together(self._stats)
        (self._part / "meta/stats.json").write_text(json.dumps(stats, indent=4), encoding="utf-8")
        info = {
            "codebase_version": VERSION,
            "robot_type": self.robot,
            "total_episodes": len(self._episodes),
            "total_frames": self.frames,
            "total_tasks": len(self._tasks),
            "chunks_size": _FILES_PER_CHUNK,
            "data_files_size_in_mb": _DATA_MB,
            "video_files_size_in_mb": _VIDEO_MB,
            "fps": int(self.fps) if self.fps.denominator == 1 else float(self.fps),
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self._videos else None,
            "features": {n: _said(f, self.fps) for n, f in self.features.items()} | _INDEX_FEATURES,
        }
        text = json.dumps(info, indent=4, ensure_ascii=False)
        (self._part / INFO).write_text(text, encoding="utf-8")


_INDEX_FEATURES = {
    name: {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
    for name in INDICES
}
#: What makes pandas take the task's name for the index of its row, as LeRobot needs.
_TASKS_BY_NAME = {
    "index_columns": ["task"],
    "column_indexes": [],
    "columns": [
        {
            "name": "task_index",
            "field_name": "task_index",
            "pandas_type": "int64",
            "numpy_type": "int64",
            "metadata": None,
        },
        {
            "name": "task",
            "field_name": "task",
            "pandas_type": "unicode",
            "numpy_type": "object",
            "metadata": None,
        },
    ],
    "pandas_version": "2.0.0",
}


def _said(feature: Feature, fps: Fraction) -> dict[str, Any]:
    """Return what info.json says of a feature."""
    said: dict[str, Any] = {"dtype": feature.dtype, "shape": list(feature.shape), "names": None}
    if feature.is_image:
        said["names"] = ["height", "width", "channels"]
    elif feature.names:
        said["names"] = list(feature.names)
    if feature.dtype == "video":
        height, width, channels = feature.shape
        said["info"] = {
            "video.height": height,
            "video.width": width,
            "video.codec": "av1",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": float(fps),
            "video.channels": channels,
            "has_audio": False,
        }
    elif feature.is_depth:
        said["info"] = {"is_depth_map": True, "depth_unit": "mm"}
    return said


def _cell(feature: Feature, value: NDArray[Any]) -> Any:
    if feature.dtype == "image":
        stored = value[:, :, ::-1] if value.ndim == 3 else value
        return {"bytes": cv2.imencode(".png", stored)[1].tobytes(), "path": None}
    return value[0].item() if feature.shape == (1,) else value.tolist()


class _Table:
    """One parquet file, written as rows come."""

    def __init__(self, path: Path, features: Mapping[str, Feature], chunk: int, file: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.chunk, self.file, self._path = chunk, file, path
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {n: _column(f) for n, f in features.items() if f.dtype != "video"}
        columns |= dict.fromkeys(INDICES, pa.int64()) | {"timestamp": pa.float32()}
        self._schema = pa.schema(columns)
        self._writer = pq.ParquetWriter(path, self._schema)

    @property
    def number(self) -> int:
        return self.chunk * _FILES_PER_CHUNK + self.file

    @property
    def megabytes(self) -> float:
        return self._path.stat().st_size / 2**20

    def write(self, rows: list[dict[str, Any]]) -> None:
        import pyarrow as pa

        if rows:
            self._writer.write_table(pa.Table.from_pylist(rows, self._schema))

    def close(self) -> None:
        self._writer.close()


def _column(feature: Feature) -> Any:
    import pyarrow as pa

    if feature.dtype in IMAGES:
        return pa.struct({"bytes": pa.binary(), "path": pa.string()})
    kind = pa.bool_() if feature.dtype == "bool" else getattr(pa, feature.dtype)()
    if feature.shape == (1,):
        return kind
    if len(feature.shape) == 1:
        return pa.list_(kind, feature.shape[0])
    for _ in feature.shape:
        kind = pa.list_(kind)
    return kind


class _Video:
    """One mp4, encoded as frames come."""

    def __init__(self, path: Path, feature: Feature, fps: Fraction, chunk: int, file: int) -> None:
        import av

        path.parent.mkdir(parents=True, exist_ok=True)
        self.chunk, self.file, self.frames, self.megabytes = chunk, file, 0, 0.0
        if CODEC not in av.codecs_available:
            what = f"this build of av has no encoder {CODEC}: pip install 'av>=15'"
            raise LeRobotError(path, what)
        os.environ.setdefault("SVT_LOG", "1")  # errors only: it says a page at every start
        self._container = av.open(str(path), "w")
        stream: Any = self._container.add_stream(CODEC, rate=fps, options=_ENCODING)
        self._stream, self._tick = stream, 1 / fps
        self._stream.height, self._stream.width = feature.shape[:2]
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._tick

    @property
    def number(self) -> int:
        return self.chunk * _FILES_PER_CHUNK + self.file

    def add(self, pixels: NDArray[np.uint8]) -> None:
        import av

        frame: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base = self.frames, self._tick
        self._mux(self._stream.encode(frame))
        self.frames += 1

    def _mux(self, packets: list[Any]) -> None:
        self._container.mux(packets)
        self.megabytes += sum(packet.size for packet in packets) / 2**20

    def close(self) -> None:
        self._mux(self._stream.encode(None))
        self._container.close()
