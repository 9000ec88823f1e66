"""`bag_player`: plays a rosbag2 bag with its own timing and /clock, where `ros2 bag` is missing.

Messages stay serialised from the disk to the middleware. /clock is published before every message
with the bag's receive time, so that a node with use_sim_time never sees a message from its future,
and while nothing is to be played, so that a silence is not taken for a jump of time.
Everything is reliable: nothing is lost on the way to a reliable subscriber, and best-effort ones
match it too. A ROS 1 bag is played as ROS 2 messages. A /clock that stamps in the bag are of is
played as it was recorded, instead.
"""

from __future__ import annotations

import argparse
import sys
import threading
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from smvae_ros.lifecycle.process import status_of, until_stopped
from smvae_ros.listen.message_types import message_class
from std_srvs.srv import SetBool

from smvae_core.bag_formats.types import CDR, ROS1
from smvae_core.bags import Bag, BagError, BagTopic
from smvae_core.errors import ConfigError
from smvae_core.recorded_clock import CLOCK, RecordedClock
from smvae_tools.bags.playback import Jump, Segment, Stopwatch, parse_jump, segments

#: Encodings of messages that are played.
READ = (CDR, ROS1)
#: Of these an older bag may hold other definitions than those that are installed.
OURS = "smvae_msgs/"
#: Messages kept for a subscriber that is slow; a force sensor sends hundreds per second.
DEPTH = 1000
#: While nothing is published: how often a stop is noticed, and how far /clock goes on at most.
SLICE_S, TICK_S = 0.05, 0.5
#: After the last message: how long it may take to arrive.
DELIVERY_S = 2.0


@dataclass(frozen=True, kw_only=True)
class PlayOptions:
    """How a bag is played."""

    topics: tuple[str, ...] = ()
    """Only these; all by default."""
    rate: float = 1.0
    start_s: float = 0.0
    loop: bool = False
    jumps: tuple[Jump, ...] = ()
    paused: bool = False
    clock: bool = True
    wait_s: float = 0.0
    """At first wait so long, at most, until each topic has a subscriber."""


def profile(latched: bool) -> QoSProfile:
    """Return the reliable profile of a played topic."""
    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=DEPTH,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=durability,
    )


def refilled(cls: Any, recorded: Any) -> Any:
    """Return a message of a class, field by field from one of another definition.

    Fields that only one of the two has are left out, or keep their defaults.
    """
    message = cls()
    for name, kind in cls.get_fields_and_field_types().items():
        name_there = name if hasattr(recorded, name) else name.upper()  # ROS 1: CameraInfo.K
        if not hasattr(recorded, name_there):
            continue
        value = getattr(recorded, name_there)
        if kind == "sequence<uint8>":
            value = array("B", bytes(value))  # a list of a picture's bytes would take long
        value = value.tolist() if hasattr(value, "tolist") else value
        if "/" in kind:
            package, _, inner = kind.removeprefix("sequence<").rstrip(">").partition("/")
            nested = message_class(f"{package}/msg/{inner}")
            many = kind.startswith("sequence<")
            value = [refilled(nested, v) for v in value] if many else refilled(nested, value)
        setattr(message, name, value)
    return message


