#!/usr/bin/env bash
# The environment of the benchmarks' peers: this package for training, and MultiVae, apart from
# the package's own requirements. Does nothing when nothing changed.
# Usage: scripts/setup_peers.sh [VENV]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv-peers}
python=${PYTHON:-python3}
requirements=benchmarks/requirements-peers.txt

die() { printf 'setup_peers: %s\n' "$*" >&2; exit 1; }

"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' ||
  die "Python 3.10 to 3.12 is needed, '$python' is $("$python" --version 2>&1); set PYTHON=python3.11 or the like"

stamp=$venv/.setup-done
fingerprint=$({ pwd; cat setup.py constraints.txt "$requirements"; } | sha256sum)
if [[ -f $stamp && $(<"$stamp") == "$fingerprint" ]]; then
  echo "peers: up to date ($venv)"
  exit 0
fi

if [[ ! -x $venv/bin/python ]]; then
  "$python" -m venv "$venv" || die "no virtual environment in $venv; is python3-venv installed?"
fi
echo '*' > "$venv/.gitignore"
log=$venv/setup.log
install() {
  "$venv/bin/python" -m pip --disable-pip-version-check install -c constraints.txt "$@" >"$log" 2>&1 ||
    die "pip failed: $(grep -m1 '^ERROR' "$log" || tail -1 "$log") (all of it in $log)"
}
install "setuptools<80" wheel
install --no-build-isolation -e '.[train,dev]' -r "$requirements"
found=$("$venv/bin/python" -W ignore -c '
import benchmarks.peers.library, importlib.metadata as m
print(*(f"{p} {m.version(p)}" for p in ("multivae", "torch", "torchvision")), sep=", ")' 2>>"$log") ||
  die "MultiVae does not import: $(tail -1 "$log")"
echo "$fingerprint" > "$stamp"
echo "peers: $found in $venv"
