"""What a LeRobot folder says of itself: its features, and which episodes are really there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from smvae_core.errors import MissingDependency, SMVAEError, one_line

INFO = "meta/info.json"
#: Columns that number the rows; everything else is a feature.
INDICES = ("timestamp", "frame_index", "episode_index", "index", "task_index")
IMAGES = ("video", "image")
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
#: Major version -> where its tables and videos are, unless info.json says otherwise.
_PATHS = {
    2: (
        "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    ),
    3: (DATA_PATH, VIDEO_PATH),
}


class LeRobotError(SMVAEError, ValueError):
    """A LeRobot folder that is missing, damaged, or of another version."""

    def __init__(self, path: Path | str, what: object) -> None:
        super().__init__(f"LeRobot folder {path}: {what}")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One column."""

    name: str
    """E.g. 'observation.state'."""
    dtype: str
    """'video', 'image', or that of its numbers."""
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    """Of its numbers, e.g. of joints; empty where the folder gives none, and for images."""
    is_depth: bool = False

    @property
    def is_image(self) -> bool:
        return self.dtype in IMAGES

    @property
    def is_read(self) -> bool:
        """Whether it is images, numbers or yes and no; text is not."""
        return self.is_image or self.dtype.startswith(("float", "int", "uint", "bool"))


@dataclass(frozen=True, kw_only=True)
class EpisodeEntry:
    """Where one episode lies."""

    index: int
    length: int
    """Rows, as `meta` says."""
    data: Path
    videos: Mapping[str, tuple[Path, float]] = field(default_factory=dict)
    """Feature -> its file, and the time of the file at which the episode begins [s]."""
    tasks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return episode_name(self.index)

    def has_video(self, feature: str) -> bool:
        """Return whether the video of a feature is there."""
        return feature in self.videos and self.videos[feature][0].is_file()


def episode_name(index: int) -> str:
    """Return the name of an episode, by its number."""
    return f"episode_{index:06d}"


def is_lerobot(path: Path) -> bool:
    """Return whether a path is a LeRobot folder."""
    return (path / INFO).is_file()


