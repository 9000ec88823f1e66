"""Why HDF5 cannot open a file, where its own words do not tell."""

from __future__ import annotations

from pathlib import Path

from smvae_core.files import git_lfs


def why_unreadable(path: Path, err: OSError) -> str:
    """Return why a file cannot be opened and what to do, or '' where HDF5's own words must do.

    Args:
        path: Of the file.
        err: What h5py made of it.
    """
    if "lock" in str(err):
        return (
            "locked: another program has it open for writing, or its file system has no locks "
            "(then HDF5_USE_FILE_LOCKING=FALSE reads it)"
        )
    return git_lfs(path)
