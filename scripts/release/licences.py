"""Fails for a dependency whose licence is not among those that were looked at.

What counts is what `pip install 'smvae[cpu,train,sim,bags,lerobot]'` brings, found from the
metadata of the packages that are installed here.

Usage: python scripts/release/licences.py [--names]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("cpu", "train", "sim", "bags", "lerobot")
#: May be installed beside an Apache-2.0 package: permissive, or (MPL) copyleft file by file.
ALLOWED = {
    *("Apache-2.0", "Apache-2.0 WITH LLVM-exception", "MIT", "MIT-CMU", "BSD-2-Clause"),
    *(
        "BSD-3-Clause",
        "BSL-1.0",
        "0BSD",
        "ISC",
        "Zlib",
        "PSF-2.0",
        "CC0-1.0",
        "MPL-2.0",
        "Unlicense",
    ),
}
#: How metadata of before licence expressions say the same.
SPELLINGS = {
    "Apache-2.0": r"apache( software)?( license)?(,? version)?[ -]*(v?2(\.0)?)?",
    "MIT": r"mit( license)?",
    "BSD-3-Clause": r"(3-clause )?(new )?bsd( license)?|bsd 3-clause license",
    "BSD-2-Clause": r"bsd 2-clause license",
    "PSF-2.0": r"python software foundation license",
    "MPL-2.0": r"mozilla public license 2\.0 \(mpl 2\.0\)",
}
#: Metadata do not tell: read in the licence files that they install.
READ_BY_HAND = {"apsw": "Zlib", "setuptools": "MIT"}
#: torch's usual wheel brings the libraries of CUDA, under NVIDIA's own terms. They are not ours to
#: pass on, and we do not; who wants none takes torch's CPU wheel (README.md).
OF_NVIDIA = ("nvidia-", "cuda-")


def closure(names: Iterable[str]) -> dict[str, Distribution]:
    """Return what requirements bring here, theirs included, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(name, extra) for name in names for extra in ("", *EXTRAS)]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # of another machine or Python
        found[name] = package
        for text in package.requires or ():
            needed = Requirement(text)
            here = {**default_environment(), "extra": extra}
            if needed.marker is None or needed.marker.evaluate(here):
                todo += [(canonicalize_name(needed.name), e) for e in ("", *needed.extras)]
    return found


def licences(package: Distribution) -> list[str]:
    """Return the parts of what a package's metadata say of its licence, as SPDX names them.

    An expression counts alone. Free text of before gives way to the classifiers where it says
    nothing that is known.
    """
    about = package.metadata
    expression, text = (about.get(key) or "" for key in ("License-Expression", "License"))
    classifiers = [
        spelled(c.rpartition(" :: ")[2])
        for c in about.get_all("Classifier") or ()
        if c.startswith("License :: OSI")
    ]
    said = expression or ("" if len(text) > 200 else text)  # some have the whole licence there
    parts = [spelled(part.strip(" ()")) for part in re.split(r" AND | OR |; ", said) if part]
    known = bool(parts) and ALLOWED.issuperset(parts)
    return parts if known or expression or not classifiers else classifiers


def spelled(text: str) -> str:
    """Return the SPDX identifier of a licence, or its text where none is known."""
    if text in ALLOWED:
        return text
    known = (spdx for spdx, pattern in SPELLINGS.items() if re.fullmatch(pattern, text, re.I))
    return next(known, text)


def refused(packages: dict[str, Distribution]) -> list[str]:
    """Return a line for each package of a licence that is not allowed, or not known."""
    lines = []
    for name, package in sorted(packages.items()):
        if name.startswith(OF_NVIDIA):
            continue
        found = [READ_BY_HAND[name]] if name in READ_BY_HAND else licences(package)
        if not found or not ALLOWED.issuperset(found):
            said = ", ".join(found) or "nothing"
            lines.append(f"{name} {package.version}: its metadata name {said}")
    return lines


if __name__ == "__main__":
    packages = closure(["smvae"])
    if "--names" in sys.argv:
        sys.exit(print(*packages, sep="\n"))
    if lines := refused(packages):
        print(*lines, sep="\n")
        sys.exit(
            f"licences: {len(lines)} of {len(packages)} packages are not allowed; look at each, "
            "then name its licence in ALLOWED or READ_BY_HAND of scripts/release/licences.py"
        )
    others = sum(name.startswith(OF_NVIDIA) for name in packages)
    print(f"licences: {len(packages)} packages, all allowed; {others} of them under NVIDIA's terms")
