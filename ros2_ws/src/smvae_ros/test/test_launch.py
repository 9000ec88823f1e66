"""The launch file, wherever launch_ros is installed (it is not on PyPI).

What its source shows without launch is tested in tests/ros/test_launch_files.py.
"""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is not installed here: it is not on PyPI")

FILE = Path(__file__).parents[1] / "launch" / "perception.launch.py"


def describe() -> tuple[Any, Any]:
    """The description, and the function that starts everything in a context."""
    module = runpy.run_path(str(FILE))
    return module["generate_launch_description"](), module["start"]


def started(**arguments: str) -> list[Any]:
    """What runs with these arguments, others at their defaults."""
    from launch import LaunchContext

    description, start = describe()
    context = LaunchContext()
    context.launch_configurations.update({"bundle": "/nowhere"} | arguments)
    for argument in description.get_launch_arguments():
        argument.execute(context)
    return list(start(context))


def test_every_argument_is_declared_at_top_level_and_described() -> None:
    arguments = describe()[0].get_launch_arguments()
    assert {a.name for a in arguments} >= {"bundle", "namespace", "provider", "use_sim_time"}
    assert all(a.description for a in arguments)
    assert [a.name for a in arguments if a.default_value is None] == ["bundle"]


def test_handlers_stand_before_the_node() -> None:
    from launch.actions import RegisterEventHandler
    from launch_ros.actions import LifecycleNode

    kinds = [type(action) for action in started()]
    assert kinds == [RegisterEventHandler] * 5 + [LifecycleNode]
    assert len(started(autostart="false")) == 4


@pytest.mark.parametrize(
    ("argument", "package"), [("rviz", "rviz2"), ("foxglove", "foxglove_bridge")]
)
def test_a_viewer_is_started_or_said_to_be_missing_before_anything_runs(
    argument: str, package: str, bundle: Path
) -> None:
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        with pytest.raises(RuntimeError, match=f"{argument}:=true needs the package {package}"):
            started(bundle=str(bundle), **{argument: "true"})
    else:
        assert len(started(bundle=str(bundle), **{argument: "true"})) == len(started()) + 1


def parameters(**arguments: str) -> dict[str, Any]:
    """The parameters that arguments set, as the node gets them."""
    from launch_ros.actions import LifecycleNode
    from launch_ros.utilities import evaluate_parameters

    from launch import LaunchContext

    (node,) = (a for a in started(**arguments) if isinstance(a, LifecycleNode))
    given = evaluate_parameters(LaunchContext(), node._Node__parameters[-1:])  # a file is first
    return dict(given[0])


def test_topics_are_chosen_by_the_bundles_sensors_and_by_the_old_arguments(bundle: Path) -> None:
    path = str(bundle)
    types = "depth=sensor_msgs/msg/PointCloud2"
    found = parameters(bundle=path, topics="rgb=/a, force=/b", message_types=types)
    assert found == {
        "bundle": path,
        "modalities.rgb.topic": "/a",
        "modalities.force.topic": "/b",
        "modalities.depth.message_type": "sensor_msgs/msg/PointCloud2",
    }
    assert found == parameters(
        bundle=path,
        rgb_topic="/a",
        wrench_topic="/b",
        depth_message_type="sensor_msgs/msg/PointCloud2",
    )
    with pytest.raises(ValueError, match="unknown modality 'wrench': this model has 'rgb'"):
        started(bundle=path, topics="wrench=/b")


@pytest.mark.parametrize("argument", [{"provider": "gpu"}, {"autostart": "yes"}])
def test_a_value_outside_the_choices_is_refused(argument: dict[str, str]) -> None:
    with pytest.raises(RuntimeError, match="not valid"):
        started(**argument)


def launch(log: Path, domain: int, file: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    with log.open("w") as out:
        return subprocess.Popen(
            ["ros2", "launch", str(file), *arguments],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(60.0)


needs_ros2 = pytest.mark.skipif(
    shutil.which("ros2") is None, reason="the ros2 command is not installed here"
)


@pytest.mark.dds
@needs_ros2
def test_the_launched_node_becomes_active_and_sigint_ends_all(
    client: Any, bundle: Path, domain: int, tmp_path: Path
) -> None:
    log = tmp_path / "launch.log"
    process = launch(log, domain, FILE, f"bundle:={bundle}")
    try:
        client.until(lambda: client.latents)
        assert client.state() == "active"
        process.send_signal(signal.SIGINT)
        assert process.wait(60.0) == 0
        assert "/smvae is active" in log.read_text(encoding="utf-8")
        assert "process has died" not in log.read_text(encoding="utf-8")
    finally:
        end(process)


@pytest.mark.dds
@needs_ros2
def test_a_launched_node_listens_where_topics_say_and_an_unknown_sensor_ends_the_launch(
    client: Any, bundle: Path, domain: int, tmp_path: Path
) -> None:
    log = tmp_path / "launch.log"
    process = launch(log, domain, FILE, f"bundle:={bundle}", "topics:=rgb=/camera/left/image")
    try:
        heard = client.node.get_subscriptions_info_by_topic
        topics = ("/camera/left/image", "/camera/left/camera_info")
        client.until(lambda: all(map(heard, topics)), 60.0)
        assert not heard("/rgb/image")
    finally:
        end(process)
    process = launch(log, domain, FILE, f"bundle:={bundle}", "topics:=lidar=/scan")
    assert process.wait(60.0) == 1
    text = log.read_text(encoding="utf-8")
    assert "unknown modality 'lidar': this model has 'rgb', 'depth', 'force', 'action'" in text
    assert "Traceback" not in text
    assert "perception_node" not in text


@pytest.mark.dds
@needs_ros2
def test_a_node_that_dies_before_it_is_active_ends_the_launch(
    bundle: Path, domain: int, tmp_path: Path
) -> None:
    """Nothing asks a dead process for its state for ever."""
    log = tmp_path / "launch.log"
    process = launch(log, domain, FILE, f"bundle:={bundle}", "log_level:=nonsense")
    assert process.wait(60.0) != 0
    assert "log_level" in log.read_text(encoding="utf-8")
    parameters = tmp_path / "p.yaml"
    parameters.write_text("no parameters at all: [", encoding="utf-8")
    process = launch(log, domain, FILE, f"bundle:={bundle}", f"params_file:={parameters}")
    try:
        process.wait(60.0)
        assert "process has died" in log.read_text(encoding="utf-8")
    finally:
        end(process)


@pytest.mark.dds
@needs_ros2
def test_a_replay_whose_node_cannot_be_configured_ends_and_says_so(
    domain: int, tmp_path: Path
) -> None:
    log, file = tmp_path / "launch.log", FILE.parents[4] / "launch/replay_bag.launch.py"
    process = launch(log, domain, file, "bag:=/nowhere", "bundle:=/nowhere")
    try:
        assert process.wait(60.0) == 1
        text = log.read_text(encoding="utf-8")
        assert "nothing is played" in text
        assert "Traceback" not in text
    finally:
        end(process)
