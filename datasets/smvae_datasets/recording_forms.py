"""THE table of the forms of recordings: how each is opened, and declared for the first time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from smvae_core.bag_formats.types import DEFAULT_TYPESTORE
from smvae_core.bags import Bag
from smvae_datasets.lerobot import LeRobotEpisode, LeRobotError, LeRobotFolder, is_lerobot
from smvae_datasets.lerobot.folder import EpisodeEntry
from smvae_datasets.lerobot.scaffold import looked_at, scaffold_lerobot
from smvae_datasets.recordings.convert import Recording
from smvae_datasets.recordings.scaffold import scaffold_bag
from smvae_datasets.scaffold import Scaffold

Advance = Callable[[float], None]
"""Called with the share that is done."""


class Form(NamedTuple):
    """One form of recording."""

    holds: Callable[[Path], bool]
    scaffold: Callable[[Path, str, Advance], Scaffold]
    """(path, typestore, advance) -> what it declares."""
    open: Callable[[Path, str, Callable[[str], None]], Recording]
    """(path, typestore, forgive) -> a recording, of a folder of many its first; `with` opens it."""


def scaffold(
    path: Path, typestore: str = DEFAULT_TYPESTORE, advance: Advance = lambda share: None
) -> Scaffold:
    """Return what a recording declares.

    Args:
        path: A bag or a LeRobot folder.
        typestore: Where a bag holds no definitions, see `Bag`.
        advance: Called with the share that is done.

    Raises:
        BagError, LeRobotError: If it cannot be read.
    """
    return _of(path).scaffold(path, typestore, advance)


@contextmanager
def opened(path: Path, typestore: str, forgive: Callable[[str], None]) -> Iterator[Recording]:
    """Open a recording, of a LeRobot folder its first episode; `forgive` is told of faults.

    Raises:
        BagError, LeRobotError: If it cannot be read.
    """
    with _of(path).open(path, typestore, forgive) as recording:
        yield recording


def _of(path: Path) -> Form:
    return next(form for form in FORMS if form.holds(path))


def _lerobot(path: Path, typestore: str, advance: Advance) -> Scaffold:
    folder = LeRobotFolder(path)
    chosen = looked_at(folder)

    def told() -> Iterator[EpisodeEntry]:
        for number, entry in enumerate(chosen):
            yield entry
            advance((number + 1) / len(chosen))

    return scaffold_lerobot(folder, told())


def _first_episode(path: Path, typestore: str, forgive: Callable[[str], None]) -> Recording:
    folder = LeRobotFolder(path)
    if not folder.present:
        raise LeRobotError(path, "no episode of it is there")
    return LeRobotEpisode(folder, folder.present[0], forgive)


def _bag(path: Path, typestore: str, advance: Advance) -> Scaffold:
    faults: list[str] = []
    with Bag(path, typestore, forgive=faults.append) as bag:
        found = scaffold_bag(bag, advance)
    return replace(found, faults=tuple(dict.fromkeys(faults)))


#: Asked in order; what none of the others knows is a bag, or its error says what is wrong.
FORMS = (
    Form(is_lerobot, _lerobot, _first_episode),
    Form(
        lambda path: True,
        _bag,
        lambda path, typestore, forgive: Bag(path, typestore, forgive=forgive),
    ),
)
