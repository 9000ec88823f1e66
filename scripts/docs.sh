#!/usr/bin/env bash
# Builds the site of the documents in build/site, with Sphinx in an environment of its own. Strict: a
# broken link or a reference that leads nowhere fails. With `test` it is looked at in a browser too.
# Usage: scripts/docs.sh [test]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
base=$PWD/${VENV:-.venv}/bin/python requirements=requirements-docs.txt
[[ -x $base ]] || die "no environment in ${VENV:-.venv}, whose packages the docstrings need: run 'make setup'"

if ! unchanged .venv-docs "$requirements" "${VENV:-.venv}/pyvenv.cfg"; then
  make_environment "$base"
  say "Sphinx, and what drives a browser (about 30 s)"
  install -r "$requirements"
  # Docstrings are read from modules that run, with the packages of the project's own environment.
  where='import sysconfig; print(sysconfig.get_path("purelib"))'
  "$base" -c "$where" > "$("$venv/bin/python" -c "$where")/zz_project.pth"
  finish
fi

export PYTHONPATH=$PWD OMP_NUM_THREADS=1
"$venv/bin/python" docs/site/pages.py build/site-source
"$venv/bin/python" -m sphinx -q -W --keep-going -j 2 -d build/site-trees -c docs/site \
  build/site-source build/site
say "The site is in build/site/index.html"
[[ ${1:-} == test ]] || exit 0

find_browser() { command -v "${BROWSER:-chromium}" || command -v chromium-browser || command -v google-chrome || true; }
if [[ -z $(find_browser) ]]; then
  command="apt-get update && apt-get install -y --no-install-recommends chromium"
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null ||
    die "there is no browser to look at the site with: name one in BROWSER, or run once:  sudo sh -c '$command'"
  say "Chromium from apt (about 40 s)"
  DEBIAN_FRONTEND=noninteractive sh -c "$command" >/tmp/smvae-apt.log 2>&1 ||
    die "there is no browser to look at the site with, and apt failed: $(tail -1 /tmp/smvae-apt.log)"
fi
SMVAE_SITE=build/site SMVAE_BROWSER=$(find_browser) \
  "$venv/bin/python" -m pytest -q -p no:cacheprovider tests/site
