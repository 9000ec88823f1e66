"""The demo's scripted operator over real DDS: truth makes commands, anything else makes none."""

from __future__ import annotations

from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import TwistStamped
from robot_harness import RELIABLE, Listener, Program

pytestmark = pytest.mark.dds
TRUTH = "/simulated_robot/ground_truth/state"


def truth(*values: str) -> DiagnosticArray:
    """Return the robot's true state with the peg's offset from the hole."""
    names = ("offset.x [m]", "offset.y [m]", "offset.z [m]", "offset.yaw [rad]")
    pairs = [KeyValue(key=n, value=v) for n, v in zip(names, values, strict=False)]
    message = DiagnosticArray(status=[DiagnosticStatus(values=pairs)])
    message.header.frame_id = "base_link"
    return message


USELESS = {
    "no status": DiagnosticArray(),
    "no offset": truth(),
    "a number short": truth("0.1", "0.1", "0.1"),
    "no number": truth("0.1", "here", "0.1", "0.0"),
    "not finite": truth("0.1", "nan", "0.1", "0.0"),
}


def test_a_truth_that_says_nothing_makes_no_command_and_ends_nothing(
    domain: int, tmp_path: Path
) -> None:
    listener = Listener(domain)
    commands = listener.listen(TwistStamped, "/operator/command")
    publisher = listener.node.create_publisher(DiagnosticArray, TRUTH, RELIABLE)
    program = Program("smvae_tools.operators.imperfect_operator", domain, tmp_path / "log")
    try:
        listener.until(publisher.get_subscription_count)
        listener.until(lambda: listener.node.count_publishers("/operator/command"))
        for message in USELESS.values():
            publisher.publish(message)
            listener.until(lambda: "truth refused" in program.text())
        assert not commands

        def moved() -> list[TwistStamped]:
            publisher.publish(truth("0.05", "0.0", "0.05", "0.0"))
            return commands

        listener.until(moved)
        assert commands[0].header.frame_id == "base_link"
        assert commands[0].twist.linear.x < 0.0, "toward the hole"
        assert program.interrupt() == 0, program.text()
        assert "Traceback" not in program.text()
    finally:
        listener.close()
        program.end()


@pytest.mark.parametrize("value", ["-0.1", ".nan", ".inf"])
def test_an_error_that_is_no_length_is_refused(domain: int, tmp_path: Path, value: str) -> None:
    program = Program(
        "smvae_tools.operators.imperfect_operator",
        *(domain, tmp_path / "log", "--ros-args", "-p", f"error_m:={value}"),
    )
    try:
        assert program.process.wait(60) == 1
        assert "must not be negative" in program.text()
    finally:
        program.end()


def test_an_attempt_that_went_deep_enough_is_counted_as_seated(domain: int, tmp_path: Path) -> None:
    listener = Listener(domain)
    publisher = listener.node.create_publisher(DiagnosticArray, TRUTH, RELIABLE)
    program = Program("smvae_tools.operators.imperfect_operator", domain, tmp_path / "log")
    try:
        listener.until(publisher.get_subscription_count)

        def played(*heights: str) -> bool:
            for height in heights:
                publisher.publish(truth("0.0", "0.0", height, "0.0"))
                listener.came_true(lambda: False, 0.1)
            return "1 of 1 seated" in program.text()

        listener.until(lambda: played("0.01", "-0.03", "0.01", "0.05", "0.07"))
    finally:
        listener.close()
        program.end()
