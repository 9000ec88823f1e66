"""The schedule of sensors: its order, and what it waits for, with robot and node over real DDS."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from node_harness import fused
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from robot_harness import RELIABLE, Listener, Process, Program
from smvae_msgs.msg import LatentState
from smvae_ros import topics
from smvae_ros.lifecycle.start import bring_up
from smvae_tools.bags.recorder import DEFAULT_TOPICS
from smvae_tools.robot.publishers import RobotPublishers
from smvae_tools.robot.schedule_walker import MARKS_TOPIC, awaits_recording
from smvae_tools.robot.sensor_schedule import parse, schedule
from std_msgs.msg import String

from smvae_core.presets import VISION_TOUCH

#: Stands where a robot stands until it is asked for its sensors.
MORTAL_ROBOT = """
import os, rclpy, signal
from rcl_interfaces.srv import ListParameters
def answer(request, response):
    if request.prefixes == ["sensors"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return response
rclpy.init()
robot = rclpy.create_node("simulated_robot", start_parameter_services=False)
robot.create_service(ListParameters, "~/list_parameters", answer)
rclpy.spin(robot)
"""
LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def start(domain: int, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    programs = []

    def start_program(module: str, *arguments: str) -> Program:
        log = tmp_path / f"{module}.log"
        programs.append(Program(f"smvae_tools.robot.{module}", domain, log, *arguments))
        return programs[-1]

    yield start_program
    for program in programs:
        program.end()
        print(f"--- {program.log.name} ---\n{program.text()}")  # shown where a test failed


@pytest.fixture
def listener(domain: int) -> Iterator[Listener]:
    listener = Listener(domain)
    yield listener
    listener.close()


def test_it_waits_for_nothing_that_the_recorder_leaves_out() -> None:
    published = [*topics.outputs(VISION_TOUCH), *topics.STANDARD]
    names = [topics.resolve(t.name, "", "smvae") for t in published if t.direction == "publish"]
    awaited = {name for name in names if awaits_recording(name)}
    assert awaited >= {"/smvae/latent", "/smvae/predicted/rgb/image", "/diagnostics"}
    assert not [n for n in awaited if not any(re.fullmatch(p, n) for p in DEFAULT_TOPICS)]


def test_it_waits_for_no_topic_of_the_robot_that_the_recorder_leaves_out(domain: int) -> None:
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    node = Node("simulated_robot", context=context, start_parameter_services=False)
    RobotPublishers(node, np.eye(3))
    names = [t for t, _ in node.get_publisher_names_and_types_by_node("simulated_robot", "/")]
    node.destroy_node()
    rclpy.shutdown(context=context)
    awaited = {name for name in names if awaits_recording(name)}
    assert awaited >= {"/rgb/image", "/wrench", "/simulated_robot/ground_truth/state"}
    assert not [n for n in awaited if not any(re.fullmatch(p, n) for p in DEFAULT_TOPICS)]


def test_it_holds_every_set_once_and_flips_many_at_a_time() -> None:
    sensors = ("rgb", "depth", "wrench", "action")
    order = schedule(sensors, seed=0)
    assert len(order) == len(set(order)) == 16
    assert () in order
    assert sensors in order
    flips = [len(set(a) ^ set(b)) for a, b in pairwise(order)]
    assert sum(flips) / len(flips) > 2.0
    assert schedule(sensors, seed=0) == order != schedule(sensors, seed=1)


@pytest.mark.parametrize("flag", ["--dwell", "--warm-up", "--timeout"])
@pytest.mark.parametrize("value", ["nan", "-1"])
def test_a_time_that_never_ends_is_refused(
    flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse([flag, value])
    assert "must not be negative" in capsys.readouterr().err


@pytest.mark.dds
def test_it_begins_once_a_latent_has_fused_everything(
    start: Callable[..., Program], start_node: Any, listener: Listener, bundle: Path
) -> None:
    """The wrench comes late, by another name until then, as if DDS were slow to connect it."""
    pytest.importorskip("mujoco")
    heard: list[LatentState | String] = []
    listener.node.create_subscription(LatentState, "/smvae/latent", heard.append, RELIABLE)
    listener.node.create_subscription(String, MARKS_TOPIC, heard.append, LATCHED)
    start_node(bundle=bundle)
    late = start("simulated_robot", "--ros-args", "-r", "wrench:=wrench_elsewhere")
    start("sensor_schedule", "--dwell", "0.1", "--warm-up", "0.1")
    status = LatentState.DEGRADED
    listener.until(lambda: any(getattr(m, "status", None) == status for m in heard))
    assert not any(isinstance(m, String) for m in heard)
    late.end()
    start("simulated_robot")
    listener.until(lambda: any(isinstance(m, String) for m in heard))
    begin = next(i for i, m in enumerate(heard) if isinstance(m, String))
    assert json.loads(heard[begin].data)["label"] == "begin"
    assert any(getattr(m, "status", None) == LatentState.OK for m in heard[:begin])


@pytest.mark.dds
def test_a_robot_that_was_killed_over_a_question_is_asked_again(
    start: Callable[..., Program],
    start_node: Any,
    listener: Listener,
    bundle: Path,
    domain: int,
    tmp_path: Path,
) -> None:
    """Nobody answers, and for seconds the services of the dead seem to be there."""
    pytest.importorskip("mujoco")
    marks = listener.listen(String, MARKS_TOPIC, LATCHED)
    start_node(bundle=bundle)
    mortal = Process(MORTAL_ROBOT, domain, tmp_path / "mortal.log")
    start("sensor_schedule", "--dwell", "0.1", "--warm-up", "0.1")
    assert mortal.process.wait(60.0) == -signal.SIGKILL
    start("simulated_robot")
    listener.until(lambda: marks)


@pytest.mark.dds
def test_it_names_what_was_never_fused(
    start: Callable[..., Program], start_node: Any, listener: Listener, bundle: Path
) -> None:
    pytest.importorskip("mujoco")
    start_node(bundle=bundle)
    start("simulated_robot", "--ros-args", "-r", "wrench:=wrench_elsewhere")
    latents = listener.listen(LatentState, "/smvae/latent")
    assert bring_up(listener.node, "/smvae", listener.came_true)
    listener.until(lambda: any(len(fused(m)) == 3 for m in latents))
    program = start("sensor_schedule", "--timeout", "10")
    assert program.process.wait(60.0) == 1
    assert program.text().splitlines()[-1] == (
        "sensor_schedule: waited 10 s for /smvae/latent to fuse every modality, which did not "
        "come: not fused: force"
    )
