"""Looks into the wheel and the sdist: every module and data file of ours, no test; says their size.

Usage: python scripts/release/look.py DIST
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> set[str]:
    """Return our packages' files as the repository has them, named as a wheel names them."""
    listed = subprocess.run(
        ["git", "ls-files", "smvae_core", "datasets/smvae_datasets", "training/smvae_training"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    return {re.sub("^(datasets|training)/", "", name) for name in listed}


def look(dist: Path) -> None:
    """Exit with a line where a file is missing, or stands in them that should not."""
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    if not wheel.name.endswith("-py3-none-any.whl"):
        sys.exit(f"{wheel.name} is not for every machine: something in it was compiled")
    with zipfile.ZipFile(wheel) as opened:
        inside = set(opened.namelist())
    about = {name for name in inside if ".dist-info/" in name}
    for what, names in (
        ("lacks", tracked() - inside),
        ("should not have", inside - about - tracked()),
    ):
        if names:
            sys.exit(f"{wheel.name} {what} {', '.join(sorted(names)[:5])} ({len(names)} in all)")
    for needed in ("LICENSE", "NOTICE", "METADATA", "entry_points.txt"):
        if not any(name.endswith(f"/{needed}") for name in about):
            sys.exit(f"{wheel.name} lacks {needed}")
    with tarfile.open(sdist) as opened:
        packed = {name.partition("/")[2] for name in opened.getnames()}
    missing = {f"{name}" for name in tracked() if not any(p.endswith(name) for p in packed)}
    tests = {name for name in packed if name.startswith("tests")}
    if missing or tests:
        sys.exit(
            f"{sdist.name} lacks {sorted(missing)[:5]}, and should not have {sorted(tests)[:5]}"
        )
    for path, names in ((wheel, inside), (sdist, packed)):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB, {len(names)} files")


if __name__ == "__main__":
    look(Path(sys.argv[1]))
