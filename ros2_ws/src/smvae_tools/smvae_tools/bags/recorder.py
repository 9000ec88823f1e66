"""Records topics into a rosbag2 bag (MCAP) with rosbags, from a process of its own.

Messages stay serialised from the middleware to the disk. The log time of each is the system time at
which the middleware received it in this process. That needs no callback at once, so messages are
fetched in batches: an eighth of the CPU time of waking up for each one, which leaves the cores to
what is being measured.
"""

from __future__ import annotations

import argparse
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from smvae_ros import topics
from smvae_ros.lifecycle.process import status_of, until_stopped
from smvae_ros.lifecycle.rclpy_versions import SubscriptionEventCallbacks
from smvae_ros.listen.message_types import message_class

from smvae_core.bundle import Bundle
from smvae_core.errors import ConfigError
from smvae_core.modality import Modality
from smvae_core.presets import VISION_TOUCH
from smvae_tools.bags.writer import BagWriter

#: Of every session: outputs but what people alone look at, truth, and the marks of the schedule.
COMMON_TOPICS = (
    r"/smvae/(latent|estimates|model_info|transition_event)",
    r"/smvae/predicted/[^/]+/(?!camera_info$)[^/]+",
    r"/simulated_robot/ground_truth/.*",
    r"/diagnostics",
    r"/demo/schedule",
)


def topics_of(modalities: Iterable[Modality]) -> tuple[str, ...]:
    """Return patterns of what a session with these sensors is recorded from."""
    heard = (topics.resolve(t.name, "", "smvae") for t in topics.inputs(modalities))
    return (*dict.fromkeys(map(re.escape, heard)), *COMMON_TOPICS)


#: What the demo's bag holds.
DEFAULT_TOPICS = topics_of(VISION_TOUCH)
DISCOVERY_PERIOD_S = 0.1
#: Time between two batches.
FETCH_PERIOD_S = 0.02


def matching_qos(offers: list[QoSProfile], depth: int) -> QoSProfile:
    """Return the strictest profile that every publisher of a topic can serve."""
    reliable = all(o.reliability == ReliabilityPolicy.RELIABLE for o in offers)
    latched = all(o.durability == DurabilityPolicy.TRANSIENT_LOCAL for o in offers)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


