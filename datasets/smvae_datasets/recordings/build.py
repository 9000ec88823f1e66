"""Recordings and a robot -> a folder of episodes: a process per recording, resumed where it ended.

A recording is converted in a hidden folder that is moved into place at the end. What stands there
is whole, and is not converted again while recording, declaration and converter stay the same.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from smvae_core.bag_formats.types import DEFAULT_TYPESTORE
from smvae_core.bags import Bag
from smvae_core.errors import SMVAEError
from smvae_core.files import alone_in, write_text
from smvae_core.robot import Robot
from smvae_datasets.dataset import DataSetError
from smvae_datasets.lerobot import LeRobotEpisode, LeRobotFolder, is_lerobot
from smvae_datasets.lerobot.folder import EpisodeEntry, episode_name
from smvae_datasets.ray_cluster import cluster, spread
from smvae_datasets.recordings.convert import Conversion, Recording, duration_s
from smvae_datasets.recordings.declared import CONVERTER, FORMAT, Declared
from smvae_datasets.recordings.episode_files import NONE
from smvae_datasets.recordings.folder import (
    EPISODES,
    OUTDATED,
    RECORDING,
    SUMMARY,
    episodes_of,
    read_json,
    recordings_of,
)
from smvae_datasets.recordings.prepared import plan_steps
from smvae_datasets.worker_process import deaf_to_ctrl_c, follow_the_parent

logger = logging.getLogger(__name__)

#: Messages between two signs of life.
_TOLD_EVERY = 256
#: What recording.json says for a resume alone.
_NOT_SUMMARISED = ("files", "converter", "samples_sha256")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One recording to convert."""

    path: Path
    folder: Path
    robot: Robot
    typestore: str
    entry: EpisodeEntry | None = None
    """Episode of a LeRobot folder; None = the recording is a bag."""

    def open(self, forgive: Callable[[str], None]) -> Recording:
        """Return the recording; `with` opens it.

        Raises:
            BagError: If there is none.
        """
        if self.entry is None:
            return Bag(self.path, self.typestore, forgive=forgive)
        return LeRobotEpisode(LeRobotFolder(self.path), self.entry, forgive)

    @property
    def wanted(self) -> dict[str, Any]:
        """What recording.json says of where it comes from, if nothing changed since."""
        return {
            "format": FORMAT,
            "converter": CONVERTER,
            "files": _files(self.path, self.entry),
            "episode": None if self.entry is None else self.entry.index,
            "samples_sha256": Declared.of(self.robot).samples_sha256,
        }

    @property
    def finished(self) -> bool:
        """Whether it is converted, and nothing changed since."""
        return self._converted == self.wanted

    @property
    def outdated(self) -> bool:
        """Whether only the converter changed since it was converted."""
        return not self.finished and self._converted | {"converter": CONVERTER} == self.wanted

    @property
    def _converted(self) -> dict[str, Any]:
        """What recording.json says instead of `wanted`; empty where there is none."""
        found = _said(self.folder)
        return {name: found.get(name) for name in self.wanted} if found else {}


class Told:
    """How far conversions are, and whether they shall stop, shared by processes."""

    def __init__(self, context: Any) -> None:
        self.done, self.total = context.Value("q", 0), context.Value("q", 0)
        self._stopped = context.Value("b", 0, lock=False)

    def stop(self) -> None:
        """Let each conversion end at its next message."""
        self._stopped.value = 1

    @property
    def stopped(self) -> bool:
        return bool(self._stopped.value)


class _Stopped(Exception):
    """Raised inside a conversion that shall stop."""


def build_episodes(
    recordings: Sequence[Path],
    robot: Robot,
    out: Path,
    *,
    jobs: int = 0,
    typestore: str = DEFAULT_TYPESTORE,
    progress: bool = True,
    ray: str = "",
) -> dict[str, Any]:
    """Convert recordings and return what summary.json holds.

    Args:
        recordings: Bags, folders or files, and LeRobot folders.
        robot: What is read of them.
        out: Folder, made if missing; recordings that it holds already stay in it.
        jobs: Recordings that are converted at once; 0 = one per core.
        typestore: Where a bag holds no definitions, see `Bag`.
        progress: Show a progress bar on stderr.
        ray: Address of a Ray cluster that converts, see `ray_cluster.cluster`; '' = this machine.

    Raises:
        DataSetError: If a recording is not there, or `out` holds something else.
        ConfigError: If no Ray cluster answers.
        MissingDependency: If Ray is asked for and not installed.
    """
    todo = plan(recordings, robot, out, typestore)
    out.mkdir(parents=True, exist_ok=True)
    with alone_in(out, partial(DataSetError, out)):
        write_text(
            out / EPISODES,
            json.dumps({"format": FORMAT, "robot": robot.to_json()}, indent=1) + "\n",
        )
        waiting = [job for job in todo if not job.finished]
        for job in waiting:
            if job.outdated:
                logger.warning("%s: %s; it is converted again", job.path, OUTDATED)
        if ray and waiting:
            failed = _convert_on(ray, waiting, progress)
        else:
            failed = _convert_all(waiting, jobs or os.cpu_count() or 1, progress)
        summary = summarise(todo, failed)
        write_text(out / SUMMARY, json.dumps(summary, indent=1) + "\n")
    return summary


