#!/usr/bin/env bash
# Build ros2_ws into ros2_ws/install: against a sourced ROS installation where ROS_DISTRO is set,
# else against the ROS wheels in the virtual environment. Does nothing when nothing changed.
# Usage: scripts/build_workspace.sh [--force]
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
workspace="$root/ros2_ws"
stamp="$workspace/install/.smvae_sources.sha256"
python="${SMVAE_PYTHON:-$root/.venv/bin/python}"
[[ -n "${ROS_DISTRO:-}" ]] && python="${SMVAE_PYTHON:-$(command -v python3)}"

fingerprint() {
    {
        echo "$root ${ROS_DISTRO:-wheels} $("$python" --version)"
        find "$workspace/src" -name __pycache__ -prune -o -type f ! -name '*.pyc' \
            ! -path '*.egg-info/*' ! -path '*/test/*' -print0 | sort -z | xargs -0 sha256sum
    } | sha256sum
}

if [[ "${1:-}" != "--force" && -f "$stamp" && "$(fingerprint)" == "$(cat "$stamp")" ]]; then
    echo "workspace: up to date ($workspace/install)"
    exit 0
fi

# Interfaces, node and tools; smvae_core comes from pip where it is installed, else from the workspace.
skip=()
if (cd / && "$python" -c "import smvae_core") 2>/dev/null; then
    skip=(--packages-ignore smvae_core)
fi
cmake_args=(-DBUILD_TESTING=OFF "-DPython3_EXECUTABLE=$python")
if [[ -z "${ROS_DISTRO:-}" ]]; then
    export VIRTUAL_ENV="$root/.venv" PATH="$root/.venv/bin:$PATH"
    export AMENT_PREFIX_PATH="$root/.venv" CMAKE_PREFIX_PATH="$root/.venv"
    "$python" "$root/scripts/patch_ros_wheels.py"
fi
# colcon's own flags end with -l, a limit of load at which a build beside other work stands still.
export MAKEFLAGS="${MAKEFLAGS:--j$(nproc)}"
cd "$workspace"
# A build made without --symlink-install leaves folders where links must go.
[[ -f "$stamp" ]] || rm -rf build install
# colcon run by this very Python writes it into the shebang of the executables
"$python" -m colcon --log-base "$workspace/log" build --symlink-install "${skip[@]}" \
    --cmake-args "${cmake_args[@]}"
fingerprint > "$stamp"
echo "workspace: built into $workspace/install"
