"""Unpack a zip archive of episodes, safely and whole."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from smvae_datasets.fetch import DownloadError, check_space


def unpack(archive: Path, target: Path) -> Path:
    """Unpack into `target`, whole or not at all, and return the folder that holds the .h5 files.

    Raises:
        DownloadError: If the archive is damaged, would write outside `target`, holds links, does
            not fit on the disk, or does not hold exactly one folder of .h5 files.
    """
    if target.is_dir():
        return _episode_folder(archive, target)
    temporary = target.with_name(f".{target.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as file:
            members = [m for m in file.infolist() if not m.filename.startswith("__MACOSX/")]
            for member in members:
                _check_member(archive, member)
            check_space(archive.parent, sum(m.file_size for m in members), "unpack")
            for member in members:
                file.extract(member, temporary)
        relative = _episode_folder(archive, temporary).relative_to(temporary)
        os.replace(temporary, target)
    except zipfile.BadZipFile as err:
        raise DownloadError(
            f"{archive}: damaged or no zip archive ({err}); delete it to download again"
        ) from err
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target / relative


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    """Refuse what would end outside the target: absolute paths, '..', drives and links."""
    name = member.filename
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise DownloadError(f"{archive}: unsafe path '{name}': expected one inside the archive")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DownloadError(f"{archive}: '{name}' is a link: expected files and folders only")


def _episode_folder(archive: Path, root: Path) -> Path:
    """Return the one folder under `root` that holds .h5 files."""
    folders = {p.parent for p in root.rglob("*.h5") if not p.name.startswith(".")}
    if len(folders) != 1:
        names = ", ".join(sorted(str(f.relative_to(root)) for f in folders)) or "none"
        raise DownloadError(f"{archive}: expected one folder of .h5 files, got {names}")
    return folders.pop()
