#!/usr/bin/env bash
# Compares the two image decoders where both work: an environment of its own with PyPI's cv_bridge,
# in which all tests of the message conversions run. Sets the environment up when it has changed.
# Usage: scripts/test_cv_bridge.sh [VENV]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
python=${PYTHON:-python3}
requirements=requirements-cv-bridge.txt

check_python "$python" 3.10 3.12
if ! unchanged "${1:-.venv-cv-bridge}" "$requirements"; then
  make_environment "$python"
  install -r "$requirements"
  "$venv/bin/python" -c 'import cv_bridge, sensor_msgs.msg' 2>>"$log" ||
    die "cv_bridge does not import: $(tail -1 "$log")"
  finish
fi

"$venv/bin/python" -c '
import importlib.metadata as m
print("cv_bridge:", *(f"{p} {m.version(p)}" for p in ("cv-bridge", "numpy", "opencv-python", "rosbags-image")))'
PYTHONPATH=$PWD OMP_NUM_THREADS=1 "$venv/bin/python" -m pytest -q -p no:cacheprovider \
  tests/ros/test_conversions*.py