def foresee(
    recordings: Sequence[Path], robot: Robot, out: Path, *, typestore: str = DEFAULT_TYPESTORE
) -> dict[str, Any]:
    """Return what `build_episodes` would read of each recording; nothing is written.

    Raises:
        DataSetError: See `build_episodes`.
    """
    found: dict[str, Any] = {}
    todo = plan(recordings, robot, out, typestore)
    for job in todo:
        found[job.folder.name] = {"path": str(job.path.resolve())} | _foresee(job)
    whole = [each["inputs"] for each in found.values() if "failed" not in each]
    missing = {
        s.name: f"nothing on {whole[0][s.name]['topic']}"
        for s in robot.sensors
        if whole and not s.optional and not any(each[s.name]["messages"] for each in whole)
    }
    return {"recordings": found, "episodes": len(whole), "missing": missing}


def _foresee(job: Job) -> dict[str, Any]:
    faults: list[str] = []
    try:
        with job.open(faults.append) as bag:
            conversion = Conversion(bag, Declared.of(job.robot), job.folder, faults)
            inputs = {
                name: {"topic": c.topic, "messages": _messages(bag, c.topic)}
                for name, c in conversion.counts.items()
            }
            return {
                "finished": job.finished,
                "seconds": duration_s(bag),
                "inputs": inputs,
                "faults": faults,
            }
    except SMVAEError as err:
        return {"failed": str(err)}


def plan(recordings: Sequence[Path], robot: Robot, out: Path, typestore: str) -> list[Job]:
    """Return what is to be done, finished or not; each recording has a folder of its own.

    Raises:
        DataSetError: If a recording is not there or given twice, or `out` holds something else.
    """
    if out.exists() and not out.is_dir():
        raise DataSetError(out, "is a file", expected="a folder to write", got="a file")
    if out.is_dir() and any(out.iterdir()) and not (out / EPISODES).is_file():
        raise DataSetError(out, "holds something else", hint="give an empty folder, or a new one")
    places: dict[Path, Path] = {}
    for path in recordings:
        if not path.exists():
            raise DataSetError(path, "no such recording")
        if path.resolve() in places:
            raise DataSetError(path, "is given twice")
        places[path.resolve()] = path
    for path in places:
        if whole := next((p for p in path.parents if p in places), None):
            hint = "give one of both, or it would be counted twice"
            raise DataSetError(path, f"lies in {whole}, which is given too", hint=hint)
    names = _names(list(places), out)
    todo: list[Job] = []
    for path, name in zip(places.values(), names, strict=True):
        job = Job(path=path, folder=out / name, robot=robot, typestore=typestore)
        todo += _of_lerobot(job) if is_lerobot(path) else [job]
    return todo


def _of_lerobot(job: Job) -> list[Job]:
    """Return one job for each episode of a LeRobot folder that is there."""
    folder = LeRobotFolder(job.path)
    for note in folder.notes:
        logger.warning("%s: %s", job.path, note)
    return [
        replace(job, folder=job.folder.with_name(f"{job.folder.name}_{e.name}"), entry=e)
        for e in folder.present
    ]


def _messages(bag: Recording, topic: str) -> int:
    return bag.topics[topic].messages if topic in bag.topics else 0


def _names(paths: Sequence[Path], out: Path) -> list[str]:
    """Return a name of each, as short as tells them apart, and apart from what `out` holds.

    What `out` holds of a recording keeps its name.

    Raises:
        DataSetError: If nothing tells two of them apart.
    """
    held = _held(out)
    for found in _candidates(paths):
        names = [held.get(str(p), name) for p, name in zip(paths, found, strict=True)]
        taken = [_is_of_another(out, name, p) for p, name in zip(paths, names, strict=True)]
        if len(set(found)) == len(set(names)) == len(paths) and not any(taken):
            return names
    raise DataSetError(
        paths[0],
        "another recording would have the same name as one of these",
        hint="rename one of them, or give another --out",
    )


