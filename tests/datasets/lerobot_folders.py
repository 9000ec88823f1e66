"""Small LeRobot folders that tests make: v2.1 by hand, v3 by our writer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CAMERA, STATE, ACTION = "observation.images.wrist", "observation.state", "action"
JOINTS = ("shoulder", "elbow", "wrist")
HEIGHT, WIDTH, FPS = 64, 80, 20


def picture(episode: int, frame: int) -> NDArray[np.uint8]:
    """Return a smooth picture (H, W, 3) that differs in each frame."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    levels = [rows + 4 * frame, columns, np.full_like(rows, 30 * episode + frame)]
    return np.stack(levels, axis=-1).clip(0, 255).astype(np.uint8)


def state(episode: int, frame: int) -> NDArray[np.float32]:
    return np.array([episode, 0.1 * frame, np.sin(frame)], np.float32)


def write_video(path: Path, pictures: Iterator[NDArray[np.uint8]]) -> None:
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=FPS, options={"g": "2", "crf": "10"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number, pixels in enumerate(pictures):
            frame: Any = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_v21(path: Path, lengths: tuple[int, ...] = (12, 9)) -> Path:
    """Write a v2.1 folder: a camera, three joints, and an action without names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [list(JOINTS)]  # nested, as recorders of humanoids write them
    info = {
        "codebase_version": "v2.1",
        "robot_type": "toy_arm",
        "fps": FPS,
        "chunks_size": 1000,
        "features": {
            STATE: {"dtype": "float32", "shape": [3], "names": names},
            ACTION: {"dtype": "float32", "shape": [3], "names": None},
            CAMERA: {"dtype": "video", "shape": [HEIGHT, WIDTH, 3], "names": None},
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        },
    }
    (path / "meta").mkdir(parents=True)
    (path / "meta/info.json").write_text(json.dumps(info))
    lines = []
    for episode, length in enumerate(lengths):
        lines.append({"episode_index": episode, "length": length, "tasks": ["reach"]})
        values = pa.array([state(episode, n).tolist() for n in range(length)])
        table = pa.table(
            {
                STATE: values.cast(pa.list_(pa.float32(), 3)),
                ACTION: values.cast(pa.list_(pa.float32())),
                "timestamp": pa.array([n / FPS for n in range(length)], pa.float32()),
                "episode_index": [episode] * length,
            }
        )
        file = path / f"data/chunk-000/episode_{episode:06d}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, file)
        video = path / f"videos/chunk-000/{CAMERA}/episode_{episode:06d}.mp4"
        write_video(video, (picture(episode, n) for n in range(length)))
    (path / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return path


def change_info(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what a folder's info.json says."""
    info = json.loads((path / "meta/info.json").read_text())
    change(info)
    (path / "meta/info.json").write_text(json.dumps(info))


def add_column(path: Path, name: str, cells: Any, shape: list[int], dtype: str = "float32") -> None:
    """Add a column to all tables of a folder, whose episodes have as many rows."""
    import pyarrow.parquet as pq

    for file in path.glob("data/**/*.parquet"):
        pq.write_table(pq.read_table(file).append_column(name, [cells]), file)
    said = {"dtype": dtype, "shape": shape, "names": None}
    change_info(path, lambda info: info["features"].update({name: said}))
