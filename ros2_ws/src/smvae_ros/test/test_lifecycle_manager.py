"""The shipped example for nav2's lifecycle manager: with it the manager brings the node up."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState

FILE = Path(__file__).parents[1] / "config/nav2_lifecycle_manager.yaml"
MANAGER = "lifecycle_manager_perception"
SETTINGS = yaml.safe_load(FILE.read_text(encoding="utf-8"))[MANAGER]["ros__parameters"]
#: What nav2_lifecycle_manager asks of every node at start-up, and the state that it then expects.
STARTUP = (
    (Transition.TRANSITION_CONFIGURE, "inactive"),
    (Transition.TRANSITION_ACTIVATE, "active"),
)
#: Likewise at shutdown, in this order.
SHUTDOWN = (
    (Transition.TRANSITION_DEACTIVATE, "inactive"),
    (Transition.TRANSITION_CLEANUP, "unconfigured"),
    (Transition.TRANSITION_UNCONFIGURED_SHUTDOWN, "finalized"),
)


@pytest.mark.dds
def test_the_managers_questions_are_answered_and_no_bond_is_there_to_wait_for(
    start_node: Any, client: Any, bundle: Path
) -> None:
    """Played here, since the manager is not in the ROS wheels; below it runs where it is."""
    start_node(bundle=bundle)
    (name,) = SETTINGS["node_names"]
    for transition, expected in (*STARTUP, *SHUTDOWN):
        request = ChangeState.Request(transition=Transition(id=transition))
        answer = client.call(
            ChangeState, f"{name}/change_state", request, SETTINGS["service_timeout"]
        )
        assert answer.success
        state = client.call(GetState, f"{name}/get_state", GetState.Request())
        assert state.current_state.label == expected
    bonds = client.node.get_publishers_info_by_topic("/bond")
    assert bool(bonds) == (SETTINGS["bond_timeout"] > 0.0)


@pytest.mark.dds
@pytest.mark.skipif(shutil.which("ros2") is None, reason="the ros2 command is not installed here")
def test_the_manager_itself_brings_the_node_up(
    start_node: Any, client: Any, bundle: Path, domain: int
) -> None:
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        get_package_prefix("nav2_lifecycle_manager")
    except PackageNotFoundError:
        pytest.skip("nav2_lifecycle_manager is not installed here")
    start_node(bundle=bundle)
    arguments = ["--ros-args", "-r", f"__node:={MANAGER}", "--params-file", str(FILE)]
    command = ["ros2", "run", "nav2_lifecycle_manager", "lifecycle_manager", *arguments]
    manager = subprocess.Popen(command, env=os.environ | {"ROS_DOMAIN_ID": str(domain)})
    try:
        client.until(lambda: client.state() == "active")
        client.spin(5.0)
        assert client.state() == "active", "the manager gave the node up"
    finally:
        manager.terminate()
        manager.wait(60.0)