class BagPlayer(Node):
    """Publishers of a bag's topics and of /clock; `~/pause` stops and goes on."""

    def __init__(self, bag: Bag, options: PlayOptions, **kwargs: Any) -> None:
        """Advertise the topics.

        Args:
            bag: Open.
            options: How it is played.
            kwargs: For Node.

        Raises:
            BagError: If none of the topics that were asked for is in the bag, or the type of one
                is not installed here.
            ConfigError: If rate, start or jumps cannot be.
        """
        super().__init__("bag_player", **kwargs)
        self._bag, self._options = bag, options
        self.watch = Stopwatch(options.rate)
        self._order = segments(
            bag.duration_s, start_s=options.start_s, jumps=options.jumps, loop=options.loop
        )
        self._topics = {t.name: self._advertise(t) for t in self._chosen()}
        self._topics = {name: p for name, p in self._topics.items() if p is not None}
        if not self._topics:
            raise BagError(bag.path, f"nothing to play; it has {bag.listed()}")
        self._clock_publisher: Any = None
        if options.clock and CLOCK not in self._topics:
            self._clock_publisher = self.create_publisher(Clock, CLOCK, 10)
        self.create_service(SetBool, "~/pause", self._on_pause)
        self.watch.pause(options.paused)
        self.counts = dict.fromkeys(self._topics, 0)

    def _chosen(self) -> list[BagTopic]:
        there = self._bag.topics
        missing = [t for t in self._options.topics if t not in there]
        if missing and len(missing) == len(self._options.topics):
            what = f"no topic {', '.join(missing)}; it has {self._bag.listed()}"
            raise BagError(self._bag.path, what)
        if missing:
            self.get_logger().warning(f"not in the bag: {', '.join(missing)}")
        foreign = [f"{t.name} ({t.encoding})" for t in there.values() if t.encoding not in READ]
        if foreign and not self._options.topics:
            self.get_logger().warning(f"no ROS messages, left out: {', '.join(foreign)}")
        names = self._options.topics or tuple(
            name for name, topic in there.items() if name != CLOCK and topic.encoding in READ
        )
        played = [name for name in names if name in there]
        clock = RecordedClock.of(self._bag, played)
        if clock.followed and self._options.clock:
            self.get_logger().info(f"{CLOCK} is played as it was recorded: stamps are of it")
            played += [name for name in clock.topics if name not in played]
        return [there[name] for name in played]

    def _advertise(self, topic: BagTopic) -> Any:
        """Return a publisher; None for a type that is not installed, unless it was asked for."""
        try:
            cls = message_class(topic.message_type)
        except ConfigError as err:
            what = f"{topic.name}: {topic.message_type} is not installed here"
            if self._options.topics:
                raise BagError(self._bag.path, what) from err
            self.get_logger().warning(f"{what}: left out")
            return None
        return self.create_publisher(cls, topic.name, profile(topic.latched))

    def _on_pause(self, request: Any, response: Any) -> Any:
        self.watch.pause(request.data)
        response.success = True
        response.message = (
            f"{'paused' if request.data else 'playing'} at {self.watch.read_s():.3f} s"
        )
        return response

    def play(self, executor: Any, stop: threading.Event) -> None:
        """Play until the end or `stop`.

        Args:
            executor: Has this node; serves `~/pause` meanwhile.
            stop: Ends the playing early.

        Raises:
            BagError: If the bag is damaged in the middle.
        """
        self._wait_for_subscribers(executor, stop)
        for segment in self._order:
            self.watch.set(segment.begin_s)
            self.get_logger().info(f"playing from {segment.begin_s:.3f} s")
            self._play_segment(segment, executor, stop)
            if stop.is_set():
                return
        for publisher in self._topics.values():
            publisher.wait_for_all_acked(Duration(seconds=DELIVERY_S))

    def _play_segment(self, segment: Segment, executor: Any, stop: threading.Event) -> None:
        first_ns, slice_s = self._bag.begin_ns, min(SLICE_S, TICK_S / self._options.rate)
        begin_ns = first_ns + round(segment.begin_s * 1e9)
        end_ns = None
        if segment.end_s != float("inf"):
            end_ns = first_ns + round(segment.end_s * 1e9)
        for topic, received_ns, data in self._bag.messages(list(self._topics), begin_ns, end_ns):
            moment_s = (received_ns - first_ns) * 1e-9
            while (left_s := self.watch.left_s(moment_s)) > 0.0:
                executor.spin_once(timeout_sec=min(left_s, slice_s))
                if stop.is_set():
                    return
                if left_s > slice_s and not self.watch.paused:  # a silence: time goes on
                    self._tick(min(received_ns, first_ns + round(self.watch.read_s() * 1e9)))
            if stop.is_set():
                return
            self._tick(received_ns)
            self._topics[topic].publish(self._playable(topic, data))
            self.counts[topic] += 1
            if self.counts[topic] % 50 == 0:  # late all the time: still hear `~/pause`
                executor.spin_once(timeout_sec=0.0)

    def _playable(self, topic: str, data: bytes) -> Any:
        """Return a message as it was recorded, or as it is defined today.

        The latter is one of ours, one of ROS 1, or one whose type changed while it was recorded.
        """
        found = self._bag.topics[topic]
        as_it_is = found.encoding == CDR and topic not in self._bag.defined_twice
        if as_it_is and not found.message_type.startswith(OURS):
            return data
        cls = message_class(found.message_type)
        return refilled(cls, self._bag.decode(topic, data))

    def _tick(self, now_ns: int) -> None:
        if self._clock_publisher is not None:
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(now_ns, 1_000_000_000)
            self._clock_publisher.publish(message)

    def _wait_for_subscribers(self, executor: Any, stop: threading.Event) -> None:
        """Wait until somebody listens to each topic (and to /clock), as long as we may."""
        wanted = [p for p in (*self._topics.values(), self._clock_publisher) if p is not None]
        patience = Stopwatch()
        while patience.read_s() < self._options.wait_s and not stop.is_set():
            if all(p.get_subscription_count() for p in wanted):
                return
            executor.spin_once(timeout_sec=SLICE_S)
        alone = [p.topic_name for p in wanted if not p.get_subscription_count()]
        if self._options.wait_s and alone:
            self.get_logger().warning(f"nobody listens to {', '.join(alone)}")


