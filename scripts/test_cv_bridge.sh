#!/usr/bin/env bash
# Compares the two image decoders where both work: an environment of its own with PyPI's cv_bridge,
# in which all tests of the message conversions run. Sets the environment up when it has changed.
# Usage: scripts/test_cv_bridge.sh [VENV]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv-cv-bridge}
python=${PYTHON:-python3}
requirements=requirements-cv-bridge.txt

die() { printf 'test_cv_bridge: %s\n' "$*" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' ||
  die "Python 3.10 to 3.12 is needed, '$python' is $("$python" --version 2>&1); set PYTHON=python3.11 or the like"

stamp=$venv/.setup-done
fingerprint=$({ pwd; cat "$requirements"; } | sha256sum)
if [[ ! -f $stamp || $(<"$stamp") != "$fingerprint" ]]; then
  [[ -x $venv/bin/python ]] || "$python" -m venv "$venv" ||
    die "no virtual environment in $venv; is python3-venv installed?"
  echo '*' > "$venv/.gitignore"
  log=$venv/setup.log
  "$venv/bin/python" -m pip --disable-pip-version-check install -r "$requirements" >"$log" 2>&1 ||
    die "pip failed: $(grep -m1 '^ERROR' "$log" || tail -1 "$log") (all of it in $log)"
  "$venv/bin/python" -c 'import cv_bridge, sensor_msgs.msg' 2>>"$log" ||
    die "cv_bridge does not import: $(tail -1 "$log")"
  echo "$fingerprint" > "$stamp"
fi

"$venv/bin/python" -c '
import importlib.metadata as m
print("cv_bridge:", *(f"{p} {m.version(p)}" for p in ("cv-bridge", "numpy", "opencv-python", "rosbags-image")))'
PYTHONPATH=$PWD OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest -q -p no:cacheprovider \
  tests/ros/test_conversions*.py