class BagRecorder(Node):
    """Subscribes to every topic that matches, as it appears, and hands bytes to the writer."""

    def __init__(
        self, writer: BagWriter, topics: tuple[str, ...], *, depth: int = 4000, **kwargs: Any
    ) -> None:
        """Look for topics until the end.

        Args:
            writer: Where messages go.
            topics: Regular expressions of whole topic names.
            depth: Messages that the middleware keeps per topic while this process is busy.
            kwargs: For Node.
        """
        super().__init__("bag_recorder", enable_rosout=False, **kwargs)
        self._writer, self._depth = writer, depth
        self._patterns = [re.compile(t) for t in topics]
        self._fetched: dict[str, Any] = {}
        self.lost: dict[str, int] = {}
        self.discover()

    def discover(self) -> None:
        """Subscribe to matching topics that have a publisher and are not recorded yet."""
        for topic, types in self.get_topic_names_and_types():
            if topic in self._fetched or not any(p.fullmatch(topic) for p in self._patterns):
                continue
            offers = [info.qos_profile for info in self.get_publishers_info_by_topic(topic)]
            if offers:
                self._record(topic, types[0], matching_qos(offers, self._depth))

    def _record(self, topic: str, type_name: str, qos: QoSProfile) -> None:
        self._writer.add_topic(topic, type_name)
        self.lost[topic] = 0
        self._fetched[topic] = self.create_subscription(
            message_class(type_name),
            topic,
            self._receiver(topic),
            qos,
            raw=True,
            event_callbacks=SubscriptionEventCallbacks(message_lost=self._loss_counter(topic)),
        )
        reliability = "reliable" if qos.reliability == ReliabilityPolicy.RELIABLE else "best effort"
        self.get_logger().info(f"recording {topic} ({type_name}, {reliability})")

    def _receiver(self, topic: str) -> Callable[..., None]:
        put = self._writer.put

        def receive(data: bytes, info: dict[str, Any]) -> None:
            put(topic, info["received_timestamp"] or time.time_ns(), data)

        return receive

    def fetch(self) -> int:
        """Take all messages that wait, as the executor would one by one; return how many."""
        count = 0
        for subscription in self._fetched.values():
            with subscription.handle:
                while taken := subscription.handle.take_message(subscription.msg_type, True):
                    subscription.callback(*taken)
                    count += 1
        return count

    def _loss_counter(self, topic: str) -> Callable[[Any], None]:
        def count(event: Any) -> None:
            self.lost[topic] += event.total_count_change

        return count


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line, without its ROS part.

    Raises:
        ConfigError: If a value cannot be used.
    """
    parser = argparse.ArgumentParser(prog="bag_recorder", description=__doc__)
    parser.add_argument("bag", type=Path, help="folder to write; must not exist")
    parser.add_argument(
        "--duration",
        type=float,
        metavar="S",
        help="stop by itself after S seconds; 0 = only when stopped, as without it",
    )
    parser.add_argument(
        "--topics",
        nargs="+",
        metavar="REGEX",
        help="regular expressions of whole topic names (default: what the demo needs)",
    )
    parser.add_argument(
        "--bundle", type=Path, help="record the sensors of this bundle, not those of the demo"
    )
    given = parser.parse_args(rclpy.utilities.remove_ros_args([sys.argv[0], *arguments])[1:])
    if given.duration is not None and not given.duration >= 0.0:
        raise ConfigError(f"duration must not be negative, got {given.duration:g}")
    for pattern in given.topics or ():
        _require_expression(pattern)
    return given


def _require_expression(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as err:
        raise ConfigError(f"topics: '{pattern}' is no regular expression: {err}") from err


def record(options: argparse.Namespace, stop: threading.Event) -> BagWriter:
    """Record until `stop` or the duration's end, and finish the bag whatever happens.

    Raises:
        BundleError: If sensors are to be those of a bundle that cannot be used.
        RecordingError: If the bag cannot be written.
    """
    patterns = options.topics or DEFAULT_TOPICS
    if options.bundle and not options.topics:
        patterns = topics_of(Bundle.load(options.bundle).manifest.modalities)
    writer = BagWriter(options.bag)
    executor = SingleThreadedExecutor()
    node: BagRecorder | None = None
    end_s = time.monotonic() + options.duration if options.duration else float("inf")
    try:
        node = BagRecorder(writer, tuple(patterns))
        executor.add_node(node)
        next_discovery_s = 0.0
        while not stop.wait(FETCH_PERIOD_S) and time.monotonic() < end_s and not writer.failure:
            node.fetch()
            if time.monotonic() >= next_discovery_s:
                next_discovery_s = time.monotonic() + DISCOVERY_PERIOD_S
                node.discover()
                executor.spin_once(timeout_sec=0.0)  # loss events
        node.fetch()
    finally:
        lost = dict(node.lost) if node is not None else {}
        executor.shutdown()
        if node is not None:
            node.destroy_node()
        writer.finish({"lost": lost, "deepest_queue": writer.deepest})
    _print_counts(writer, lost)
    return writer


def _print_counts(writer: BagWriter, lost: dict[str, int]) -> None:
    for topic, count in sorted(writer.counts.items()):
        note = f"  lost {lost[topic]}" if lost.get(topic) else ""
        print(f"{count:8d}  {topic}{note}")
    print(f"{sum(writer.counts.values()):8d}  messages in {writer.path}", flush=True)


def main(args: list[str] | None = None) -> int:
    """Record until SIGINT, SIGTERM or --duration; 1 with a line when the bag cannot be written."""
    arguments = sys.argv[1:] if args is None else args

    def work() -> None:
        with until_stopped(arguments) as stop:
            record(parse(arguments), stop)

    return status_of("bag_recorder", work)


if __name__ == "__main__":
    sys.exit(main())
