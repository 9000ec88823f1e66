#!/usr/bin/env bash
# The Python that `smvae view` draws with: rerun, which needs NumPy 2 and much room, apart from all
# else. Does nothing when nothing changed.
# Usage: scripts/setup_viewer.sh [VENV]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
requirements=requirements-viewer.txt

if unchanged "${1:-.venv-view}" "$requirements"; then
  echo "viewer: up to date ($venv)"
  exit 0
fi
make_environment "${PYTHON:-python3}"
install -r "$requirements"
found=$("$venv/bin/python" -c 'import numpy, rerun; print(f"rerun {rerun.__version__}, numpy {numpy.__version__}")' 2>>"$log") ||
  die "rerun does not import: $(tail -1 "$log")"
finish
echo "viewer: $found in $venv"
