"""Whether a recording holds what a robot's declaration says of each sensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from smvae_core.errors import ConfigError, nearest
from smvae_core.fusion.engine import bad_stamp
from smvae_core.fusion.source import REFUSALS, Source
from smvae_core.kinds.proposal import Seen
from smvae_core.messages import has_stamp, stamp_ns
from smvae_core.modality import Modality
from smvae_core.recorded_clock import CLOCK, RecordedClock
from smvae_core.robot import RecordedTarget, Robot, Sensor
from smvae_datasets.recordings.clocks import (
    clock_of,
    counts_from,
    of_an_early_or_late_clock,
    of_another_clock,
)
from smvae_datasets.recordings.convert import Recording, topic_in, vector_of
from smvae_datasets.recordings.declared import Declared
from smvae_datasets.recordings.looking import Looked, look


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One sensor or target beside a recording."""

    name: str
    topic: str
    message_type: str = ""
    messages: int = 0
    rate_hz: float = 0.0
    wrong: str = ""
    """Why it does not fit, and what would be right."""
    remark: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


#: (why it does not fit, and what would be right; what is odd); '' = nothing.
Judged = tuple[str, str]


def misfit(sensor: Sensor, seen: Seen) -> str:
    """Return '' or why the messages of a topic make no samples of a sensor; what would be right."""
    settings = Declared.of(Robot(name="one", sensors=(sensor,))).settings
    source = settings.sources[sensor.name]
    return _judged(sensor.modality, source, seen, sensor.settings, settings.pace.max_future_s)[0]


def fits(
    robot: Robot,
    recording: Recording,
    advance: Callable[[float], None] = lambda share: None,
) -> list[Fit]:
    """Return how each sensor and target of a robot fits a recording.

    Args:
        robot: As declared.
        recording: Open.
        advance: Called with the share that is done.
    """
    settings = Declared.of(robot).settings
    topics = {
        s.name: topic_in(recording, s.channel, settings.topics[s.name]) for s in robot.sensors
    } | {t.name: topic_in(recording, t.channel, t.channel.topic) for t in robot.targets}
    clock = RecordedClock.of(recording, set(topics.values()))
    looked = look(recording, {*topics.values(), *clock.topics}, advance)
    ticks = looked.seen.get(CLOCK) if clock.followed else None
    future_s = settings.pace.max_future_s
    found = []
    for sensor in robot.sensors:

        def of_sensor(seen: Seen, sensor: Sensor = sensor) -> Judged:
            source = settings.sources[sensor.name]
            wrong, odd = _judged(sensor.modality, source, seen, sensor.settings, future_s)
            return wrong, "; ".join(filter(None, (odd, _other_type(sensor, seen))))

        topic = topics[sensor.name]
        found.append(_fit(sensor.name, topic, recording, looked, of_sensor, sensor.optional))
    for target in robot.targets:

        def of_target(seen: Seen, target: RecordedTarget = target) -> Judged:
            try:
                modality = vector_of(target, seen.message_type, lambda: seen.messages[0])
            except ConfigError as err:
                return str(err), ""
            source = Source(converter=modality.converter())
            return _judged(modality, source, seen, {}, future_s)

        topic = topics[target.name]
        found.append(_fit(target.name, topic, recording, looked, of_target, True))
    return _by_clocks(found, robot, looked, ticks)


def _by_clocks(found: list[Fit], robot: Robot, looked: Looked, ticks: Seen | None) -> list[Fit]:
    """Return what was found, and what does not fit because its stamps are of another clock.

    Args:
        found: By everything else.
        robot: As declared.
        looked: What was seen of the recording.
        ticks: What was seen of /clock, where that is the node's clock.
    """
    offsets = {s.name: float(s.settings.get("stamp_offset_s", 0.0)) for s in robot.sensors}
    clocks = {
        fit.name: clock_of(looked.seen[fit.topic], offsets.get(fit.name, 0.0), ticks)
        for fit in found
        if fit.topic in looked.seen and not fit.wrong
    }
    of_sensors = {name: clock for name, clock in clocks.items() if name in offsets}
    beside = {name: clock for name, clock in clocks.items() if name not in offsets}
    other = of_another_clock(of_sensors, beside, simulated=ticks is not None)
    odd = of_an_early_or_late_clock(
        {name: clock for name, clock in of_sensors.items() if name not in other}, beside
    )
    told = {name: (counts_from(clock, ticks), odd.get(name, "")) for name, clock in clocks.items()}
    return [
        replace(fit, wrong=other[fit.name])
        if fit.name in other
        else replace(fit, remark="; ".join(filter(None, (fit.remark, *told.get(fit.name, ())))))
        for fit in found
    ]