def parse(arguments: list[str]) -> tuple[Path, str, PlayOptions]:
    """Read the command line, without its ROS part.

    Raises:
        ConfigError: If a value cannot be used.
    """
    parser = argparse.ArgumentParser(prog="bag_player", description=__doc__)
    add = parser.add_argument
    add("bag", type=Path, help="folder of a rosbag2 bag, or one .mcap, .db3 or .bag file")
    add("--topics", nargs="+", default=[], metavar="TOPIC", help="only these (default: all)")
    add("--rate", type=float, default=1.0, help="bag seconds per second (default: 1)")
    add("--start-offset", type=float, default=0.0, metavar="S", help="begin S seconds in")
    add("--loop", action="store_true", help="begin again at the end; /clock jumps back")
    add(
        "--jump",
        action="append",
        default=[],
        metavar="AT:TO",
        help="at AT seconds of the bag go on at TO; may be repeated, each is made once",
    )
    add("--start-paused", action="store_true", help="wait for ~/pause {data: false}")
    add("--no-clock", action="store_true", help="do not publish /clock")
    add("--wait", type=float, default=0.0, metavar="S", help="wait up to S seconds for subscribers")
    add("--typestore", default="ros2_jazzy", help="definitions for bags that hold none")
    given = parser.parse_args(rclpy.utilities.remove_ros_args([sys.argv[0], *arguments])[1:])
    if not given.wait >= 0.0:
        raise ConfigError(f"wait must not be negative, got {given.wait:g}")
    options = PlayOptions(
        topics=tuple(given.topics),
        rate=given.rate,
        start_s=given.start_offset,
        loop=given.loop,
        jumps=tuple(parse_jump(text) for text in given.jump),
        paused=given.start_paused,
        clock=not given.no_clock,
        wait_s=given.wait,
    )
    return given.bag, given.typestore, options


def play(path: Path, typestore: str, options: PlayOptions, stop: threading.Event) -> None:
    """Play a bag in this process.

    Raises:
        SMVAEError: If the bag or an option cannot be used.
    """
    executor = SingleThreadedExecutor()
    node: BagPlayer | None = None
    with Bag(path, typestore) as bag:
        try:
            node = BagPlayer(bag, options)
            executor.add_node(node)
            node.play(executor, stop)
            total = sum(node.counts.values())
            node.get_logger().info(f"{total} messages of {len(node.counts)} topics played")
        finally:
            executor.shutdown()
            if node is not None:
                node.destroy_node()


def main(args: Sequence[str] | None = None) -> int:
    """Play until the end, SIGINT or SIGTERM; 1 with a line when the bag cannot be played."""
    arguments = list(sys.argv[1:] if args is None else args)

    def work() -> None:
        with until_stopped(arguments) as stop:
            path, typestore, options = parse(arguments)
            play(path, typestore, options, stop)

    return status_of("bag_player", work)


if __name__ == "__main__":
    sys.exit(main())
