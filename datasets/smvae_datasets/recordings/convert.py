"""One recording -> its episodes, through the engine: what the node would have done with it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smvae_core.bags import BagTopic, NotOfType, listed
from smvae_core.errors import ConfigError, SMVAEError
from smvae_core.fusion.channel import NOT_INCREASING
from smvae_core.fusion.engine import Engine, Taken, bad_stamp
from smvae_core.fusion.playback import Playback
from smvae_core.fusion.source import REFUSALS, Source
from smvae_core.messages import stamp_ns
from smvae_core.messages.members import expand
from smvae_core.modality import Modality
from smvae_core.recorded_clock import CLOCK, RecordedClock
from smvae_core.robot import Channel, RecordedTarget, Sensor
from smvae_datasets.recordings.declared import Declared, crop_of
from smvae_datasets.recordings.episode_files import NONE, EpisodeWriter
from smvae_datasets.recordings.presence import Presence

#: Threads that encode images, beside the one that reads.
_ENCODERS = 2


class Recording(Protocol):
    """What is read as a bag is."""

    @property
    def path(self) -> Path: ...
    @property
    def begin_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...
    @property
    def topics(self) -> Mapping[str, BagTopic]: ...
    def __enter__(self) -> Recording: ...
    def __exit__(self, *_: object) -> None: ...
    def messages(self, topics: Collection[str] | None = None) -> Iterator[tuple[str, int, Any]]:
        """Yield (topic, receive time, message as stored) in the order of receive time."""

    def decode(self, topic: str, data: Any) -> Any:
        """Return a message."""


class Kept(Protocol):
    """Takes what belongs to one episode, see `EpisodeWriter`."""

    steps: int
    counts: dict[str, int]
    files: list[Path]
    first_ns: int

    @property
    def seconds(self) -> float: ...
    def add(
        self, name: str, stamp_ns: int, arrival_ns: int, value: NDArray[Any], clock_ns: int
    ) -> int: ...
    def add_target(
        self, name: str, stamp_ns: int, arrival_ns: int, value: NDArray[np.float32]
    ) -> None: ...
    def add_step(self, reference_ns: int, taken_ns: int, samples: tuple[int, ...]) -> None: ...
    def close(self) -> None: ...
    def discard(self) -> None: ...


def duration_s(recording: Recording) -> float:
    """Return the time between the first and the last message."""
    return max(0, recording.end_ns - recording.begin_ns) * 1e-9


def topic_in(recording: Recording, channel: Channel, topic: str) -> str:
    """Return where a channel is in a recording: its column in a LeRobot folder, or its topic."""
    topic = topic if topic.startswith("/") or not topic else f"/{topic}"
    is_column = channel.feature and not channel.topic and topic not in recording.topics
    return channel.feature if is_column or channel.feature in recording.topics else topic


def vector_of(target: RecordedTarget, message_type: str, first: Callable[[], Any]) -> Modality:
    """Return the modality that a target's numbers are read as.

    Args:
        target: As declared.
        message_type: Of its messages.
        first: Returns one of them, of a target that selects nothing.

    Raises:
        ConfigError: If messages of that type lack what is selected.
    """
    fields = (
        expand(target.select, message_type)
        if target.select
        else tuple(f"data[{i}]" for i in range(len(first().data)))
    )
    return Modality(
        name=target.name,
        kind="vector",
        shape=(len(fields),),
        unit=target.unit,
        fields=fields,
        message_type=message_type,
    )


@dataclass(kw_only=True)
class Counts:
    """What became of the messages on one topic; together they are all of them."""

    topic: str
    message_type: str = ""
    messages: int = 0
    used: int = 0
    """In a step; a reading of a window that is."""
    unused: int = 0
    """Kept, and in no step at this rate."""
    late: int = 0
    """Stamped before a message that had come already."""
    duplicate: int = 0
    """Stamped as another message."""
    refused: dict[str, int] = field(default_factory=dict)
    """By reason."""
    short: int = 0
    """In what is no episode: shorter than `min_s`."""
    first_refused: str = ""
    """What the first refused one was refused for, in full."""

    def refuse(self, reason: str, text: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        self.first_refused = self.first_refused or text or reason


@dataclass(frozen=True)
class _Input:
    """A topic that is read."""

    modality: Modality
    source: Source
    counts: Counts
    is_target: bool = False


class _Recent:
    """Stamps of a sensor's newest samples with their numbers in the episode."""

    def __init__(self, modality: Modality) -> None:
        self.used = 0
        """Samples of the episode that steps hold."""
        self._found: deque[tuple[int, int]] = deque(maxlen=modality.family.kept)
        self._span_ns = round(modality.family.span_s(modality) * 1e9)
        self._is_window = modality.family.is_window
        self._last = NONE

    def add(self, stamp_ns: int, number: int) -> None:
        self._found.append((stamp_ns, number))

    def has(self, stamp_ns: int) -> bool:
        return any(stamp == stamp_ns for stamp, _ in self._found)

    def number(self, stamp_ns: int) -> int:
        """Return the number of the sample with a stamp, and count it.

        NONE of another episode's, and of a window that began in another.
        """
        found = next((n for stamp, n in reversed(self._found) if stamp == stamp_ns), NONE)
        if found > self._last:
            first = self._first_of_window(stamp_ns) if self._is_window else found
            if first == NONE:
                return NONE
            self.used += found - max(first - 1, self._last)
            self._last = found
        return found

    def _first_of_window(self, stamp_ns: int) -> int:
        begun_ns = stamp_ns - self._span_ns
        return next((n for stamp, n in reversed(self._found) if stamp <= begun_ns), NONE)


