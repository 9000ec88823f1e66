"""Make the CMake exports of the ROS wheels name this machine's Python and numpy headers.

The wheels were built elsewhere: their `export_*rosidl_generator_py*.cmake` files name
`/opt/python/cpXY-cpXY/include/python3.X` and that Python's numpy headers, so a message package
built against them would not compile. Run with the Python whose prefix holds the wheels; running it
again changes nothing.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy as np

FOREIGN_NUMPY = re.compile(r"/opt/python/[^;\"]*?/site-packages/numpy/(?:_core|core)/include")
FOREIGN_PYTHON = re.compile(r"/opt/python/[^;\"/]+/include/python3\.\d+")


def patch_text(text: str, python_include: str, numpy_include: str) -> str:
    """Return a CMake export with the build machine's header folders replaced by this machine's."""
    text = FOREIGN_NUMPY.sub(lambda _: numpy_include, text)
    return FOREIGN_PYTHON.sub(lambda _: python_include, text)


def patch_prefix(prefix: Path) -> list[Path]:
    """Patch every export below `prefix`/share and return the files that changed."""
    python_include = sysconfig.get_paths()["include"]
    numpy_include = np.get_include()
    changed = []
    for path in sorted(prefix.glob("share/*/cmake/export_*rosidl_generator_py*.cmake")):
        before = path.read_text(encoding="utf-8")
        after = patch_text(before, python_include, numpy_include)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(path)
    return changed


def main() -> int:
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.is_file():
        print(
            f"{header} is missing: install python3-dev (apt install python3-dev)", file=sys.stderr
        )
        return 1
    changed = patch_prefix(Path(sys.prefix))
    print(f"ROS wheels: {len(changed)} CMake exports patched in {sys.prefix}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
