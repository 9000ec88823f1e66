"""Sensors as fast as a process can send them: /clock, parameters and services get their turn."""

from __future__ import annotations

import threading
from array import array
from types import TracebackType
from typing import Any

from geometry_msgs.msg import WrenchStamped
from lifecycle_msgs.msg import Transition
from node_harness import BEST_EFFORT
from robot_harness import Listener
from sensor_msgs.msg import Image
from smvae_msgs.msg import LatentState
from std_srvs.srv import Trigger
from test_clock import SECOND, SimulatedTime, stamp

ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE


class Flood:
    """Wrenches and images of 640 x 480 without a pause; without a stamp, so that none is fused."""

    def __init__(self, domain: int) -> None:
        self._listener = Listener(domain, "flood")
        node = self._listener.node
        wrenches = node.create_publisher(WrenchStamped, "/wrench", BEST_EFFORT)
        images = node.create_publisher(Image, "/rgb/image", BEST_EFFORT)
        self._publishers = (wrenches, images)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.sent = 0

    def _send(self) -> None:
        wrenches, images = self._publishers
        image = Image(width=640, height=480, step=1920, encoding="rgb8")
        image.data = array("B", bytes(640 * 480 * 3))
        while not self._end.is_set():
            for _ in range(20):
                wrenches.publish(WrenchStamped())
            images.publish(image)
            self.sent += 1
            self._end.wait(0.001)  # the GIL is also the client's

    def __enter__(self) -> Flood:
        self._listener.until(lambda: all(p.get_subscription_count() for p in self._publishers))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        self._listener.close()


def test_clock_parameters_and_services_are_served_under_a_flood(
    start_node: Any, client: Any, bundle: Any, domain: int
) -> None:
    start_node(bundle=bundle, parameters={"use_sim_time": True})
    client.activate()
    time = SimulatedTime(client)
    with Flood(domain) as flood:
        time.start(1000 * SECOND)
        for _ in range(3):
            sent = flood.sent
            time.tick(SECOND // 10)
            now_ns = time.now_ns
            client.until(lambda now_ns=now_ns: stamp(client.latents[-1]) >= now_ns)
            assert client.set_parameter("modalities.depth.enabled", False).successful
            assert not client.get_parameter("modalities.depth.enabled").bool_value
            assert client.set_parameter("modalities.depth.enabled", True).successful
            assert client.call(Trigger, "/smvae/reset", Trigger.Request()).success
            assert client.change(DEACTIVATE)
            assert client.change(ACTIVATE)
            assert client.state() == "active"
            assert flood.sent > sent

        def heard() -> bool:
            latest = client.latents[-1]
            counts = {m.name: m.rejected for m in latest.modalities}
            return latest.status == LatentState.NO_INPUT and counts["force"] and counts["rgb"]

        client.until(heard)  # it did hear the flood, and nothing was fused of it
