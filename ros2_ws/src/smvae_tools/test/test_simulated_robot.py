"""The simulated robot over real DDS: what it publishes, when it is stamped, and its switches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped, WrenchStamped
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from robot_harness import Listener, Program, stamp
from sensor_msgs.msg import CameraInfo, Image
from smvae_tools.robot.pacing import MAX_LAG_NS, DeadlineClock

from smvae_datasets.simulation.ros_domain import free_domain

pytest.importorskip("mujoco")
MS = 1_000_000


class FakeTime:
    """Two clocks that only move when told."""

    def __init__(self) -> None:
        self.now_ns = 5_000_000_000
        self.slept: list[float] = []

    def steady(self) -> int:
        return self.now_ns

    def system(self) -> int:
        return self.now_ns + 7

    def pause(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ns += round(seconds * 1e9)


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


@pytest.fixture
def clock(fake: FakeTime) -> DeadlineClock:
    return DeadlineClock(fake.steady, fake.system, fake.pause)


def test_the_clock_waits_for_simulated_moments(fake: FakeTime, clock: DeadlineClock) -> None:
    begin = fake.now_ns
    assert clock.wait_until(2 * MS) == 0
    fake.now_ns += MS  # work
    assert clock.wait_until(4 * MS) == 0
    assert fake.slept == pytest.approx([0.002, 0.001])
    assert clock.stamp_ns(4 * MS) == begin + 4 * MS + 7


def test_a_short_delay_is_caught_up_on_the_same_grid(fake: FakeTime, clock: DeadlineClock) -> None:
    before = clock.stamp_ns(2 * MS)
    fake.now_ns += MAX_LAG_NS
    assert clock.wait_until(2 * MS) == 0
    assert clock.stamp_ns(2 * MS) == before
    assert not fake.slept


def test_a_long_delay_makes_the_clock_slip(fake: FakeTime, clock: DeadlineClock) -> None:
    before = clock.stamp_ns(2 * MS)
    fake.now_ns += 2 * MS + 3 * MAX_LAG_NS
    assert clock.wait_until(2 * MS) == 3 * MAX_LAG_NS
    assert clock.stamp_ns(2 * MS) == before + 3 * MAX_LAG_NS
    assert clock.slipped_ns == 3 * MAX_LAG_NS
    assert clock.wait_until(2 * MS) == 0


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, Listener]]:
    """One robot for the tests of this file, and who listens to it."""
    domain = free_domain()
    log = tmp_path_factory.mktemp("robot") / "robot.log"
    program = Program(
        "smvae_tools.robot.simulated_robot", domain, log, "--ros-args", "-p", "episode_steps:=15"
    )
    client = Listener(domain)
    yield program, client
    client.close()
    program.end()


@pytest.mark.dds
def test_every_sensor_comes_with_its_unit_and_calibration(robot: tuple[Program, Listener]) -> None:
    _, client = robot
    rgb, depth = client.listen(Image, "/rgb/image"), client.listen(Image, "/depth/image")
    info = client.listen(CameraInfo, "/rgb/camera_info")
    wrench = client.listen(WrenchStamped, "/wrench")
    action = client.listen(TwistStamped, "/action")
    client.until(lambda: all(len(x) >= 3 for x in (rgb, depth, info, action)) and len(wrench) > 50)
    assert (rgb[0].encoding, rgb[0].width, rgb[0].height, rgb[0].step) == ("rgb8", 128, 128, 384)
    assert (depth[0].encoding, depth[0].step) == ("32FC1", 512)
    metres = np.frombuffer(depth[0].data, np.float32)
    assert 0.1 < float(np.median(metres)) < 3.0
    assert np.frombuffer(rgb[0].data, np.uint8).std() > 5.0
    assert info[0].header.frame_id == rgb[0].header.frame_id
    assert info[0].k[0] > 0
    assert info[0].k[2] == pytest.approx(64, abs=1)
    assert np.isfinite([wrench[0].wrench.force.z, action[0].twist.linear.x]).all()
    gaps = np.diff([stamp(m) for m in wrench])
    assert np.median(gaps) == 2 * MS
    assert (gaps > 0).all()


@pytest.mark.dds
def test_the_newest_command_at_an_image_is_the_one_it_shows(
    robot: tuple[Program, Listener],
) -> None:
    """The command that follows an image is stamped after it, and 50 ms before the next image."""
    _, client = robot
    rgb, action = client.listen(Image, "/rgb/image"), client.listen(TwistStamped, "/action")
    client.until(lambda: len(rgb) >= 25 and len(action) >= 25)  # over an episode's end
    commands = np.array([stamp(m) for m in action])
    images = [s for s in map(stamp, rgb) if commands[0] < s < commands[-1]]
    ages_ms = [(s - commands[commands <= s].max()) / MS for s in images]
    assert min(ages_ms) > 25.0
    assert float(np.median(ages_ms)) == pytest.approx(49.9, abs=0.01)


@pytest.mark.dds
def test_a_switch_stops_one_sensor_and_the_truth_goes_on(robot: tuple[Program, Listener]) -> None:
    _, client = robot
    rgb, depth = client.listen(Image, "/rgb/image"), client.listen(Image, "/depth/image")
    truth = client.listen(Image, "/simulated_robot/ground_truth/rgb")
    state = client.listen(DiagnosticArray, "/simulated_robot/ground_truth/state")
    client.until(lambda: rgb and truth)

    def switch(enabled: bool) -> Any:
        parameter = Parameter("sensors.rgb.enabled", value=enabled).to_parameter_msg()
        request = SetParametersAtomically.Request(parameters=[parameter])
        name = "/simulated_robot/set_parameters_atomically"
        return client.call(SetParametersAtomically, name, request).result

    assert switch(False).successful
    seen, beside = len(truth), len(depth)
    client.until(lambda: len(truth) >= seen + 3)  # the one under way may still come
    silent = len(rgb)
    client.until(lambda: len(truth) >= seen + 10 and len(depth) >= beside + 10)
    assert len(rgb) == silent
    values = {v.key: v.value for v in state[-1].status[0].values}
    assert float(values["offset.z [m]"]) > -0.1
    assert values["contact"] in ("true", "false")
    assert state[-1].status[0].message
    assert switch(True).successful
    client.until(lambda: len(rgb) > silent)


@pytest.mark.dds
def test_fixed_parameters_refuse_to_change(robot: tuple[Program, Listener]) -> None:
    _, client = robot
    parameter = Parameter("seed", value=3).to_parameter_msg()
    request = SetParametersAtomically.Request(parameters=[parameter])
    name = "/simulated_robot/set_parameters_atomically"
    result = client.call(SetParametersAtomically, name, request).result
    assert not result.successful
    assert "read-only" in result.reason


@pytest.mark.dds
def test_sigint_ends_it_cleanly(robot: tuple[Program, Listener]) -> None:
    program, _ = robot
    assert program.interrupt() == 0, program.text()
    assert "stopped after" in program.text()
    assert "Traceback" not in program.text()


@pytest.mark.dds
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("wrench_rate_hz:=300", "wrench_rate_hz must divide 1000, got 300"),
        ("episode_steps:=0", "out of range"),
        ("variation:=narrow", "expected one of 'cell', 'wide'"),
        ("command_topic:=command/", "parameter command_topic: 'command/' is no ROS name"),
        ("seed:=many", "expecting type 'INTEGER'"),
    ],
)
def test_a_bad_parameter_ends_it_with_one_line(
    tmp_path: Path, domain: int, setting: str, said: str
) -> None:
    arguments = ("--ros-args", "-p", setting)
    program = Program("smvae_tools.robot.simulated_robot", domain, tmp_path / "log", *arguments)
    program.gives_up(said)
