"""The clock of a node that follows /clock (`use_sim_time`), as a recording has it.

Such a node's clock is the newest message on /clock. A message without stamp counts from then, one
that is stamped by another clock is refused, and a jump drops everything: `fusion/playback.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from smvae_core.bag_formats.types import CDR, ROS1
from smvae_core.bags import BagTopic
from smvae_core.errors import SMVAEError
from smvae_core.messages import has_stamp, stamp_ns

CLOCK, _CLOCK_TYPE = "/clock", "rosgraph_msgs/msg/Clock"
#: Stamps that are further apart are of two clocks; less may be a delay [s].
APART_S = 10.0
#: A node's clock jumped: forward by this or more, or back at all.
_JUMP_NS = 1_000_000_000
#: Messages on /clock that tell how far it is from receive times, and of all that are looked at.
_TICKS, _TRIED = 9, 5000


class Recording(Protocol):
    """What is asked of a recording."""

    @property
    def topics(self) -> Mapping[str, BagTopic]: ...
    def messages(self, topics: Collection[str] | None = None) -> Iterator[tuple[str, int, Any]]: ...
    def decode(self, topic: str, data: Any) -> Any: ...


class RecordedClock:
    """What a node's clock says while a recording is read, in the order of receive time."""

    def __init__(self, *, followed: bool = False) -> None:
        """Begin.

        Args:
            followed: Whether it is that of /clock; else receive time stands for it.
        """
        self.followed = followed
        self.newest_ns = 0
        """Of /clock; 0 = nothing came there yet."""
        self.ticks = 0
        """Messages on /clock so far."""
        self._passed_ns = 0

    @classmethod
    def of(cls, recording: Recording, topics: Collection[str]) -> RecordedClock:
        """Return the clock of a node that reads some topics of an open recording.

        It is /clock where most of those with stamps are stamped by it. A recording whose receive
        times are those of /clock, as of `ros2 bag record --use-sim-time`, needs none.
        """
        return cls(followed=_is_followed(recording, topics))

    @property
    def topics(self) -> tuple[str, ...]:
        """What is read beside the sensors."""
        return (CLOCK,) if self.followed else ()

    @property
    def period_s(self) -> float:
        """Mean time from one message on /clock to the next, jumps left out; 0 = unknown."""
        return self._passed_ns * 1e-9 / (self.ticks - 1) if self.ticks > 1 else 0.0

    def tick(self, message: Any) -> float:
        """Take a message of /clock; return how far it jumped [s], 0 = it just went on."""
        before_ns, self.newest_ns = self.newest_ns, time_ns(message)
        self.ticks += 1
        jump_ns = self.newest_ns - before_ns
        if 0 <= jump_ns < _JUMP_NS:
            self._passed_ns += jump_ns
            return 0.0
        return jump_ns * 1e-9

    def at(self, received_ns: int) -> int:
        """Return what it says when a message is received; 0 = simulated time has not started."""
        return self.newest_ns if self.followed else received_ns

    def to_json(self) -> dict[str, Any]:
        """Return what is said of it."""
        return {"topic": CLOCK, "messages": self.ticks, "period_s": self.period_s}


def time_ns(message: Any) -> int:
    """Return the time that a message of /clock says."""
    return int(message.clock.sec) * 1_000_000_000 + int(message.clock.nanosec)


def _is_followed(recording: Recording, topics: Collection[str]) -> bool:
    there = recording.topics.get(CLOCK)
    if there is None or there.message_type != _CLOCK_TYPE or not _is_readable(there):
        return False
    lead_ns = _lead_ns(recording)
    if abs(lead_ns) <= APART_S * 1e9:
        return False
    of_clock = [_is_of_clock(*stamped, lead_ns) for stamped in _first_stamps(recording, topics)]
    return 2 * sum(of_clock) > len(of_clock)


def _is_readable(topic: BagTopic) -> bool:
    return topic.messages > 0 and topic.encoding in (CDR, ROS1)


def _is_of_clock(stamp: int, received_ns: int, lead_ns: float) -> bool:
    return abs(stamp - received_ns - lead_ns) < abs(stamp - received_ns)


def _lead_ns(recording: Recording) -> float:
    """Return how far /clock is ahead of receive times as it begins; 0 = it cannot be read."""
    leads: list[int] = []
    for topic, received_ns, data in recording.messages([CLOCK]):
        try:
            leads.append(time_ns(recording.decode(topic, data)) - received_ns)
        except SMVAEError:
            return 0.0
        if len(leads) == _TICKS:
            break
    return float(np.median(leads)) if leads else 0.0


def _first_stamps(recording: Recording, topics: Collection[str]) -> Iterator[tuple[int, int]]:
    """Yield (stamp, receive time) of the first message with a stamp of each topic near the begin.

    Topics without stamps, and those that cannot be read, have none.
    """
    known = recording.topics
    waiting = {topic for topic in topics if topic in known and _is_readable(known[topic])}
    if not waiting:
        return
    for number, (topic, received_ns, data) in enumerate(recording.messages(list(waiting))):
        if not waiting or number == _TRIED:
            return
        if topic not in waiting:
            continue
        try:
            message = recording.decode(topic, data)
        except SMVAEError:
            waiting.discard(topic)
            continue
        if not has_stamp(message):
            waiting.discard(topic)
        elif (stamp := stamp_ns(message)) > 0:
            waiting.discard(topic)
            yield stamp, received_ns