class LeRobotFolder:
    """The metadata of a LeRobot folder; nothing of it stays open."""

    def __init__(self, path: Path | str) -> None:
        """Read what the folder says.

        Raises:
            LeRobotError: If it is none, its metadata are damaged, or of another version.
            MissingDependency: If pyarrow or av is not installed.
        """
        self.path = Path(path)
        if not is_lerobot(self.path):
            raise LeRobotError(self.path, f"no {INFO} in it{_inside(self.path)}")
        require_packages()
        try:
            info = json.loads((self.path / INFO).read_text(encoding="utf-8"))
            self.version = str(info["codebase_version"]).removeprefix("v")
            self.fps = float(info["fps"])
            self.robot = str(info.get("robot_type") or "")
            self.features = {
                name: _feature(name, said)
                for name, said in info["features"].items()
                if name not in INDICES
            }
            major = int(self.version.partition(".")[0])
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise LeRobotError(self.path, f"{INFO} is not what it must be: {_why(err)}") from err
        if major not in _PATHS:
            known = "v2.0, v2.1 and v3.0 are read"
            raise LeRobotError(self.path, f"its version is v{self.version}, {known}")
        if not self.fps > 0:
            raise LeRobotError(self.path, f"{INFO}: fps must be positive, got {self.fps:g}")
        self._info, self._major = info, major

    @cached_property
    def entries(self) -> tuple[EpisodeEntry, ...]:
        """All episodes that `meta` names, whether they are there or not.

        Raises:
            LeRobotError: If the list of episodes is damaged or missing.
        """
        read = self._entries_2 if self._major == 2 else self._entries_3
        try:
            return tuple(sorted(read(), key=lambda entry: entry.index))
        except OSError as err:
            raise LeRobotError(self.path, f"its list of episodes: {_why(err)}") from err
        except (ValueError, KeyError, TypeError, IndexError) as err:
            what = f"its list of episodes is not what it must be: {_why(err)}"
            raise LeRobotError(self.path, what) from err

    @cached_property
    def present(self) -> tuple[EpisodeEntry, ...]:
        """The episodes whose numbers are in the folder."""
        return tuple(e for e in self.entries if e.data.is_file())

    @property
    def missing(self) -> tuple[EpisodeEntry, ...]:
        """The episodes that `meta` names and the folder lacks."""
        there = {e.index for e in self.present}
        return tuple(e for e in self.entries if e.index not in there)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the folder lacks of what `meta` names, one line each."""
        told = []
        if self.missing:
            numbers = _ranges([e.index for e in self.missing])
            told.append(
                f"{len(self.missing)} of {len(self.entries)} episodes that meta names are not in "
                f"the folder: {numbers}"
            )
        for name in self.features:
            lost = [e.index for e in self.present if name in e.videos and not e.has_video(name)]
            if lost:
                told.append(f"{name}: no video of episodes {_ranges(lost)}")
        return tuple(told)

    def _templates(self) -> tuple[str, str]:
        data, video = _PATHS[self._major]
        return self._info.get("data_path") or data, self._info.get("video_path") or video

    def _entries_2(self) -> Iterator[EpisodeEntry]:
        data, video = self._templates()
        size = int(self._info.get("chunks_size") or 1000)
        path = self.path / "meta/episodes.jsonl"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                said = json.loads(line)
            except ValueError as err:
                raise ValueError(f"line {number} of {path.name}: {one_line(err)}") from err
            index = int(said["episode_index"])
            where = {"episode_chunk": index // size, "episode_index": index}
            yield EpisodeEntry(
                index=index,
                length=int(said["length"]),
                data=self.path / data.format(**where),
                videos={
                    name: (self.path / video.format(video_key=name, **where), 0.0)
                    for name, f in self.features.items()
                    if f.dtype == "video"
                },
                tasks=tuple(said.get("tasks") or ()),
            )

    def _entries_3(self) -> Iterator[EpisodeEntry]:
        import pyarrow.parquet as pq

        data, video = self._templates()
        paths = sorted((self.path / "meta/episodes").glob("*/*.parquet"))
        if not paths:
            raise FileNotFoundError("no meta/episodes/*/*.parquet")
        for path in paths:
            with pq.ParquetFile(path) as file:
                columns = [c for c in file.schema_arrow.names if not c.startswith("stats/")]
                rows = file.read(columns).to_pylist()
            for said in rows:
                yield self._entry_3(said, data, video)

    def _entry_3(self, said: Mapping[str, Any], data: str, video: str) -> EpisodeEntry:
        videos = {}
        for name, feature in self.features.items():
            key = f"videos/{name}"
            if feature.dtype == "video" and said.get(f"{key}/file_index") is not None:
                path = self.path / video.format(video_key=name, **_place(said, key))
                videos[name] = (path, float(said[f"{key}/from_timestamp"]))
        return EpisodeEntry(
            index=int(said["episode_index"]),
            length=int(said["length"]),
            data=self.path / data.format(**_place(said, "data")),
            videos=videos,
            tasks=tuple(said.get("tasks") or ()),
        )


def _place(said: Mapping[str, Any], of: str) -> dict[str, int]:
    return {key: int(said[f"{of}/{key}"]) for key in ("chunk_index", "file_index")}


def _feature(name: str, said: Mapping[str, Any]) -> Feature:
    dtype = str(said["dtype"])
    about = {**(said.get("video_info") or {}), **(said.get("info") or {})}
    shape = tuple(int(side) for side in said["shape"])
    if dtype in IMAGES and _begins_with_channels(said.get("names"), shape):
        shape = (*shape[1:], shape[0])
    return Feature(
        name=name,
        dtype=dtype,
        shape=shape,
        names=() if dtype in IMAGES else _names(said.get("names"), shape),
        is_depth=bool(about.get("video.is_depth_map") or about.get("is_depth_map")),
    )


def _begins_with_channels(names: Any, shape: tuple[int, ...]) -> bool:
    """Return whether an image's shape is (channels, height, width), as some writers say it."""
    if isinstance(names, list) and len(names) == len(shape) == 3:
        word = [str(name).startswith("channel") for name in names]
        if any(word):
            return word[0]
    return len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3)


def _names(said: Any, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return one name per number: writers nest them in lists, or in a mapping of one list."""
    while isinstance(said, Mapping):
        found = [v for v in said.values() if isinstance(v, list | Mapping)]
        # {"axes": [...]}, or {"x": 0, "y": 1}, the names themselves
        said = found[0] if found else list(said)
    while isinstance(said, list) and len(said) == 1 and isinstance(said[0], list):
        said = said[0]
    names = tuple(map(str, said or ()))
    return names if shape == (len(names),) and len(set(names)) == len(names) else ()


def _inside(path: Path) -> str:
    """Return a hint at the one LeRobot folder that lies below a path, or ''."""
    if not path.is_dir():
        return "" if path.exists() else ": no such folder"
    found = [info.parent.parent for depth in range(1, 5) for info in path.glob("*/" * depth + INFO)]
    return f"; did you mean {found[0]}?" if len(found) == 1 else ""


def _why(err: Exception) -> str:
    return f"it lacks {err}" if isinstance(err, KeyError) else one_line(err)


def _ranges(numbers: list[int]) -> str:
    """Return numbers in words: '0 to 9, 11, 12'."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(
        f"{a}" if a == b else f"{a}, {b}" if b == a + 1 else f"{a} to {b}" for a, b in runs
    )


def require_packages() -> None:
    """Refuse to go on without what reads parquet and video.

    Raises:
        MissingDependency: Names the package and the extra that brings it.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as err:
        raise MissingDependency("pyarrow", "lerobot") from err
    try:
        import av  # noqa: F401
    except ImportError as err:
        raise MissingDependency("av", "lerobot") from err
