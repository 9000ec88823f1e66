# Source this (bash): puts ROS 2, the workspace and the Fast DDS profile into this shell.
#   . scripts/ros_env.sh
# With ROS_DISTRO set it adds the workspace to that installation, else it uses the wheels in .venv.
_smvae_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
if [[ -z "${ROS_DISTRO:-}" ]]; then
    export VIRTUAL_ENV="$_smvae_root/.venv"
    case ":$PATH:" in *":$VIRTUAL_ENV/bin:"*) ;; *) export PATH="$VIRTUAL_ENV/bin:$PATH" ;; esac
    case ":${AMENT_PREFIX_PATH:-}:" in
        *":$VIRTUAL_ENV:"*) ;;
        *) export AMENT_PREFIX_PATH="$VIRTUAL_ENV${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}" ;;
    esac
fi
if [[ -f "$_smvae_root/ros2_ws/install/local_setup.bash" ]]; then
    case $- in *u*) _smvae_strict=1; set +u ;; *) _smvae_strict= ;; esac  # colcon's reads unset names
    . "$_smvae_root/ros2_ws/install/local_setup.bash"
    if [[ -n "$_smvae_strict" ]]; then set -u; fi
    unset _smvae_strict
else
    echo "ros_env.sh: ros2_ws is not built yet, run scripts/build_workspace.sh" >&2
fi
# The wheels add their own libraries to LD_LIBRARY_PATH once per process tree; ours must reach that.
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
# A profile of the user's wins. Both names: Fast DDS 2 (Humble, Jazzy) and 3 read different ones.
_smvae_profile="$_smvae_root/ros2_ws/src/smvae_ros/config/fastdds_large_images.xml"
export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$_smvae_profile}"
export FASTDDS_DEFAULT_PROFILES_FILE="${FASTDDS_DEFAULT_PROFILES_FILE:-$FASTRTPS_DEFAULT_PROFILES_FILE}"
export RMW_IMPLEMENTATION="${RMW_IMPLEMENTATION:-rmw_fastrtps_cpp}"
unset _smvae_root _smvae_profile
