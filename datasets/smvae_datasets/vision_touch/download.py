"""`smvae download vision-touch`: fetch, verify and unpack the published Vision&Touch episodes.

The address is the one the authors' repository names; it was not reachable where this was written,
so neither the archive nor its checksum is verified here. No checksum is published: the SHA-256 of
the first download is recorded beside the archive, and later downloads are verified against it.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from smvae_core.files import write_text
from smvae_datasets.fetch import DownloadError, fetch, resume_record
from smvae_datasets.vision_touch.archive import unpack

VISION_TOUCH_URL = "https://downloads.cs.stanford.edu/juno/triangle_real_data.zip"


@dataclass(frozen=True, kw_only=True)
class Download:
    """A finished download."""

    archive: Path
    episodes: Path
    """Folder of the .h5 files, what `--data` takes."""
    sha256: str
    verified: bool
    """False on the first download without an expected checksum: nothing to compare with."""


def download_vision_touch(
    folder: Path,
    *,
    url: str = VISION_TOUCH_URL,
    sha256: str | None = None,
    progress: bool = True,
    timeout_s: float = 30.0,
) -> Download:
    """Download and unpack the episodes into `folder`; run again to resume.

    Args:
        folder: Gets the archive, its `.sha256` record and `episodes/`.
        url: http or https address of the zip archive.
        sha256: Expected checksum, 64 hex digits; by default the recorded one of an earlier
            download, where there is one.
        progress: Show a progress bar on stderr.
        timeout_s: How long a silent server is waited for.

    Raises:
        DownloadError: Offline, server error, connection lost, checksum mismatch, no space, or an
            archive that is damaged, unsafe or holds no episodes.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"download: expected an http or https address, got '{url}'")
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise DownloadError(f"download: expected a SHA-256 of 64 hex digits, got '{sha256}'")
    folder.mkdir(parents=True, exist_ok=True)
    name = PurePosixPath(urlsplit(url).path).name
    if not name:
        raise DownloadError(f"download: expected an address that ends in a file name, got '{url}'")
    archive = folder / name
    there = archive.is_file()
    part = archive if there else fetch(url, archive, progress=progress, timeout_s=timeout_s)
    digest, verified = _verify(part, checksum_record(archive), sha256)
    os.replace(part, archive)
    resume_record(archive).unlink(missing_ok=True)
    return Download(
        archive=archive,
        episodes=unpack(archive, folder / "episodes"),
        sha256=digest,
        verified=verified,
    )


def checksum_record(archive: Path) -> Path:
    """Return the path of the recorded checksum, in the format of `sha256sum`."""
    return archive.with_name(archive.name + ".sha256")


def _verify(file: Path, record: Path, expected: str | None) -> tuple[str, bool]:
    """Return the SHA-256 and whether it was compared with anything; record it.

    Raises:
        DownloadError: If it differs from the expected, or else from the recorded one.
    """
    origin = "the one given"
    if expected is None and record.is_file():
        words = record.read_text().split()
        expected, origin = (words[0] if words else ""), f"recorded in {record}"
    state = hashlib.sha256()
    with file.open("rb") as data:
        while block := data.read(1 << 20):
            state.update(block)
    digest = state.hexdigest()
    if expected is not None and digest != expected.lower():
        raise DownloadError(
            f"{file}: wrong SHA-256: expected {expected.lower()} ({origin}), got {digest}; "
            "delete the file to download it again"
        )
    write_text(record, f"{digest}  {record.name.removesuffix('.sha256')}\n")
    return digest, expected is not None
