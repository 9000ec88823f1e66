"""Brings the perception node up: for `demo_assist.py`, in an environment with ROS.

python scripts/demo_activate.py /smvae 60
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import rclpy
from rclpy.node import Node
from smvae_ros.lifecycle.service_client import within
from smvae_ros.lifecycle.start import bring_up


def main(name: str, timeout_s: float) -> int:
    """Configure and activate the node; 0 when it is active, 1 with a line when it is not."""
    rclpy.init()
    node = Node("demo_activate", start_parameter_services=False)

    def wait(ready: Callable[[], bool], seconds: float) -> bool:
        end_s = time.monotonic() + seconds
        while not ready() and time.monotonic() < end_s:
            rclpy.spin_once(node, timeout_sec=0.05)
        return ready()

    try:
        late = TimeoutError(f"{name} was not there in {timeout_s:.0f} s")
        active = bring_up(node, name, within(wait, timeout_s, lambda: late))
        why = f"{name} is not active: its own log says why"
    except TimeoutError as err:
        active, why = False, str(err)
    if not active:
        print(f"demo_activate: {why}", file=sys.stderr)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0 if active else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
