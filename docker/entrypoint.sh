#!/usr/bin/env bash
# Runs a command with ROS 2, the workspace and the node's own Python.
set -e
source "/opt/ros/$ROS_DISTRO/setup.bash"
source /opt/venv/bin/activate
source /opt/install/local_setup.bash
exec "$@"
