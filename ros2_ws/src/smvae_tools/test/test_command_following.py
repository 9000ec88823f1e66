"""A robot that follows a command: the follower's rules, and over real DDS that the peg moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
from robot_harness import Listener, Program
from smvae_tools.robot.command_follower import STEP_LIMIT, CommandFollower

from smvae_core.modality import find
from smvae_core.presets import VISION_TOUCH

pytest.importorskip("mujoco")


class Clock:
    """A steady clock that only moves when told."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def follower(clock: Clock) -> CommandFollower:
    return CommandFollower(
        find(VISION_TOUCH, "action"),
        frame_id="base_link",
        timeout_s=0.25,
        step_time_s=0.05,
        steady_s=clock,
    )


def command(*linear: float, turn: float = 0.0, frame_id: str = "base_link") -> TwistStamped:
    message = TwistStamped()
    message.header.frame_id = frame_id
    message.twist.linear.x, message.twist.linear.y, message.twist.linear.z = linear
    message.twist.angular.z = turn
    return message


def test_the_displacement_is_twist_times_step_time(follower: CommandFollower) -> None:
    assert not follower.displacement().any()
    assert follower.store(command(0.1, -0.2, 0.04, turn=0.5)) == ""
    np.testing.assert_allclose(follower.displacement(), [0.005, -0.01, 0.002, 0.025], rtol=1e-6)


def test_a_command_ends_with_its_timeout(follower: CommandFollower, clock: Clock) -> None:
    follower.store(command(0.1, 0.0, 0.0))
    clock.now_s += 0.25
    assert follower.displacement().any()
    clock.now_s += 0.01
    assert not follower.displacement().any()


def test_a_wild_command_is_cut_to_the_operators_limit(follower: CommandFollower) -> None:
    follower.store(command(50.0, -50.0, 50.0, turn=-50.0))
    np.testing.assert_allclose(follower.displacement(), STEP_LIMIT * [1, -1, 1, -1])


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (command(0.1, 0.0, 0.0, frame_id="tool0"), "expected 'base_link' or '', got 'tool0'"),
        (command(float("nan"), 0.0, 0.0), "finite"),
    ],
)
def test_a_refused_command_says_why_and_changes_nothing(
    follower: CommandFollower, message: Any, said: str
) -> None:
    follower.store(command(0.1, 0.0, 0.0, frame_id=""))
    before = follower.displacement()
    assert said in follower.store(message)
    np.testing.assert_array_equal(follower.displacement(), before)


class Steerer(Listener):
    """Sends commands and hears where the peg is."""

    def __init__(self, domain: int) -> None:
        super().__init__(domain, "steerer")
        self.states = self.listen(DiagnosticArray, "/simulated_robot/ground_truth/state")
        self.actions = self.listen(TwistStamped, "/action")
        self._commands = self.node.create_publisher(TwistStamped, "/steer", 1)

    @property
    def offset_m(self) -> np.ndarray:
        """Return the newest peg tip minus hole [m]."""
        values = {v.key: v.value for v in self.states[-1].status[0].values}
        return np.array([float(values[f"offset.{axis} [m]"]) for axis in "xyz"])

    def steer(self, twist: TwistStamped, condition: Callable[[], bool]) -> None:
        """Send a command at about 50 Hz until a condition holds."""

        def beat() -> bool:
            self._commands.publish(twist)
            return self.came_true(condition, 0.02)

        self.until(beat)


@pytest.fixture
def robot(domain: int, tmp_path: Path) -> Iterator[tuple[Program, Steerer]]:
    parameters = ("-p", "command_topic:=steer", "-p", "episode_steps:=10000")
    quiet = ("-p", "sensors.rgb.enabled:=false", "-p", "sensors.depth.enabled:=false")
    program = Program(
        "smvae_tools.robot.simulated_robot",
        domain,
        tmp_path / "log",
        "--ros-args",
        *parameters,
        *quiet,
    )
    steerer = Steerer(domain)
    yield program, steerer
    steerer.close()
    program.end()


@pytest.mark.dds
def test_the_robot_moves_as_commanded_and_holds_still_without(
    robot: tuple[Program, Steerer],
) -> None:
    program, client = robot
    client.until(lambda: client.states and client.actions)
    assert client.states[-1].status[0].message == "commanded"
    assert all(a.twist == TwistStamped().twist for a in client.actions)
    start = client.offset_m
    client.steer(command(0.0, 0.0, 0.06), lambda: client.offset_m[2] > start[2] + 0.02)
    up = client.offset_m
    np.testing.assert_allclose(up[:2], start[:2], atol=0.004)
    executed = [a.twist.linear.z for a in client.actions if a.twist.linear.z]
    np.testing.assert_allclose(executed, 0.06, rtol=1e-5)  # float32 on the way

    client.steer(command(-0.06, 0.0, 0.0), lambda: client.offset_m[0] < up[0] - 0.02)
    seen = len(client.actions)
    client.until(lambda: len(client.actions) > seen + 15)  # the timeout of 0.25 s, and more
    still, seen = client.offset_m, len(client.states)
    assert client.actions[-1].twist == TwistStamped().twist
    client.until(lambda: len(client.states) > seen + 10)
    np.testing.assert_allclose(client.offset_m, still, atol=0.003)

    client.steer(command(0.06, 0.0, 0.0, frame_id="tool0"), lambda: "refused" in program.text())
    assert client.actions[-1].twist == TwistStamped().twist
    assert program.interrupt() == 0, program.text()
