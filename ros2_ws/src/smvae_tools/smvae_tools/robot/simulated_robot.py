"""The MuJoCo robot in real time as a plain ROS 2 node, to try the perception node on.

One thread runs physics in slices of 2 ms, each published at its own moment: force at
`wrench_rate_hz`, and every 50 ms camera images and the command of the next 50 ms. The executor only
serves parameters, and stores the newest command where `command_topic` names one: the robot then
follows it instead of its scripted operator, and `action` still is what was executed.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from numpy.typing import NDArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from smvae_ros.lifecycle.process import refuse_arguments, status_of, until_stopped
from smvae_ros.parameters.sources import tell_unread

from smvae_core.assistance.pose import difference
from smvae_core.errors import SMVAEError
from smvae_core.presets import VISION_TOUCH
from smvae_datasets.simulation.robot import STEP_MS, SimulatedRobot
from smvae_tools.robot.command_follower import CommandFollower
from smvae_tools.robot.pacing import DeadlineClock
from smvae_tools.robot.parameters import SENSORS, accepted, declare, sensor_switches
from smvae_tools.robot.publishers import BASE_FRAME, STEP_TIME_S, RobotPublishers

#: Physics runs ahead by this much and is published when its moment comes [ms].
SLICE_MS = 2
STEP_NS = STEP_MS * 1_000_000
#: From an image's stamp to that of the command that follows it.
COMMAND_DELAY_NS = 100_000


@dataclass
class Counts:
    """What the robot did, for its last log line and for tests."""

    steps: int = 0
    episodes: int = 0
    readings: int = 0


class SimulatedRobotNode(Node):
    """Publishes a simulated robot's sensors; parameters switch single sensors off and on."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare parameters and make publishers; `start` runs the robot.

        Raises:
            SMVAEError: If a parameter has no usable value, or MuJoCo or a renderer is missing.
        """
        super().__init__("simulated_robot", **kwargs)
        self._settings = declare(self)
        tell_unread(self)
        self._enabled = {s: bool(self.get_parameter(f"sensors.{s}.enabled").value) for s in SENSORS}
        self.add_on_set_parameters_callback(self._on_parameters)
        self._robot = SimulatedRobot(seed=self._settings.seed, variation=self._settings.variation)
        self._out = RobotPublishers(self, self._robot.camera_intrinsics)
        self._follower = self._follow(self._settings.command_topic)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="robot", daemon=True)
        self.counts = Counts()
        self.failure: BaseException | None = None

    def _follow(self, topic: str) -> CommandFollower | None:
        """Subscribe to the commands to follow, or return None for the scripted operator."""
        if not topic:
            return None
        follower = CommandFollower(
            next(m for m in VISION_TOUCH if m.kind == "command"),
            frame_id=BASE_FRAME,
            timeout_s=self._settings.command_timeout_s,
            step_time_s=STEP_TIME_S,
        )

        def store(message: TwistStamped) -> None:
            if refused := follower.store(message):
                self.get_logger().warning(f"command refused: {refused}", throttle_duration_sec=2.0)

        self.create_subscription(TwistStamped, topic, store, 1)
        return follower

    def start(self) -> None:
        """Run the robot in its own thread until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End the robot's thread; at most a few milliseconds."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)
        counts = self.counts
        self.get_logger().info(
            f"stopped after {counts.steps} steps in {counts.episodes} episodes, "
            f"{counts.readings} wrench messages"
        )

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Switch sensors; the robot's thread reads the switch before each message."""
        for sensor, enabled in sensor_switches(parameters).items():
            if self._enabled[sensor] != enabled:
                self._enabled[sensor] = enabled
                self.get_logger().info(f"{sensor} {'on' if enabled else 'off'}")
        return accepted()

    def _run(self) -> None:
        """Body of the robot's thread: its end, wanted or not, ends the process."""
        try:
            self._play()
        except Exception as err:  # handed to main(), which reports it and exits with 1
            self.failure = err
        finally:
            self._robot.close()  # the OpenGL context belongs to this thread
            self._stop.set()
            if self.executor is not None:
                self.executor.wake()  # main() sees that the robot ended

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def _play(self) -> None:
        self._robot.reset(0)
        self._robot.render()  # makes the OpenGL context, which takes a moment, in this thread
        clock = DeadlineClock(pause=self._stop.wait)
        while not self._stop.is_set():
            self._robot.reset(self.counts.episodes)
            self.counts.episodes += 1
            clock.restart()
            for step in range(self._settings.episode_steps):
                self._step(clock, step * STEP_NS)
                if self._stop.is_set():
                    return

    def _step(self, clock: DeadlineClock, begin_ns: int) -> None:
        """Play one 50 ms step: command, physics with force readings, then the cameras.

        The command is stamped just after the image before it: the newest command at or before an
        image is the one that the robot was executing, as in the episode files.
        """
        action = self._command()
        if self._enabled["action"]:
            self._out.publish_action(action, clock.stamp_ns(begin_ns) + COMMAND_DELAY_NS)
        for offset in range(0, STEP_MS, SLICE_MS):
            milliseconds = min(SLICE_MS, STEP_MS - offset)
            readings = self._robot.advance(milliseconds)
            slipped = clock.wait_until(begin_ns + (offset + milliseconds) * 1_000_000)
            if slipped:
                self.get_logger().warning(
                    f"slower than real time: gave up {slipped * 1e-9:.2f} s, "
                    f"{clock.slipped_ns * 1e-9:.2f} s in all",
                    throttle_duration_sec=5.0,
                )
            if self._stop.is_set():
                return
            if self._enabled["wrench"]:
                for row in range(milliseconds):
                    elapsed_ms = offset + row + 1
                    if elapsed_ms % self._settings.wrench_period_ms == 0:
                        stamp = clock.stamp_ns(begin_ns + elapsed_ms * 1_000_000)
                        self._out.publish_wrench(readings[row], stamp)
                        self.counts.readings += 1
        stamp_ns = clock.stamp_ns(begin_ns + STEP_NS)
        self._out.publish_tip(self._robot.peg_pose, self._robot.lead, stamp_ns)
        self._cameras(stamp_ns)
        self.counts.steps += 1

    def _command(self) -> NDArray[np.float64]:
        """Command the next 50 ms, by the operator or as received; the displacement (4,)."""
        if self._follower is None:
            return self._robot.begin_step()
        displacement = self._follower.displacement()
        self._robot.command(displacement)
        return displacement

    def _cameras(self, stamp_ns: int) -> None:
        """Render once, if anyone gets to see it, and publish images, then the truth."""
        rgb, depth = self._enabled["rgb"], self._enabled["depth"]
        if rgb or depth or self._out.truth_is_watched:
            image, depth_m = self._robot.render()
            if rgb:
                self._out.publish_rgb(image, stamp_ns)
            if depth:
                self._out.publish_depth(depth_m, stamp_ns)
            self._out.publish_truth(image, depth_m, stamp_ns)
        offset = difference(self._robot.peg_pose, self._robot.hole_pose)
        phase = self._robot.phase if self._follower is None else "commanded"
        self._out.publish_state(offset, self._robot.condition, phase, stamp_ns)


def main(args: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; 0 when it ended as asked, 1 with a line when it failed."""
    arguments = sys.argv[1:] if args is None else args

    def work() -> None:
        refuse_arguments(arguments)
        with until_stopped(arguments) as stop:
            _play_until(stop)

    return status_of("simulated_robot", work)


def _play_until(stop: threading.Event) -> None:
    """Run the robot until `stop` is set.

    Raises:
        SMVAEError: If it cannot start, or its thread failed.
    """
    node, executor = SimulatedRobotNode(), SingleThreadedExecutor()
    executor.add_node(node)
    node.start()
    try:
        while not (stop.is_set() or node.stopped):
            executor.spin_once(timeout_sec=0.2)
    finally:
        node.stop()
        executor.shutdown()
        node.destroy_node()
    if node.failure is not None:
        raise SMVAEError(str(node.failure)) from node.failure


if __name__ == "__main__":
    sys.exit(main())