class Conversion:
    """Reads an open bag once and writes its episodes."""

    def __init__(self, bag: Recording, declared: Declared, folder: Path, faults: list[str]) -> None:
        """Find what of the recording is read.

        Args:
            bag: Open.
            declared: The robot.
            folder: For the episode files; there already, and empty.
            faults: Gets a line for each thing that is wrong.
        """
        self.faults = faults
        self.episodes: list[dict[str, Any]] = []
        self._bag, self._declared, self._folder = bag, declared, folder
        self._modalities = declared.robot.modalities
        self.counts: dict[str, Counts] = {}
        self._told_topics = False
        self._inputs: dict[str, list[_Input]] = {}
        for modality in self._modalities:
            self._wire_sensor(modality)
        self._target_fields: dict[str, tuple[str, ...]] = {}
        for target in declared.robot.targets:
            self._wire_target(target)
        sources = declared.settings.sources | {
            i.modality.name: i.source
            for found in self._inputs.values()
            for i in found
            if not i.is_target
        }
        settings = declared.settings
        self._engine = Engine(self._modalities, settings.rules, settings.pace, sources)
        self._clock = RecordedClock.of(bag, list(self._inputs))
        self._playback = Playback(self._engine, bag.begin_ns, self._step, self._clock)
        self._presence = Presence(declared.half_step_ns)
        self._episode: Kept | None = None
        self._recent: dict[str, _Recent] = {}
        self._last_ns = self._begun_ns = 0
        self._number = 0
        self._undefined: dict[str, str] = {}
        """Topics of a type that nobody can read, and why."""

    @property
    def topics(self) -> list[str]:
        """Topics that are read."""
        return list(self._inputs)

    def run(self, advance: Callable[[int], None]) -> None:
        """Convert; `advance` is called with the number of messages done since."""
        with ThreadPoolExecutor(_ENCODERS) as self._pool:
            read = dict.fromkeys((*self.topics, *self._clock.topics))
            for topic, received_ns, data in self._bag.messages(list(read)):
                if topic in self._clock.topics:
                    self._tick(received_ns, data)
                if topic in self._inputs:
                    self._message(topic, received_ns, data)
                    advance(1)
            self._playback.finish()
            self._end_episode()
        names = {m.name for m in self._modalities}
        sent = {n: c.used + c.unused for n, c in self.counts.items()}
        self.faults += self._presence.faults(
            {name: count for name, count in sent.items() if name in names},
            {n: self.counts[n].used for n, count in sent.items() if count and n not in names},
        )

    def _message(self, topic: str, received_ns: int, data: Any) -> None:
        inputs = self._inputs[topic]
        for each in inputs:
            each.counts.messages += 1
        if topic in self._undefined:
            text = self._undefined[topic]
        else:
            try:
                message = self._bag.decode(topic, data)
            except SMVAEError as err:
                text = str(err)
                if not isinstance(err, NotOfType):
                    self._undefined[topic] = text
            else:
                for each in inputs:
                    (self._target if each.is_target else self._sample)(each, received_ns, message)
                return
        for each in inputs:
            each.counts.refuse("decode", text)

    def _tick(self, received_ns: int, data: Any) -> None:
        """Take a message of the node's clock; where that jumped, an episode ends."""
        try:
            message = self._bag.decode(CLOCK, data)
        except NotOfType:
            return
        has_begun = self._clock.ticks > 0
        if jump_s := self._playback.tick(received_ns, message):
            if has_begun:
                side, at_s = "forward" if jump_s > 0 else "back", self._playback.now_s
                self.faults.append(
                    f"{CLOCK} jumped {side} by {abs(jump_s):.2f} s at {at_s:.2f} s: an episode ends"
                )
            self._end_episode()

    # --- what is read ----------------------------------------------------------------------------

    def _wire_sensor(self, modality: Modality) -> None:
        name, settings = modality.name, self._declared.settings
        topic = topic_in(self._bag, self._sensor(name).channel, settings.topics[name])
        counts = self.counts[name] = Counts(topic=topic)
        there = self._bag.topics.get(topic)
        if there is None or not there.messages:
            if not self._sensor(name).optional:
                # what there is instead is said once, however many sensors are missing
                instead = "" if self._told_topics else f"; it has {listed(self._bag.topics)}"
                self._told_topics = True
                self.faults.append(f"{name}: nothing on {topic}{instead}")
            return
        counts.message_type = there.message_type
        accepted = modality.message_types
        if there.message_type not in accepted and not modality.family.any_message:
            self.faults.append(
                f"{name}: {topic} holds {there.message_type}, a {modality.kind} is read from "
                f"{' or '.join(accepted)}: left out"
            )
            counts.messages = there.messages
            counts.refused["type"] = there.messages
            return
        source = replace(settings.sources[name], converter=modality.converter(there.message_type))
        self._inputs.setdefault(topic, []).append(_Input(modality, source, counts))

    def _wire_target(self, target: RecordedTarget) -> None:
        """Find a target; its numbers are read as those of a vector are."""
        topic = topic_in(self._bag, target.channel, target.channel.topic)
        counts = self.counts[target.name] = Counts(topic=topic)
        there = self._bag.topics.get(topic)
        if there is None or not there.messages:
            self.faults.append(f"target {target.name}: nothing on {topic}")
            return
        counts.message_type = there.message_type
        try:
            modality = vector_of(target, there.message_type, lambda: self._first(topic))
        except ConfigError as err:
            self.faults.append(f"target {target.name}: {err}: left out")
            counts.messages = there.messages
            counts.refused["field"] = there.messages
            return
        source = Source(converter=modality.converter())
        self._target_fields[target.name] = modality.fields
        self._inputs.setdefault(topic, []).append(_Input(modality, source, counts, True))

    def _first(self, topic: str) -> Any:
        """Return the first message of a topic."""
        return self._bag.decode(topic, next(iter(self._bag.messages([topic])))[2])

    def _sensor(self, name: str) -> Sensor:
        return next(s for s in self._declared.robot.sensors if s.name == name)

    # --- what becomes of it ----------------------------------------------------------------------

    def _sample(self, of: _Input, received_ns: int, message: Any) -> None:
        name, playback, modality = of.modality.name, self._playback, of.modality
        newest_ns = self._engine.collector.channel(name).newest_ns
        verdict = playback.receive(name, received_ns, message)
        if verdict.reason == NOT_INCREASING:
            recent = self._recent.get(name)
            if recent is not None and recent.has(verdict.stamp_ns):
                of.counts.duplicate += 1
            else:
                of.counts.late += 1
            return
        if verdict.reason:
            of.counts.refuse(verdict.reason, verdict.text)
            return
        try:
            value = (
                verdict.value
                if modality.family.is_window
                else of.source.read(modality, verdict.value)
            )
            if not modality.family.is_window:
                modality.family.check_sample(modality, value)
        except REFUSALS as err:
            of.counts.refuse(err.reason, str(err))
            self._engine.drop(name, verdict.stamp_ns, playback.now_s, err.reason, str(err))
            return
        if verdict.restarted:
            back_s, at_s = (newest_ns - verdict.stamp_ns) * 1e-9, playback.now_s
            self.faults.append(
                f"{name}: time went back by {back_s:.2f} s at {at_s:.2f} s: an episode ends"
            )
        self._split(playback.now_ns, verdict.restarted)
        if (crop := crop_of(modality)) is not None:
            value = value[crop[0] : crop[2], crop[1] : crop[3]]
        assert self._episode is not None
        clock_ns = self._clock.at(playback.now_ns)
        number = self._episode.add(name, verdict.stamp_ns, playback.now_ns, value, clock_ns)
        self._recent[name].add(verdict.stamp_ns, number)
        playback.settle(verdict)

    def _target(self, of: _Input, received_ns: int, message: Any) -> None:
        name, counts = of.modality.name, of.counts
        clock_ns = self._clock.at(received_ns)
        stamp = stamp_ns(message, clock_ns)
        if reason := bad_stamp(stamp, clock_ns, self._declared.settings.pace.max_future_s):
            counts.refuse(reason, "")
            return
        try:
            value = of.source.read(of.modality, message)
        except REFUSALS as err:
            counts.refuse(err.reason, str(err))
            return
        if self._episode is None:
            counts.short += 1
            return
        self._episode.add_target(name, stamp, received_ns, value)
        self._kept_targets[name] = self._kept_targets.get(name, 0) + 1
        self._presence.target(name, stamp)

    def _split(self, now_ns: int, restarted: bool) -> None:
        """Begin an episode where the rules say so."""
        rules = self._declared.robot.episodes
        by_gap, longest_ns = rules.split_on == "gap", (rules.max_s or math.inf) * 1e9
        gap = by_gap and now_ns - self._last_ns > rules.gap_s * 1e9
        full = by_gap and now_ns - self._begun_ns > longest_ns
        if self._episode is None or gap or full or restarted:
            self._end_episode()
            self._begun_ns = now_ns
            self._episode = self._begin_episode(self._number, self._target_fields)
            self._recent = {m.name: _Recent(m) for m in self._modalities}
            self._kept_targets: dict[str, int] = {}
        self._last_ns = now_ns

    def _begin_episode(self, number: int, targets: Mapping[str, tuple[str, ...]]) -> Kept:
        """Return what takes an episode; here it is written."""
        units_m = {
            name: source.options.depth_scale or 0.001
            for name, source in self._declared.settings.sources.items()
        }
        return EpisodeWriter(self._folder, number, self._modalities, targets, units_m, self._pool)

    def _step(self, taken: Taken) -> None:
        if self._episode is None:
            return
        observation = taken.observation
        row = tuple(
            self._recent[m.name].number(observation.status[m.name].stamp_ns)
            if m.name in observation.samples
            else NONE
            for m in self._modalities
        )
        if max(row) > NONE:
            taken_ns = self._playback.begin_ns + round(taken.at_s * 1e9)
            self._episode.add_step(observation.reference_ns, taken_ns, row)
            held = [m.name for m, at in zip(self._modalities, row, strict=True) if at > NONE]
            lacking = {n: s.reason for n, s in observation.status.items() if n not in held}
            self._presence.step(observation.reference_ns, lacking, held)

    def _end_episode(self) -> None:
        episode, self._episode = self._episode, None
        if episode is None:
            return
        kept = episode.counts | self._kept_targets
        in_steps = self._presence.end_episode()
        if not episode.steps or episode.seconds < self._declared.robot.episodes.min_s:
            episode.discard()
            for name, count in kept.items():
                self.counts[name].short += count
            return
        episode.close()
        for name, count in kept.items():
            used = self._recent[name].used if name in self._recent else in_steps[name]
            self.counts[name].used += used
            self.counts[name].unused += count - used
        self.episodes.append(
            {
                "files": [path.name for path in episode.files],
                "steps": episode.steps,
                "seconds": episode.seconds,
                "begin_ns": episode.first_ns,
                "samples": dict(episode.counts),
            }
        )
        self._number += 1

    def to_json(self) -> dict[str, Any]:
        """Return what recording.json says of the conversion."""
        read = {*(counts.topic for counts in self.counts.values()), *self._clock.topics}
        names = {m.name for m in self._modalities}
        counts = {name: asdict(found) for name, found in self.counts.items()}
        return {
            "seconds": duration_s(self._bag),
            "begin_ns": self._bag.begin_ns,
            "sensors": {n: c for n, c in counts.items() if n in names},
            "targets": {n: c for n, c in counts.items() if n not in names},
            "not_declared": {
                t.name: t.messages for t in self._bag.topics.values() if t.name not in read
            },
            "faults": self.faults,
            **({"clock": self._clock.to_json()} if self._clock.followed else {}),
            "episodes": self.episodes,
        }
