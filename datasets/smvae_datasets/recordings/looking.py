"""Some messages of every topic of a recording, spread over it, and how often they come.

A few short moments are read, not the whole. ROS 1 bags and LeRobot episodes have no index that is
used, so they are read once from their beginning to their end; what is kept is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from smvae_core.bag_formats.types import CDR, ROS1
from smvae_core.bags import Bag, BagTopic, NotOfType
from smvae_core.errors import SMVAEError
from smvae_core.kinds.proposal import Seen
from smvae_core.messages import has_stamp, stamp_ns
from smvae_core.modality import Modality
from smvae_core.robot.reading import parse_robot
from smvae_datasets.recordings.convert import Recording, duration_s

#: Moments that are looked at, and how long each is at most.
_MOMENTS, _MOMENT_NS = 8, 2_000_000_000
#: A topic is missing from a moment in which so many of its messages should have come, and none did.
_EXPECTED = 4
#: A topic that is there for less of the recording is said to be [share].
_WHOLE = 0.9
#: Of each moment and topic: messages that are kept, and bytes beyond which it is only one.
_KEPT, _KEPT_BYTES = 32, 1 << 20


@dataclass
class _Topic:
    """What came on one topic so far."""

    messages: list[Any] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    """When each of them was received."""
    received_ns: list[int] = field(default_factory=list)
    """When each message of this moment was, decoded or not."""
    rates_hz: list[float] = field(default_factory=list)
    """Of each moment, by stamps where there are some."""
    came_hz: list[float] = field(default_factory=list)
    """The same by receive times, which are those of the recording."""
    moment: int = -1
    moments: set[int] = field(default_factory=set)
    """In which any of its messages came."""
    kept: int = 0
    kept_bytes: int = 0
    size: int = 0
    """Bytes of a message, by the last one; a video's frame has none before it is decoded."""
    stamps_ns: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Looked:
    """What was seen of a recording."""

    seen: dict[str, Seen]
    unread: dict[str, str]
    """Topic -> why none of its messages was looked at."""


def look(
    recording: Recording,
    topics: Collection[str],
    advance: Callable[[float], None] = lambda share: None,
) -> Looked:
    """Look at an open recording.

    Args:
        recording: Open.
        topics: Of it, that are looked at.
        advance: Called with the share that is done.
    """
    asked = [topic for name, topic in recording.topics.items() if name in topics]
    unread = {topic.name: why for topic in asked if (why := _unreadable(topic))}
    readable = {topic.name: topic for topic in asked if topic.name not in unread}
    found = {name: _Topic() for name in readable}
    for moment, (name, received_ns, data) in _messages(recording, list(readable), advance):
        if name not in unread:
            _take(recording, found[name], name, moment, received_ns, data, unread)
    for name, each in found.items():
        if not each.messages and name not in unread:
            rare = next(iter(recording.messages([name])), None)
            if rare is not None:
                _take(recording, each, name, 0, *rare[1:], unread)
    seconds = duration_s(recording)
    seen = {}
    for name, each in found.items():
        _end_moment(each)
        if not each.messages:
            unread.setdefault(name, "no message of it can be read")
            continue
        usual = (readable[name].messages - 1) / seconds if seconds else 0.0
        came_hz = float(np.median(each.came_hz)) if each.came_hz else usual
        seen[name] = Seen(
            topic=name,
            message_type=readable[name].message_type,
            rate_hz=float(np.median(each.rates_hz)) if each.rates_hz else usual,
            messages=tuple(each.messages),
            received_ns=tuple(each.received),
            declare=partial(_declared, name, readable[name].message_type),
            missing=_missing(each.moments, readable[name].messages, came_hz, seconds),
        )
    return Looked(seen, unread)


def _missing(moments: Collection[int], messages: int, rate_hz: float, seconds: float) -> str:
    """Return in words where a topic was missing, though its rate says that it should be there.

    Args:
        moments: In which any of its messages came.
        messages: Of the whole recording.
        rate_hz: While they come.
        seconds: Of the recording.
    """
    part_s = seconds / _MOMENTS
    expected = rate_hz * min(part_s, _MOMENT_NS * 1e-9)
    without = [n for n in range(_MOMENTS) if n not in moments] if expected >= _EXPECTED else []
    share = (messages + 1) / max(rate_hz * seconds, 1.0)
    if share >= _WHOLE and not without:
        return ""
    told = f"there for {min(share, 1.0):.0%} of the recording"
    at = ", ".join(f"{round(n * part_s, 1):g}" for n in without)
    return f"{told}, and not at {at} s" if at else told


