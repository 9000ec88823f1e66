"""The node to compare with: plain rclpy that answers each message with a filled LatentState.

    python -m benchmarks.live.echo

Answers of the wrench on /echo/force, of the colour image on /echo/rgb, stamped as what they answer.
Reads from standard input, one per line: 'on', 'off'. At its end the process ends.
"""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import Any

import rclpy
from geometry_msgs.msg import WrenchStamped
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from smvae_msgs.msg import LatentState, ModalityStatus

from benchmarks.reliability.sensors import NAMES, TOPICS
from smvae_core.modality import find
from smvae_core.presets import VISION_TOUCH

#: What it answers: the sensor, and the class of its messages.
HEARD = {"force": WrenchStamped, "rgb": Image}
_LATENT_DIM = 64
_BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class Echo:
    """Subscribed while on."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._wanted, self._on = False, False
        self._answer = LatentState(
            valid=True,
            mean=[0.1] * _LATENT_DIM,
            variance=[0.5] * _LATENT_DIM,
            modalities=[
                ModalityStatus(name=n, kind=find(VISION_TOUCH, n).kind, state=1) for n in NAMES
            ],
        )
        self._publishers = {n: node.create_publisher(LatentState, f"/echo/{n}", 10) for n in HEARD}
        self._subscriptions: list[Any] = []
        self._ask = node.create_guard_condition(self._switch)

    def obey(self) -> None:
        """Read words until standard input ends; in a thread of its own."""
        for line in sys.stdin:
            self._wanted = line.strip() == "on"
            self._ask.trigger()
        rclpy.try_shutdown()

    def _switch(self) -> None:
        if self._wanted and not self._subscriptions:
            self._subscriptions = [self._subscribe(name) for name in HEARD]
        elif not self._wanted:
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            self._subscriptions = []

    def _subscribe(self, name: str) -> Any:
        publisher, answer = self._publishers[name], self._answer

        def send(message: Any) -> None:
            answer.header = message.header
            publisher.publish(answer)

        return self._node.create_subscription(HEARD[name], TOPICS[name], send, _BEST_EFFORT)


def main() -> int:
    """Answer until standard input ends."""
    rclpy.init()
    node = rclpy.create_node("echo")
    echo = Echo(node)
    threading.Thread(target=echo.obey, daemon=True).start()
    with suppress(ExternalShutdownException):
        rclpy.spin(node)
    return 0


if __name__ == "__main__":
    sys.exit(main())