def _candidates(paths: Sequence[Path]) -> Iterator[list[str]]:
    """Yield names of all, ever longer; at last with the suffixes of files."""
    for suffixed in (False, True):
        for depth in range(1, max((len(p.parts) for p in paths), default=1)):
            found = []
            for p in paths:
                last = p.name if suffixed or p.is_dir() else p.stem
                name = "_".join((*p.parts[1:][-depth:-1], last))
                found.append(name.lstrip(".") or "recording")  # hidden folders hold no episodes
            yield found


def _held(out: Path) -> dict[str, str]:
    """Return the names of the recordings in a folder, by their paths."""
    found = {}
    for path in recordings_of(out):
        if said := _said(path.parent):
            episode = said["episode"]
            end = "" if episode is None else f"_{episode_name(episode)}"
            found[said["path"]] = path.parent.name.removesuffix(end)
    return found


def _is_of_another(out: Path, name: str, path: Path) -> bool:
    """Return whether a name in `out` is another recording's; one may have moved since."""
    entry = None
    if is_lerobot(path):
        there = ((e, _said(out / f"{name}_{e.name}")) for e in LeRobotFolder(path).present)
        entry, said = next((each for each in there if each[1]), (None, {}))
    else:
        said = _said(out / name)
    if not said or said["path"] == str(path):
        return False
    # a copy has another time
    known = 3 if Path(said["path"]).exists() else 2
    here, was = _files(path, entry), said["files"]
    return [each[:known] for each in here] != [each[:known] for each in was]


def _said(folder: Path) -> dict[str, Any]:
    """Return what recording.json of a folder says; empty where there is none that is whole."""
    try:
        found = read_json(folder / RECORDING)
    except DataSetError:
        return {}
    return found if found.keys() >= {"path", "files", "episode"} else {}


def _files(path: Path, entry: EpisodeEntry | None) -> list[list[Any]]:
    """Return names, sizes and times of change of a recording's files."""
    if entry is not None:
        every = [entry.data, *(video for video, _ in entry.videos.values())]
    else:
        every = sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [p for p in every if p.is_file()]
    stats = [(str(p.relative_to(path.parent)), p.stat()) for p in files]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def _convert_all(jobs: Sequence[Job], workers: int, progress: bool) -> dict[str, str]:
    """Convert; return why each recording failed that did, by the name of its folder."""
    context = multiprocessing.get_context("spawn")
    told = Told(context)
    failed: dict[str, str] = {}
    with _bar(told, progress) as show:
        if len(jobs) < 2 or workers < 2:
            for job in jobs:
                failed |= _attempt(job, told, show)
            return failed
        with ProcessPoolExecutor(
            min(workers, len(jobs)), context, initializer=_remember, initargs=(told,)
        ) as pool:
            with deaf_to_ctrl_c():
                futures: list[Future[dict[str, str]]] = [pool.submit(_attempt, job) for job in jobs]
            open_ = set(futures)
            try:
                while open_:
                    _, open_ = wait(open_, timeout=0.2)
                    show()
            except BaseException:  # Ctrl-C; else what is queued would be converted first
                told.stop()
                pool.shutdown(cancel_futures=True)
                raise
            for future in futures:
                failed |= future.result()
    return failed


def _convert_on(address: str, jobs: Sequence[Job], progress: bool) -> dict[str, str]:
    """Convert on a Ray cluster, a recording per core; return as `_convert_all`."""
    failed: dict[str, str] = {}
    jobs = [replace(job, path=job.path.absolute(), folder=job.folder.absolute()) for job in jobs]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, console=Console(stderr=True), disable=not progress)
    with cluster(address) as ray, bar:
        task = bar.add_task("converting recordings", total=len(jobs))
        for found in spread(ray, _attempt_alone, jobs):
            failed |= found
            bar.advance(task)
    return failed


def _attempt_alone(job: Job) -> dict[str, str]:
    return _attempt(job, Told(multiprocessing.get_context("spawn")))


_TOLD: list[Told] = []


def _remember(told: Told) -> None:
    """Runs once in each worker process."""
    follow_the_parent()  # which stops what is told on Ctrl-C
    _TOLD.append(told)


def _attempt(
    job: Job, told: Told | None = None, show: Callable[[], None] = lambda: None
) -> dict[str, str]:
    told = told or _TOLD[0]
    if told.stopped:
        return {}
    try:
        convert(job, told, show)
    except _Stopped:
        return {}
    except SMVAEError as err:
        return {job.folder.name: str(err)}
    return {}


