"""The node to compare with: plain rclpy that answers each message with a filled LatentState.

    python -m benchmarks.live.echo

Answers of the wrench on /echo/force, of the colour image on /echo/rgb, stamped as what they answer.
Reads from standard input, one per line: 'on', 'off'. At its end the process ends.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile, ReliabilityPolicy
from smvae_msgs.msg import LatentState, ModalityStatus

from benchmarks.reliability.sensors import CLASSES, NAMES, TOPICS
from smvae_core.modality import find
from smvae_core.presets import VISION_TOUCH

#: What it answers: the sensor, and the class of its messages.
HEARD = {name: CLASSES[name] for name in ("force", "rgb")}
_LATENT_DIM = 64
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class Obedient:
    """Hears while it is on; told by lines of standard input."""

    def __init__(self, node: Any, heard: list[tuple[Any, str, Callable[[Any], None]]]) -> None:
        """Hear nothing yet.

        Args:
            node: The rclpy node.
            heard: Class, topic and callback of each subscription.
        """
        self._node, self._heard = node, heard
        self._wanted = False
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
            self._subscriptions = [
                self._node.create_subscription(cls, topic, callback, BEST_EFFORT)
                for cls, topic, callback in self._heard
            ]
        elif not self._wanted:
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            self._subscriptions = []


def serve(node: Any, obedient: Obedient) -> int:
    """Spin until standard input ends."""
    threading.Thread(target=obedient.obey, daemon=True).start()
    with suppress(ExternalShutdownException):
        rclpy.spin(node)
    return 0


def _echo(node: Any) -> Obedient:
    answer = LatentState(
        valid=True,
        mean=[0.1] * _LATENT_DIM,
        variance=[0.5] * _LATENT_DIM,
        modalities=[
            ModalityStatus(name=n, kind=find(VISION_TOUCH, n).kind, state=1) for n in NAMES
        ],
    )

    def answering(name: str) -> Callable[[Any], None]:
        publisher = node.create_publisher(LatentState, f"/echo/{name}", 10)

        def send(message: Any) -> None:
            answer.header = message.header
            publisher.publish(answer)

        return send

    return Obedient(node, [(HEARD[name], TOPICS[name], answering(name)) for name in HEARD])


def main() -> int:
    """Answer until standard input ends."""
    rclpy.init()
    node = rclpy.create_node("echo")
    return serve(node, _echo(node))


if __name__ == "__main__":
    sys.exit(main())
