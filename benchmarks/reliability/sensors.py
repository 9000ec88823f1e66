"""The four sensors of the simulated robot at full rate, in a process of their own.

Messages are made once and sent again and again with a new stamp, so that the sender costs little.
Images are stamped when they are sent, and a frame that cannot be sent in time is left out, as a
camera does; readings and commands keep to their grid.

    python -m benchmarks.reliability.sensors rgb force ... --multiple 5 --size 640 480

Reads from standard input, one per line: 'off NAME', 'on NAME'. At its end (standard input closed)
it prints how much it sent, as JSON.
"""

from __future__ import annotations

import argparse
import heapq
import json
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import TwistStamped, WrenchStamped
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from benchmarks.reliability.node import environment
from smvae_core.messages import ConversionOptions
from smvae_core.messages.base import set_header
from smvae_core.modality import Modality, find
from smvae_core.presets import VISION_TOUCH

RATES_HZ = {"rgb": 30.0, "depth": 30.0, "force": 500.0, "action": 20.0}
NAMES = tuple(RATES_HZ)
TOPICS = {"rgb": "rgb/image", "depth": "depth/image", "force": "wrench", "action": "action"}
CLASSES = {"rgb": Image, "depth": Image, "force": WrenchStamped, "action": TwistStamped}
#: Different messages of each sensor, sent in turn.
_VARIETY = 8


def messages(modality: Modality, size: tuple[int, int]) -> list[Any]:
    """Return messages of a modality; images have this width and height."""
    rng = np.random.default_rng(0)
    made = []
    for seed in range(_VARIETY):
        sample = modality.example_sample(seed)
        if modality.kind == "color_image":
            sample = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        elif modality.kind == "depth_image":
            sample = rng.uniform(0.3, 2.0, (size[1], size[0])).astype(np.float32)
        elif modality.kind == "signal":
            sample = rng.normal(0.0, 3.0, 6).astype(np.float32)
        message, frame = CLASSES[modality.name](), f"{modality.name}_frame"
        fill = modality.converter().fill
        made.append(fill(modality, message, sample, 1, frame, ConversionOptions()))
    return made


class Sensors:
    """Context manager: the sensors as processes, one per name that is given."""

    def __init__(
        self,
        domain: int,
        *,
        multiple: float = 1.0,
        size: tuple[int, int] = (128, 128),
        groups: tuple[tuple[str, ...], ...] = (("rgb",), ("depth",), ("force", "action")),
    ) -> None:
        """Start them.

        Args:
            domain: ROS domain.
            multiple: Of the usual rates.
            size: Width and height of images.
            groups: Which sensors share a process.
        """
        self.sent: dict[str, dict[str, float]] = {}
        """After the end, of each sensor: messages sent and their rate [Hz]."""
        options = ["--multiple", str(multiple), "--size", *map(str, size)]
        self._processes = {
            group: subprocess.Popen(
                [sys.executable, "-m", "benchmarks.reliability.sensors", *group, *options],
                env=environment(domain),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for group in groups
        }

    def __enter__(self) -> Sensors:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, _: TracebackType | None
    ) -> None:
        self.stop()

    def switch(self, name: str, on: bool) -> None:
        """Silence a sensor, or let it go on."""
        process = next(p for group, p in self._processes.items() if name in group)
        assert process.stdin is not None
        process.stdin.write(f"{'on' if on else 'off'} {name}\n")
        process.stdin.flush()

    def only(self, names: tuple[str, ...]) -> None:
        """Let these send and no others."""
        for name in NAMES:
            self.switch(name, name in names)

    def stop(self) -> None:
        """End them and collect what they sent; nothing the second time."""
        for process in self._processes.values():
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
        for process in self._processes.values():
            self.sent |= _told(process)
        self._processes.clear()


def _told(process: subprocess.Popen[str]) -> dict[str, dict[str, float]]:
    """Return what a process says that it sent; {} where it failed."""
    try:
        text, _ = process.communicate(timeout=30.0)
        return dict(json.loads(text))
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        process.kill()
        process.wait()
        return {}


def play(node: Any, names: list[str], multiple: float, size: tuple[int, int]) -> dict[str, Any]:
    """Send until standard input ends; return what was sent."""
    profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    made = {n: messages(find(VISION_TOUCH, n), size) for n in names}
    publishers = {n: node.create_publisher(CLASSES[n], TOPICS[n], profile) for n in names}
    periods = {n: round(1e9 / (RATES_HZ[n] * multiple)) for n in names}
    off: set[str] = set()
    ended = threading.Event()

    def obey() -> None:
        for line in sys.stdin:
            word, name = line.split()
            (off.add if word == "off" else off.discard)(name)
        ended.set()

    threading.Thread(target=obey, daemon=True).start()
    begun = time.time_ns()
    due = [(begun, n) for n in names]
    heapq.heapify(due)
    sent, left_out = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    while not ended.is_set():
        at, name = heapq.heappop(due)
        now = time.time_ns()
        if now < at:
            ended.wait((at - now) * 1e-9)
        period, stamp = periods[name], at
        if name in ("rgb", "depth"):
            stamp = time.time_ns()
            behind = max(0, stamp - at) // period
            left_out[name] += behind
            at += behind * period
        if name not in off:
            message = made[name][sent[name] % _VARIETY]
            set_header(message, stamp, message.header.frame_id)
            publishers[name].publish(message)
            sent[name] += 1
        heapq.heappush(due, (at + period, name))
    seconds = (time.time_ns() - begun) * 1e-9
    return {
        n: {"sent": sent[n], "rate_hz": sent[n] / seconds, "left_out": left_out[n]} for n in names
    }


def main() -> int:
    """Play the sensors named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability.sensors")
    parser.add_argument("names", nargs="+", choices=NAMES)
    parser.add_argument("--multiple", type=float, default=1.0)
    parser.add_argument("--size", type=int, nargs=2, default=(128, 128))
    options = parser.parse_args()
    rclpy.init()
    node = rclpy.create_node(f"sensors_{options.names[0]}")
    try:
        print(json.dumps(play(node, options.names, options.multiple, tuple(options.size))))
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
