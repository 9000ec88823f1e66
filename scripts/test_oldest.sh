#!/usr/bin/env bash
# Passes the tests with the lowest versions that setup.py allows, in an environment of its own with
# Python 3.10. What needs ROS is skipped. Sets the environment up when setup.py has changed.
# Usage: scripts/test_oldest.sh [PYTEST ARGUMENTS]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh

if ! unchanged .venv-oldest setup.py scripts/test_oldest.sh; then
  python=$(find_python 3.10)
  [[ -n $python ]] || die "Python 3.10 is needed, the oldest that setup.py allows: set PYTHON"
  make_environment "$python"
  say "Lowest versions of setup.py (some gigabytes: the oldest torch comes with CUDA)"
  install uv
  # uv alone resolves so: the lowest of what setup.py names, the newest of what that needs.
  extras=(--extra cpu --extra train --extra sim --extra bags --extra lerobot --extra dev)
  "$venv/bin/uv" pip compile -q setup.py "${extras[@]}" --resolution lowest-direct \
    --python-version 3.10 --no-annotate --no-header -o "$venv/lowest.txt"
  "$venv/bin/uv" pip sync -q --python "$venv/bin/python" "$venv/lowest.txt"
  "$venv/bin/uv" pip install -q --python "$venv/bin/python" --no-deps -e .
  finish
fi
OMP_NUM_THREADS=1 MUJOCO_GL=${MUJOCO_GL:-egl} "$venv/bin/python" -m pytest -q -p no:cacheprovider \
  -n 2 --dist loadfile "${@:-tests}"
