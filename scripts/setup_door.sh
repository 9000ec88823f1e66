#!/usr/bin/env bash
# The environment of `python -m benchmarks.door`: robosuite with MuJoCo 3, and what runs a bundle and
# writes recordings, apart from the package's own requirements. Does nothing when nothing changed.
# Usage: scripts/setup_door.sh [VENV]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
python=${PYTHON:-python3}
requirements=benchmarks/requirements-door.txt

check_python "$python" 3.10 3.12
if unchanged "${1:-.venv-door}" setup.py "$requirements"; then
  echo "door: up to date ($venv)"
  exit 0
fi
make_environment "$python"
install "setuptools<80" wheel
# pynput, which robosuite names for keyboards, compiles evdev: a C compiler and the kernel's headers.
install --no-build-isolation -e '.[cpu,bags]' -r "$requirements"
found=$("$venv/bin/python" -W ignore -c '
import mujoco, robosuite
from importlib.metadata import version
print(*(f"{p} {version(p)}" for p in ("robosuite", "mujoco", "numpy")), sep=", ")' 2>>"$log") ||
  die "robosuite does not import: $(tail -1 "$log")"
finish
echo "door: $found in $venv"