def convert(job: Job, told: Told, show: Callable[[], None]) -> None:
    """Convert one recording; afterwards its folder is there, whole.

    Raises:
        BagError: If the recording cannot be used.
    """
    began_s = time.perf_counter()
    for left in job.folder.parent.glob(f".{job.folder.name}.*.part"):
        shutil.rmtree(left)
    part = job.folder.with_name(f".{job.folder.name}.{os.getpid()}.part")
    part.mkdir()
    wanted = job.wanted
    faults: list[str] = []
    try:
        with job.open(faults.append) as bag:
            conversion = Conversion(bag, Declared.of(job.robot), part, faults)
            with told.total.get_lock():
                told.total.value += sum(bag.topics[t].messages for t in conversion.topics)
            waiting = 0

            def advance(amount: int) -> None:
                nonlocal waiting
                if told.stopped:
                    raise _Stopped
                waiting += amount
                if waiting >= _TOLD_EVERY:
                    tell(waiting)
                    waiting = 0

            def tell(amount: int) -> None:
                with told.done.get_lock():
                    told.done.value += amount
                show()

            conversion.run(advance)
            tell(waiting)
        content = wanted | {
            "path": str(job.path.resolve()),
            "steps_sha256": Declared.of(job.robot).steps_sha256,
            **conversion.to_json(),
            "conversion_s": time.perf_counter() - began_s,
        }
        write_text(part / RECORDING, json.dumps(content, indent=1) + "\n")
        if job.folder.exists():
            shutil.rmtree(job.folder)
        os.rename(part, job.folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _steps_anew(
    folder: Path, found: Mapping[str, Any], declared: Declared
) -> tuple[list[dict[str, Any]], set[str]]:
    """Return what recording.json says of its episodes, with the steps of another declaration.

    And which sensors these steps hold.
    """
    modalities = declared.robot.modalities
    episodes: list[dict[str, Any]] = []
    held: set[str] = set()
    whole = episodes_of(folder, found, has_steps=False)
    for each, episode in zip(found["episodes"], whole, strict=True):
        plan = plan_steps(episode, declared, modalities)
        episodes.append(dict(each, steps=len(plan.reference_ns)))
        held |= {m.name for n, m in enumerate(modalities) if (plan.samples[:, n] > NONE).any()}
    return episodes, held


@contextmanager
def _bar(told: Told, progress: bool) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not progress
    )
    with bar:
        task = bar.add_task("converting messages", total=None)
        yield lambda: bar.update(task, completed=told.done.value, total=told.total.value or None)


def _missing(
    robot: Robot, recordings: Sequence[Mapping[str, Any]], held: Collection[str]
) -> dict[str, str]:
    """Return the sensors that are neither optional nor held by a step, each with the reason."""
    missing = {}
    for sensor in robot.sensors:
        counts = [found[sensor.name] for found in recordings if sensor.name in found]
        if sensor.optional or sensor.name in held or not sensor.settings.get("enabled", True):
            continue
        refused = next(
            (c["first_refused"] or next(iter(c["refused"])) for c in counts if c["refused"]), ""
        )
        if not any(c["messages"] for c in counts):
            missing[sensor.name] = f"nothing on {counts[0]['topic']}"
        elif any(c["used"] + c["unused"] for c in counts):
            missing[sensor.name] = "no step holds one of its samples: see its fault, max_skew_s"
        elif refused:
            missing[sensor.name] = f"no message could be used; the first: {refused}"
        else:
            missing[sensor.name] = "its messages are outside episodes"
    return missing


def summarise(jobs: Sequence[Job], failed: Mapping[str, str]) -> dict[str, Any]:
    """Return what became of every message of every recording.

    Steps are those of the declaration as it is. Where it was another when a recording was
    converted, `steps_anew` is true, and the counts of its messages are of then.
    """
    recordings: dict[str, Any] = {}
    held: set[str] = set()
    for job in jobs:
        declared = Declared.of(job.robot)
        name = job.folder.name
        if name in failed:
            recordings[name] = {"path": str(job.path.resolve()), "failed": failed[name]}
            continue
        found = read_json(job.folder / RECORDING)
        if found["steps_sha256"] != declared.steps_sha256:
            found["episodes"], in_steps = _steps_anew(job.folder, found, declared)
            found["steps_anew"] = True
        else:
            in_steps = {sensor for sensor, c in found["sensors"].items() if c["used"]}
        held |= in_steps
        recordings[name] = {k: v for k, v in found.items() if k not in _NOT_SUMMARISED}
    whole = [r for r in recordings.values() if "failed" not in r]
    episodes = [e for r in whole for e in r["episodes"]]
    return {
        "format": FORMAT,
        "robot": jobs[0].robot.name if jobs else "",
        "recordings": recordings,
        "missing": _missing(jobs[0].robot, [r["sensors"] for r in whole], held) if episodes else {},
        "episodes": len(episodes),
        "steps": sum(e["steps"] for e in episodes),
        "seconds": sum(e["seconds"] for e in episodes),
    }
