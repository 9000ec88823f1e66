#!/usr/bin/env bash
# Trains, converts and plays on two workers of a Ray cluster, in an environment of its own, and
# compares with the same without Ray. Writes benchmarks/results/ray.json.
# Usage: scripts/test_ray.sh [VENV]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh

if ! unchanged "${1:-.venv-ray}" setup.py constraints.txt; then
  make_environment "${PYTHON:-python3}"
  say "This project with Ray (2 GB; 5 GB where torch comes with CUDA: see PIP_EXTRA_INDEX_URL in README.md)"
  install -c constraints.txt "setuptools<80" wheel
  install -c constraints.txt --no-build-isolation -e '.[cpu,train,sim,bags,lerobot,ray,dev]'
  finish
fi

PYTHONPATH=$PWD:$PWD/datasets:$PWD/training OMP_NUM_THREADS=1 MUJOCO_GL=${MUJOCO_GL:-egl} \
  SMVAE_RAY_RESULT=benchmarks/results/ray.json \
  "$venv/bin/python" -m pytest -q -p no:cacheprovider --timeout 1800 tests/ray
