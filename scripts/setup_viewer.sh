#!/usr/bin/env bash
# The Python that `smvae view` draws with: rerun, which needs NumPy 2 and much room, apart from all
# else. Does nothing when nothing changed.
# Usage: scripts/setup_viewer.sh [VENV]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv-view}
python=${PYTHON:-python3}
requirements=requirements-viewer.txt

die() { printf 'setup_viewer: %s\n' "$*" >&2; exit 1; }

stamp=$venv/.setup-done
fingerprint=$({ pwd; cat "$requirements"; } | sha256sum)
if [[ -f $stamp && $(<"$stamp") == "$fingerprint" ]]; then
  echo "viewer: up to date ($venv)"
  exit 0
fi

if [[ ! -x $venv/bin/python ]]; then
  "$python" -m venv "$venv" || die "no virtual environment in $venv; is python3-venv installed?"
fi
echo '*' > "$venv/.gitignore"
log=$venv/setup.log
"$venv/bin/python" -m pip --disable-pip-version-check install -r "$requirements" >"$log" 2>&1 ||
  die "pip failed: $(grep -m1 '^ERROR' "$log" || tail -1 "$log") (all of it in $log)"
found=$("$venv/bin/python" -c 'import numpy, rerun; print(f"rerun {rerun.__version__}, numpy {numpy.__version__}")' 2>>"$log") ||
  die "rerun does not import: $(tail -1 "$log")"
echo "$fingerprint" > "$stamp"
echo "viewer: $found in $venv"
