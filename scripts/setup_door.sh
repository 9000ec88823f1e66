#!/usr/bin/env bash
# The environment of `python -m benchmarks.door`: robosuite with MuJoCo 3, and what runs a bundle and
# writes recordings, apart from the package's own requirements. Does nothing when nothing changed.
# Usage: scripts/setup_door.sh [VENV]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv-door}
python=${PYTHON:-python3}
requirements=benchmarks/requirements-door.txt

die() { printf 'setup_door: %s\n' "$*" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' ||
  die "Python 3.10 to 3.12 is needed, '$python' is $("$python" --version 2>&1); set PYTHON=python3.11 or the like"

stamp=$venv/.setup-done
fingerprint=$({ pwd; cat setup.py "$requirements"; } | sha256sum)
if [[ -f $stamp && $(<"$stamp") == "$fingerprint" ]]; then
  echo "door: up to date ($venv)"
  exit 0
fi

if [[ ! -x $venv/bin/python ]]; then
  "$python" -m venv "$venv" || die "no virtual environment in $venv; is python3-venv installed?"
fi
echo '*' > "$venv/.gitignore"
log=$venv/setup.log
install() {
  "$venv/bin/python" -m pip --disable-pip-version-check install "$@" >"$log" 2>&1 ||
    die "pip failed: $(grep -m1 '^ERROR' "$log" || tail -1 "$log") (all of it in $log)"
}
install "setuptools<80" wheel
# pynput, which robosuite names for keyboards, compiles evdev: a C compiler and the kernel's headers.
install --no-build-isolation -e '.[cpu,bags]' -r "$requirements"
found=$("$venv/bin/python" -W ignore -c '
import mujoco, robosuite
from importlib.metadata import version
print(*(f"{p} {version(p)}" for p in ("robosuite", "mujoco", "numpy")), sep=", ")' 2>>"$log") ||
  die "robosuite does not import: $(tail -1 "$log")"
echo "$fingerprint" > "$stamp"
echo "door: $found in $venv"
