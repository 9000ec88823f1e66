#!/usr/bin/env bash
# Wheel and sdist of `smvae` in dist/, and what is checked of them, with tools in .venv-release.
# Usage: scripts/release/run.sh dist | test-wheel | sbom | lint
#   dist        writes wheel and sdist, and looks into both
#   test-wheel  installs the wheel into empty environments of Python 3.10, 3.12 and 3.13 without a
#               compiler, and runs README's Python there; writes benchmarks/results/wheel.json
#   sbom        writes dist/sbom.json in CycloneDX: what `make setup` installed for smvae and its extras
#   lint        CITATION.cff and the Dockerfiles
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environment.sh
unset PYTHONPATH  # what is here must not pass for installed; -I likewise
requirements=requirements-release.txt

if ! unchanged .venv-release "$requirements"; then
  python=$(find_python 3.12 3.13 3.11)
  [[ -n $python ]] || die "Python 3.11 to 3.13 is needed: set PYTHON"
  make_environment "$python"
  say "The tools of a release (about 30 s)"
  install -r "$requirements"
  finish
fi
tools=$PWD/$venv/bin

build_both() {
  rm -rf dist/*.whl dist/*.tar.gz build/lib
  say "Wheel and sdist"
  "$tools/python" -m build -o dist . >"$venv/build.log" 2>&1 || die "build failed: $(tail -1 "$venv/build.log")"
  "$tools/python" scripts/release/look.py dist
}

clean_environment() {  # VERSION: an empty environment of that Python, or none where it is not here
  local python; python=$(PYTHON= find_python "$1")
  [[ -n $python ]] || die "Python $1 is not on this machine"
  rm -rf "$tools/../python$1"
  "$python" -m venv "$tools/../python$1"
}

case ${1:-} in
dist) build_both ;;
test-wheel)
  build_both
  wheel=$(echo "$PWD"/dist/smvae-*.whl)
  told=()
  for version in 3.10 3.12 3.13; do
    say "Python $version: the wheel alone, no compiler"
    clean_environment "$version"
    clean=$tools/../python$version
    "$clean/bin/python" -I -m pip --disable-pip-version-check install -q --only-binary :all: "$wheel[cpu]" \
      >"$venv/pip$version.log" 2>&1 || die "pip failed: $(grep -m1 ^ERROR "$venv/pip$version.log")"
    told+=("$(cd "$clean" && env -u PYTHONPATH "$clean/bin/python" -I "$OLDPWD/scripts/release/quick_start.py" "$OLDPWD")")
    echo "${told[-1]}"
  done
  say "Python 3.14: metadata and wheels of all that it needs"
  "$tools/python" -I -m pip --disable-pip-version-check install -q --dry-run --ignore-installed --only-binary :all: \
    --python-version 3.14 --target "$venv/none" --report "$venv/3.14.json" "$wheel[cpu]" >"$venv/pip3.14.log" 2>&1 ||
    die "pip failed: $(grep -m1 ^ERROR "$venv/pip3.14.log")"
  "$tools/python" scripts/release/note.py benchmarks/results/wheel.json "$wheel" "$venv/3.14.json" "${told[@]}" ;;
sbom)
  # The wheel's own dependencies as `make setup` installed them, with the versions that are tested.
  base=$PWD/${VENV:-.venv}/bin/python
  mkdir -p dist
  "$base" scripts/release/licences.py --names >"$venv/names.txt"
  "$tools/cyclonedx-py" environment --of JSON --output-reproducible -o dist/sbom.json "$base" 2>"$venv/sbom.log" ||
    die "cyclonedx-py failed: $(tail -1 "$venv/sbom.log")"
  "$tools/python" scripts/release/only.py dist/sbom.json "$venv/names.txt" \
    "$(sed -n 's/__version__ = "\(.*\)"/\1/p' smvae_core/__init__.py)" ;;
lint)
  "$tools/hadolint" docker/Dockerfile.*
  echo "$(ls docker/Dockerfile.* | wc -l) Dockerfiles: hadolint has nothing to say"
  # In an environment of its own: cffconvert wants a jsonschema of before 2023, and would take a
  # ruamel.yaml that needs a compiler.
  if [[ ! -x $venv/cff/bin/cffconvert ]]; then
    "$tools/python" -m venv "$venv/cff"
    "$venv/cff/bin/python" -I -m pip --disable-pip-version-check install cffconvert 'ruamel.yaml>=0.18' \
      >"$log" 2>&1 || die "pip failed: $(grep -m1 '^ERROR' "$log")"
  fi
  "$venv/cff/bin/cffconvert" --validate ;;
*) die "usage: scripts/release/run.sh dist | test-wheel | sbom | lint" ;;
esac
