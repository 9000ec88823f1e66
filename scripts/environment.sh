# Source this (bash, at the root): environments beside the package's own, each made once for the files
# that it follows from.
#   die TEXT...                         ends the script with a line
#   say TEXT...                         heads a part of its output
#   check_python PYTHON OLDEST NEWEST   dies unless it is in that range, such as 3.10 to 3.12
#   find_python VERSION...              prints the first of these that is there, PYTHON before others
#   unchanged VENV FILE...              whether VENV was made for these files as they are; remembers VENV
#   make_environment PYTHON             makes that VENV, unless it is there
#   install PIP ARGUMENTS               into it; dies with pip's own error
#   finish                              notes that it was made for these files

die() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; exit 1; }
say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

check_python() {
  command -v "$1" >/dev/null || die "Python $2 to $3 is needed, there is no '$1'; set PYTHON=python$3 or the like"
  "$1" -c "import sys; sys.exit(not (${2/./, }) <= sys.version_info[:2] <= (${3/./, }))" ||
    die "Python $2 to $3 is needed, '$1' is $("$1" --version 2>&1); set PYTHON=python$3 or the like"
}

find_python() {
  local version python
  for version; do
    for python in ${PYTHON:+"$PYTHON"} "python$version" "$(pyenv root 2>/dev/null)/versions/$version".*/bin/python; do
      "$python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null &&
        { echo "$python"; return; }
    done
  done
  return 0
}

unchanged() {
  venv=$1 stamp=$1/.setup-done log=$1/setup.log
  fingerprint=$({ pwd; cat "${@:2}"; } | sha256sum)
  [[ -f $stamp && $(<"$stamp") == "$fingerprint" ]]
}

make_environment() {
  [[ -x $venv/bin/python ]] || "$1" -m venv "$venv" ||
    die "no virtual environment in $venv; is python3-venv installed?"
  echo '*' > "$venv/.gitignore"
}

install() {
  "$venv/bin/python" -m pip --disable-pip-version-check install "$@" >"$log" 2>&1 ||
    die "pip failed: $(grep -m1 '^ERROR' "$log" || tail -1 "$log") (all of it in $log)"
}

finish() { echo "$fingerprint" > "$stamp"; }