def _fit(
    name: str,
    topic: str,
    recording: Recording,
    looked: Looked,
    judged: Callable[[Seen], Judged],
    optional: bool,
) -> Fit:
    there, seen = recording.topics.get(topic), looked.seen.get(topic)
    fit = Fit(name=name, topic=topic)
    if there is None or not there.messages:
        known = [t.name for t in recording.topics.values() if t.messages]
        close = nearest(topic, known)
        hint = f"did you mean {close}?" if close else f"it has {', '.join(known) or 'nothing'}"
        what = f"nothing on {topic or 'a column'}; {hint}"
        return replace(fit, remark=what) if optional else replace(fit, wrong=what)
    fit = replace(fit, message_type=there.message_type, messages=there.messages)
    if seen is None:
        return replace(fit, wrong=looked.unread.get(topic, "no message of it can be read"))
    wrong, remark = judged(seen)
    remark = "; ".join(filter(None, (remark, seen.missing)))
    return replace(fit, rate_hz=seen.rate_hz, wrong=wrong, remark=remark)


def _other_type(sensor: Sensor, seen: Seen) -> str:
    """Return '' or that the node will listen for another type than was recorded."""
    if seen.topic == sensor.channel.feature:
        return ""  # a column, of no message
    expected = sensor.modality.converter().message_type
    if expected == seen.message_type:
        return ""
    return (
        f"a node listens for {expected} and would hear nothing of this; "
        f"if the robot sends what was recorded: type: {seen.message_type}"
    )


def _judged(
    modality: Modality,
    source: Source,
    seen: Seen,
    settings: Mapping[str, Any],
    max_future_s: float,
) -> Judged:
    try:
        converter = modality.converter(seen.message_type)
    except ConfigError as err:
        return str(err).removeprefix(f"modality '{modality.name}': "), ""
    source = replace(source, converter=converter)
    whose = [source.of_others(modality, message) for message in seen.messages]
    others = [why for why in whose if why]
    shared = f"{len(others)} of {len(whose)} messages are of others: {others[0]}" if others else ""
    count = len(whose) - len(others)
    if not count:
        return shared, ""
    tried = zip(seen.messages, seen.received_ns, whose, strict=True)
    refused = [
        why
        for message, received_ns, of_other in tried
        if not of_other and (why := _refused(source, modality, message, received_ns, max_future_s))
    ]
    said = f"{len(refused)} of {count} messages refused: {refused[0]}" if refused else ""
    if 2 * len(refused) > count:
        return said, ""
    rate_hz = seen.rate_hz * count / len(whose)
    wrong, odd = modality.family.pace(modality, rate_hz, settings)
    return wrong, "; ".join(filter(None, (shared, said, odd)))


def _refused(
    source: Source, modality: Modality, message: Any, received_ns: int, max_future_s: float
) -> str:
    """Return '' or why a message is no sample."""
    if why := bad_stamp(stamp_ns(message, received_ns), received_ns, max_future_s):
        return why
    if source.frame_id and has_stamp(message) and message.header.frame_id != source.frame_id:
        return f"frame_id: expected {source.frame_id}, got '{message.header.frame_id}'"
    try:
        value = source.read(modality, message)
        if not modality.family.is_window:
            modality.family.prepare(modality, value)
    except REFUSALS as err:
        return str(err).removeprefix(f"{modality.name}: ")
    return ""
