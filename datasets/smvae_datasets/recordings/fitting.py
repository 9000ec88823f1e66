"""Whether a recording holds what a robot's declaration says of each sensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from smvae_core.errors import ConfigError, nearest
from smvae_core.fusion.source import REFUSALS, Source
from smvae_core.kinds.proposal import Seen
from smvae_core.messages import has_stamp
from smvae_core.modality import Modality
from smvae_core.robot import RecordedTarget, Robot, Sensor
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


def misfit(sensor: Sensor, seen: Seen) -> str:
    """Return '' or why the messages of a topic make no samples of a sensor; what would be right."""
    settings = Declared.of(Robot(name="one", sensors=(sensor,))).settings
    return _misfit(sensor.modality, settings.sources[sensor.name], seen, sensor.settings)


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
    looked = look(recording, set(topics.values()), advance)
    found = []
    for sensor in robot.sensors:

        def of_sensor(seen: Seen, sensor: Sensor = sensor) -> str:
            return _misfit(sensor.modality, settings.sources[sensor.name], seen, sensor.settings)

        topic = topics[sensor.name]
        found.append(_fit(sensor.name, topic, recording, looked, of_sensor, sensor.optional))
    for target in robot.targets:

        def of_target(seen: Seen, target: RecordedTarget = target) -> str:
            try:
                modality = vector_of(target, seen.message_type, lambda: seen.messages[0])
            except ConfigError as err:
                return str(err)
            return _misfit(modality, Source(converter=modality.converter()), seen, {})

        topic = topics[target.name]
        found.append(_fit(target.name, topic, recording, looked, of_target, True))
    return found


def _fit(
    name: str,
    topic: str,
    recording: Recording,
    looked: Looked,
    misfit: Callable[[Seen], str],
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
    return replace(fit, rate_hz=seen.rate_hz, wrong=misfit(seen))


def _misfit(modality: Modality, source: Source, seen: Seen, settings: Mapping[str, Any]) -> str:
    try:
        converter = modality.converter(seen.message_type)
    except ConfigError as err:
        return str(err).removeprefix(f"modality '{modality.name}': ")
    source = replace(source, converter=converter)
    refused = [why for message in seen.messages if (why := _refused(source, modality, message))]
    if 2 * len(refused) > len(seen.messages):
        return f"{len(refused)} of {len(seen.messages)} messages are refused: {refused[0]}"
    return modality.family.pace(modality, seen.rate_hz, settings)


def _refused(source: Source, modality: Modality, message: Any) -> str:
    """Return '' or why a message is no sample."""
    if source.frame_id and has_stamp(message) and message.header.frame_id != source.frame_id:
        return f"frame_id: expected {source.frame_id}, got '{message.header.frame_id}'"
    try:
        value = source.read(modality, message)
        if not modality.family.is_window:
            modality.family.prepare(modality, value)
    except REFUSALS as err:
        return str(err).removeprefix(f"{modality.name}: ")
    return ""
