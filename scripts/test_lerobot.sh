#!/usr/bin/env bash
# Exchanges LeRobot folders with the official package, both ways, in an environment of its own.
# Sets the environment up when it has changed, and writes benchmarks/results/lerobot.json.
# Usage: scripts/test_lerobot.sh [VENV]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv-lerobot}
requirements=requirements-lerobot.txt

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
die() { printf 'test_lerobot: %s\n' "$*" >&2; exit 1; }

stamp=$venv/.setup-done
fingerprint=$({ pwd; cat "$requirements"; } | sha256sum)
if [[ ! -f $stamp || $(<"$stamp") != "$fingerprint" ]]; then
  for python in "${PYTHON:-}" python3.12 python3.13 \
      "$(pyenv root 2>/dev/null)"/versions/3.1[23].*/bin/python; do
    [[ -n $python ]] && "$python" -c 'import sys; sys.exit(sys.version_info[:2] < (3, 12))' \
      2>/dev/null && break
    python=
  done
  [[ -n $python ]] || die "the official package needs Python 3.12 or newer: set PYTHON"
  [[ -x $venv/bin/python ]] || "$python" -m venv "$venv" ||
    die "no virtual environment in $venv; is python3-venv installed?"
  echo '*' > "$venv/.gitignore"
  say "The official package (5 GB where torch comes with CUDA: see PIP_EXTRA_INDEX_URL in README.md)"
  log=$venv/setup.log
  "$venv/bin/python" -m pip --disable-pip-version-check install -r "$requirements" >"$log" 2>&1 ||
    die "pip failed: $(grep -m1 '^ERROR' "$log" || tail -1 "$log") (all of it in $log)"
  "$venv/bin/python" -c 'import lerobot.datasets.lerobot_dataset' 2>>"$log" ||
    die "lerobot does not import: $(tail -1 "$log")"
  echo "$fingerprint" > "$stamp"
fi

# Nothing is fetched from the hub: every folder lies on this machine.
PYTHONPATH=$PWD:$PWD/datasets HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 \
  SMVAE_LEROBOT_RESULT=benchmarks/results/lerobot.json \
  "$venv/bin/python" -m pytest -q -p no:cacheprovider tests/lerobot
