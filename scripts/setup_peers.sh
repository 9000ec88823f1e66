#!/usr/bin/env bash
# The environment of the benchmarks' peers: this package for training, and MultiVae, apart from
# the package's own requirements. Does nothing when nothing changed.
# Usage: scripts/setup_peers.sh [VENV]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
python=${PYTHON:-python3}
requirements=benchmarks/requirements-peers.txt

check_python "$python" 3.10 3.12
if unchanged "${1:-.venv-peers}" setup.py constraints.txt "$requirements"; then
  echo "peers: up to date ($venv)"
  exit 0
fi
make_environment "$python"
install -c constraints.txt "setuptools<80" wheel
install -c constraints.txt --no-build-isolation -e '.[train,dev]' -r "$requirements"
found=$("$venv/bin/python" -W ignore -c '
import benchmarks.peers.library, importlib.metadata as m
print(*(f"{p} {m.version(p)}" for p in ("multivae", "torch", "torchvision")), sep=", ")' 2>>"$log") ||
  die "MultiVae does not import: $(tail -1 "$log")"
finish
echo "peers: $found in $venv"