def _declared(topic: str, message_type: str, kind: str, keys: Mapping[str, Any]) -> Modality:
    channel = {"topic": topic, "type": message_type}
    entry = {"kind": kind, "channel": channel, **keys}
    return parse_robot({"robot": "one", "sensors": {"sensor": entry}}).modalities[0]


def _unreadable(topic: BagTopic) -> str:
    if not topic.messages:
        return "no message"
    if topic.encoding not in (CDR, ROS1):
        return f"its messages are {topic.encoding}"
    return f"messages of several types, {topic.message_type}" * (" and " in topic.message_type)


def _messages(
    recording: Recording, topics: list[str], advance: Callable[[float], None]
) -> Iterator[tuple[int, tuple[str, int, Any]]]:
    """Yield (number of the moment, message).

    A moment begins with the first message of its part of the recording.
    """
    begin_ns, length_ns = recording.begin_ns, recording.end_ns - recording.begin_ns
    begins = [begin_ns + length_ns * n // _MOMENTS for n in range(_MOMENTS)]
    ends = [*begins[1:], recording.end_ns + 1]
    if isinstance(recording, Bag) and all(t.encoding == CDR for t in recording.topics.values()):
        for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            until_ns = 0
            for each in recording.messages(topics, begin, end):
                until_ns = until_ns or each[1] + _MOMENT_NS
                if each[1] >= until_ns:
                    break
                yield number, each
            advance((number + 1) / _MOMENTS)
        return
    number, until_ns = -1, 0
    for each in recording.messages(topics):
        if begins and each[1] >= begins[0]:
            while begins and each[1] >= begins[0]:
                begins.pop(0)
                number += 1
            until_ns = each[1] + _MOMENT_NS
            advance(number / _MOMENTS)
        if each[1] < until_ns:
            yield number, each


def _take(
    recording: Recording,
    topic: _Topic,
    name: str,
    moment: int,
    received_ns: int,
    data: Any,
    unread: dict[str, str],
) -> None:
    """Count a message, and keep it where there is room."""
    if moment != topic.moment:
        _end_moment(topic)
        topic.moment = moment
        topic.moments.add(moment)
    topic.received_ns.append(received_ns)
    size = len(data) if isinstance(data, bytes) else topic.size
    if topic.kept >= _KEPT or (topic.kept and topic.kept_bytes + size > _KEPT_BYTES):
        return
    try:
        message = recording.decode(name, data)
    except NotOfType:
        return
    except SMVAEError as err:
        unread[name] = str(err)
        return
    held = getattr(message, "data", None)
    topic.size = size or (len(held) if isinstance(held, Sized) else 0)
    topic.messages.append(message)
    topic.received.append(received_ns)
    topic.kept, topic.kept_bytes = topic.kept + 1, topic.kept_bytes + topic.size
    if has_stamp(message):
        topic.stamps_ns.append(stamp_ns(message))


def _end_moment(topic: _Topic) -> None:
    """Note the rate of a moment: by stamps, where enough messages were decoded for it."""
    stamped_hz, came_hz = map(_rate_hz, (topic.stamps_ns, topic.received_ns))
    if rate_hz := stamped_hz or came_hz:
        topic.rates_hz.append(rate_hz)
    if came_hz:
        topic.came_hz.append(came_hz)
    topic.received_ns, topic.stamps_ns = [], []
    topic.kept = topic.kept_bytes = 0


def _rate_hz(times: list[int]) -> float:
    """Return how often messages came at these times [ns]; 0 = these do not tell."""
    between_ns = max(times) - min(times) if times else 0
    if len(times) < 3 or between_ns <= 0 or min(times) <= 0:
        return 0.0
    return (len(times) - 1) / between_ns * 1e9
