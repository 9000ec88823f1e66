#!/usr/bin/env bash
# Passes the tests of what a robot needs (no torch) and of the data with every Python that setup.py
# allows and that this machine has. Each has an environment of its own with the newest packages.
# `+train` after a version adds torch and the tests of the trainer, which are all of tests/.
# Usage: scripts/test_pythons.sh [VERSION[+train]...]     (all by default, the trainer's on 3.12)
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
environments=.venv-pythons
(($#)) && named=1 || named=
(($#)) || set -- 3.10 3.11 3.12+train 3.13 3.14

set_up() {  # VERSION EXTRAS PYTHON VENV: makes the environment, unless it is there for this setup.py
  local version=$1 extras=$2 python=$3
  unchanged "$4" setup.py requirements-jazzy-wheels.txt scripts/test_pythons.sh && return
  say "Newest packages for Python $version${extras:+ (with torch: some gigabytes)}"
  rm -rf "$venv"
  make_environment "$python"
  install uv
  # rclpy's messages without a node, edges of the image sets, the reader of launch files.
  "$venv/bin/uv" pip install -q --python "$venv/bin/python" -e ".[cpu,sim,bags,lerobot,dev$extras]" \
    scikit-image pyyaml \
    $(grep -E '^ros-(rclpy|jazzy-(rclpy|sensor-msgs|geometry-msgs))\b' requirements-jazzy-wheels.txt)
  finish
}

mkdir -p "$environments"
echo '*' > "$environments/.gitignore"
told=() failed=()
for wish; do
  version=${wish%+train} extras=${wish#"${wish%+train}"} tests=(tests/core tests/ros tests/datasets)
  [[ -n $extras ]] && extras=,train tests=(tests)
  python=$(find_python "$version")
  if [[ -z $python ]]; then
    [[ -n $named ]] && die "Python $version is not on this machine"
    told+=("$version: not on this machine")
    continue
  fi
  set_up "$version" "$extras" "$python" "$environments/$wish"
  say "Python $wish: ${tests[*]}"
  env -u PYTHONPATH OMP_NUM_THREADS=1 MUJOCO_GL="${MUJOCO_GL:-egl}" "$venv/bin/python" -m pytest -q \
    -p no:cacheprovider -n 2 --dist loadfile "${tests[@]}" 2>&1 | tee "$venv/test.log" || failed+=("$wish")
  told+=("$wish: $(tail -1 "$venv/test.log") ($("$venv/bin/python" -c '
import importlib.metadata as m
print(*(f"{p} {m.version(p)}" for p in ("numpy", "opencv-python", "onnxruntime")), sep=", ")'))")
done
printf 'test_pythons: %s\n' "${told[@]}"
((${#failed[@]} == 0)) || die "tests failed with ${failed[*]}"
[[ ${told[*]} == *passed* ]] || die "no Python of 3.10 to 3.14 is on this machine"
