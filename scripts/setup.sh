#!/usr/bin/env bash
# Set-up from nothing: system packages (installed when we may, else printed as one command),
# a virtual environment, this project with pinned versions, and ROS 2 Jazzy from wheels.
# Usage: scripts/setup.sh VENV
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
venv=${1:-.venv}
python=${PYTHON:-python3}

check_python "$python" 3.10 3.14

# --- system packages -------------------------------------------------------------------------
need=()
have() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'; }
if command -v dpkg-query >/dev/null; then
  for package in libegl1 libgl1 cmake g++ git; do have "$package" || need+=("$package"); done
  have libglib2.0-0 || have libglib2.0-0t64 || need+=(libglib2.0-0)
  "$python" -c 'import ensurepip, venv' 2>/dev/null || need+=(python3-venv)
  test -f "$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h" ||
    need+=(python3-dev)
fi
if ((${#need[@]})); then
  command="apt-get update && apt-get install -y --no-install-recommends ${need[*]}"
  if [[ $(id -u) == 0 ]]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo"; else
    die "system packages are missing; run once:  sudo sh -c '$command'"
  fi
  say "System packages: ${need[*]}"
  DEBIAN_FRONTEND=noninteractive $sudo sh -c "$command" >/tmp/smvae-apt.log 2>&1 ||
    { tail -5 /tmp/smvae-apt.log >&2; die "apt failed; run by hand:  sudo sh -c '$command'"; }
fi

# --- Python ----------------------------------------------------------------------------------
# An interrupted set-up leaves the environment without its stamp: it is completed, not rebuilt.
[[ -x $venv/bin/python ]] || { say "Virtual environment in $venv"; "$python" -m venv "$venv"; }
pip=("$venv/bin/python" -m pip --disable-pip-version-check)
say "Python packages (about 90 s without a cache)"
"${pip[@]}" install -q -c constraints.txt "setuptools<80" wheel
"${pip[@]}" install -q -c constraints.txt --no-build-isolation -e '.[cpu,train,sim,bags,lerobot,dev]'
if [[ -z ${ROS_DISTRO:-} ]]; then
  say "ROS 2 Jazzy from wheels (about 30 s)"
  "${pip[@]}" install -q -c constraints.txt -r requirements-jazzy-wheels.txt
  "$venv/bin/python" scripts/patch_ros_wheels.py
else
  say "ROS 2 $ROS_DISTRO is sourced: its packages are used"
fi
"${pip[@]}" check
