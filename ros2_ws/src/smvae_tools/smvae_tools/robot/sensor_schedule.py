"""Walks a robot through every combination of its sensors, to see a node under each of them.

Configures and activates the perception node. Waits until a latent has fused everything and, where
a recorder is named, until that listens. Then it switches sensors by parameter, and marks every
switch on `/demo/schedule` (std_msgs/String holding JSON).
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from itertools import pairwise, product

import rclpy
from smvae_ros.lifecycle.process import status_of, until_stopped

from smvae_tools.robot.schedule_walker import Interrupted, ScheduleWalker

_ORDERS_TRIED = 200


def schedule(sensors: Sequence[str], seed: int) -> list[tuple[str, ...]]:
    """Return every subset of the sensors once, none included, in an order with many flips.

    Of 200 seeded shuffles it takes the one with the most flips between neighbours.
    """
    states = [
        tuple(s for s, on in zip(sensors, bits, strict=True) if on)
        for bits in product((False, True), repeat=len(sensors))
    ]
    rng = random.Random(seed)

    def flips(order: list[tuple[str, ...]]) -> int:
        return sum(len(set(a) ^ set(b)) for a, b in pairwise(order))

    return max((rng.sample(states, len(states)) for _ in range(_ORDERS_TRIED)), key=flips)


def walk(node: ScheduleWalker, options: argparse.Namespace) -> None:
    """Run the whole schedule; sensors are all on before and after."""
    node.activate()
    sensors = node.sensors()
    if options.recorder:
        node.wait_until_recorded(options.recorder)
    node.enable(sensors, sensors)
    node.wait_until_perceived()
    node.switch(sensors, sensors, "begin")
    node.dwell(options.warm_up)
    states = schedule(sensors, options.seed)
    for index, enabled in enumerate(states):
        node.switch(sensors, enabled, f"{index + 1}/{len(states)}")
        node.dwell(options.dwell)
    node.switch(sensors, sensors, "end")
    node.dwell(1.0)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line, without its ROS part."""
    parser = argparse.ArgumentParser(prog="sensor_schedule", description=__doc__)
    parser.add_argument("--dwell", type=float, default=8.0, metavar="S", help="seconds per state")
    parser.add_argument("--warm-up", type=float, default=3.0, metavar="S", help="all on, before")
    parser.add_argument("--seed", type=int, default=0, help="order of the states")
    parser.add_argument("--robot", default="/simulated_robot", help="node to switch")
    parser.add_argument("--perception", default="/smvae", help="lifecycle node to activate")
    parser.add_argument("--recorder", default="", help="wait until this node records everything")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="for any answer")
    options = parser.parse_args(rclpy.utilities.remove_ros_args([sys.argv[0], *arguments])[1:])
    for name in ("dwell", "warm_up", "timeout"):
        if not getattr(options, name) >= 0.0:  # NaN would be waited for without end
            parser.error(f"{name} must not be negative, got {getattr(options, name):g}")
    return options


def main(args: list[str] | None = None) -> int:
    """Walk the schedule; 1 with a line when something does not answer, 130 when interrupted."""
    arguments = sys.argv[1:] if args is None else args
    status = 0

    def work() -> None:
        nonlocal status
        with until_stopped(arguments) as stop:
            options = parse(arguments)
            node = ScheduleWalker(
                robot=options.robot,
                perception=options.perception,
                timeout_s=options.timeout,
                stop=stop,
            )
            try:
                walk(node, options)
            except Interrupted:
                status = 130
            finally:
                node.destroy_node()

    return status_of("sensor_schedule", work) or status


if __name__ == "__main__":
    sys.exit(main())
