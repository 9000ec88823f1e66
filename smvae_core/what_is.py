"""What a path is, to say so where something else was wanted."""

from __future__ import annotations

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
_SHOWN = 3


def what_is(path: Path) -> str:
    """Return what a path is in words, e.g. 'a bundle of `smvae export`' or 'an empty folder'.

    Raises:
        OSError: If the folder cannot be listed.
    """
    if not path.exists():
        return "nothing: there is no such path"
    if not path.is_dir():
        return "a file"
    for sign, what in _SIGNS.items():
        if next(path.glob(sign), None) is not None:
            return what
    names = sorted(each.name for each in path.iterdir())
    if not names:
        return "an empty folder"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"a folder of {', '.join(names[:_SHOWN])}{more}"
