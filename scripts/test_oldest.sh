#!/usr/bin/env bash
# Passes the tests with the lowest versions that setup.py allows, in an environment of its own with
# Python 3.10. What needs ROS is skipped. Sets the environment up when setup.py has changed.
# Usage: scripts/test_oldest.sh [PYTEST ARGUMENTS]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv-oldest

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
die() { printf 'test_oldest: %s\n' "$*" >&2; exit 1; }

stamp=$venv/.setup-done
fingerprint=$({ pwd; cat setup.py scripts/test_oldest.sh; } | sha256sum)
if [[ ! -f $stamp || $(<"$stamp") != "$fingerprint" ]]; then
  for python in "${PYTHON:-}" python3.10 "$(pyenv root 2>/dev/null)"/versions/3.10.*/bin/python; do
    [[ -n $python ]] && "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 10))' \
      2>/dev/null && break
    python=
  done
  [[ -n $python ]] || die "Python 3.10 is needed, the oldest that setup.py allows: set PYTHON"
  [[ -x $venv/bin/python ]] || "$python" -m venv "$venv" ||
    die "no virtual environment in $venv; is python3-venv installed?"
  echo '*' > "$venv/.gitignore"
  say "Lowest versions of setup.py (some gigabytes: the oldest torch comes with CUDA)"
  "$venv/bin/python" -m pip --disable-pip-version-check install -q uv
  # uv alone resolves so: the lowest of what setup.py names, the newest of what that needs.
  extras=(--extra cpu --extra train --extra sim --extra bags --extra lerobot --extra dev)
  "$venv/bin/uv" pip compile -q setup.py "${extras[@]}" --resolution lowest-direct \
    --python-version 3.10 --no-annotate --no-header -o "$venv/lowest.txt"
  "$venv/bin/uv" pip sync -q --python "$venv/bin/python" "$venv/lowest.txt"
  "$venv/bin/uv" pip install -q --python "$venv/bin/python" --no-deps -e .
  echo "$fingerprint" > "$stamp"
fi
OMP_NUM_THREADS=1 MUJOCO_GL=${MUJOCO_GL:-egl} "$venv/bin/python" -m pytest -q -p no:cacheprovider \
  -n 2 --dist loadfile "${@:-tests}"
