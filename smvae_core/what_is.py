"""What a path is, to say so where something else was wanted."""

from __future__ import annotations

import shlex
from pathlib import Path

#: File in a folder -> what the folder is then; the first that is there tells.
_SIGNS = {
    "manifest.json": "a bundle of `smvae export`",
    "episodes.json": "a folder of `smvae episodes`",
    "config.json": "a run of `smvae train`",
    "meta/info.json": "a LeRobot folder",
    "metadata.yaml": "the folder of a rosbag2 bag",
    "*.h5": "a folder of Vision&Touch files",
    "*.mcap": "a folder of .mcap files",
    "*.db3": "a folder of .db3 files",
    "*.bag": "a folder of ROS 1 bags",
}
#: Those of recordings, of which `smvae episodes` makes episodes; also endings of files.
_RECORDINGS = ("meta/info.json", "metadata.yaml", "*.mcap", "*.db3", "*.bag")
_SHOWN = 3
#: Levels and folders below one that are looked at for what was probably meant.
_LEVELS, _LOOKED_AT = 2, 100


def what_is(path: Path) -> str:
    """Return what a path is in words, e.g. 'a bundle of `smvae export`' or 'an empty folder'.

    Raises:
        OSError: If the folder cannot be listed.
    """
    if not path.exists():
        return "nothing: there is no such path"
    if not path.is_dir():
        return "a bag" if recordings(path) else "a file"
    if sign := _sign(path):
        return _SIGNS[sign]
    names = sorted(each.name for each in path.iterdir())
    if not names:
        return "an empty folder"
    if inner := _inner(path):
        return f"a folder with {_SIGNS[_sign(inner)]} in it: {inner.relative_to(path)}"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"a folder of {', '.join(names[:_SHOWN])}{more}"


def recordings(path: Path) -> str:
    """Return what `smvae episodes` would be given of a path, as a shell reads it; '' = nothing.

    That is a bag or a LeRobot folder itself, of a folder of bags its files.
    """
    place = shlex.quote(str(path))
    if path.is_file():
        return place if any(path.match(sign) for sign in _RECORDINGS) else ""
    sign = _sign(path)
    if sign not in _RECORDINGS:
        return ""
    return f"{place}/{sign}" if sign.startswith("*") else place


def _sign(folder: Path) -> str:
    """Return the sign by which a folder is known; '' = none."""
    return next((sign for sign in _SIGNS if next(folder.glob(sign), None) is not None), "")


def _inner(folder: Path) -> Path | None:
    """Return the first folder below one that has a sign; None where none is seen.

    What cannot be listed is passed over, as `glob` does: the path is called something all the same.
    """
    level = [folder]
    for _ in range(_LEVELS):
        level = [each for above in level for each in sorted(above.glob("*")) if each.is_dir()]
        level = level[:_LOOKED_AT]
        if found := next((each for each in level if _sign(each)), None):
            return found
    return None
