#!/usr/bin/env bash
# Exchanges LeRobot folders with the official package, both ways, in an environment of its own.
# Sets the environment up when it has changed, and writes benchmarks/results/lerobot.json.
# Usage: scripts/test_lerobot.sh [VENV]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
requirements=requirements-lerobot.txt

if ! unchanged "${1:-.venv-lerobot}" "$requirements"; then
  python=$(find_python 3.12 3.13 3.14)
  [[ -n $python ]] || die "the official package needs Python 3.12 or newer: set PYTHON"
  make_environment "$python"
  say "The official package (5 GB where torch comes with CUDA: see PIP_EXTRA_INDEX_URL in README.md)"
  install -r "$requirements"
  "$venv/bin/python" -c 'import lerobot.datasets.lerobot_dataset' 2>>"$log" ||
    die "lerobot does not import: $(tail -1 "$log")"
  finish
fi

# Nothing is fetched from the hub: every folder lies on this machine.
PYTHONPATH=$PWD:$PWD/datasets HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 \
  SMVAE_LEROBOT_RESULT=benchmarks/results/lerobot.json \
  "$venv/bin/python" -m pytest -q -p no:cacheprovider tests/lerobot
