"""A first robot.yaml from a bag: every kind is asked what it would declare of each topic."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from smvae_core import kinds
from smvae_core.bags import Bag, BagTopic
from smvae_core.errors import SMVAEError
from smvae_core.kinds import Kind
from smvae_core.kinds.joint_state import JOINTS
from smvae_core.kinds.proposal import Proposal, Seen
from smvae_core.recorded_clock import CLOCK, RecordedClock
from smvae_core.robot import RobotError
from smvae_core.robot.declaration import MOST_SENSORS, EpisodeRules
from smvae_core.robot.reading import parse_robot
from smvae_datasets import naming
from smvae_datasets.recordings.clocks import (
    Clock,
    clock_of,
    counts_from,
    of_an_early_or_late_clock,
    of_another_clock,
)
from smvae_datasets.recordings.fitting import misfit
from smvae_datasets.recordings.looking import look
from smvae_datasets.scaffold import Scaffold

#: Parts of a topic that say nothing of which sensor it is, behind one that does.
_GENERIC = re.compile(r"image\w*|compressed\w*|data\w*|raw|output\w*|points|theora|out")
#: Parts that need the part before them to tell a sensor.
_SIDE = re.compile(r"colou?r|depth|rgb|left|right|infra\w*|state\w*|aligned_\w+")
#: Messages of our own node, and the one beside which all else of its name is its own.
_OWN, _LATENT = "smvae_msgs/", "smvae_msgs/msg/LatentState"
#: Messages that a recording has beside its sensors.
_NO_SENSOR = {
    "sensor_msgs/msg/CameraInfo": "calibration, which the node reads by itself",
    "tf2_msgs/msg/TFMessage": "frames, no sensor",
    "tf/msg/tfMessage": "frames, no sensor",
    "rosgraph_msgs/msg/Clock": "the clock",
    "nav_msgs/msg/OccupancyGrid": "a map, no sensor",
    "nav_msgs/msg/Path": "a path, as long as each message makes it",
}
#: Episodes that a recording is cut into, so that whole ones can be held out; shortest [s].
_EPISODES, _SHORTEST_S = 5, 2.0
#: Letters of one reason, and of its end, which says what there is instead.
_LONGEST, _END = 300, 80
#: Topics left out for one reason that are named.
_ALIKE = 5
_BOOL = "std_msgs/msg/Bool"


def scaffold_bag(bag: Bag, advance: Callable[[float], None] = lambda share: None) -> Scaffold:
    """Return what an open bag declares.

    Args:
        bag: Open.
        advance: Called with the share that is done.
    """
    no_sensor = _no_sensor(bag.topics)
    asked = set(bag.topics) - set(no_sensor)
    clock = RecordedClock.of(bag, asked)
    looked = look(bag, {*asked, *clock.topics}, advance)
    draft = _Draft(looked.seen.pop(CLOCK, None) if clock.followed else None)
    reasons: dict[str, list[str]] = {}
    for topic, why in (no_sensor | looked.unread).items():
        reasons.setdefault(why, []).append(topic)
    for why, topics in reasons.items():
        if len(topics) > _ALIKE:
            named = ", ".join(sorted(topics)[:_ALIKE])
            topics = [f"{named} and {len(topics) - _ALIKE} more topics"]
        for topic in topics:
            draft.leave(topic, why)
    for seen in looked.seen.values():
        for number, part in enumerate(_by_joints(seen), 1):
            draft.add(part, seen.topic if number == 1 else f"{seen.topic} {number}")
    draft.leave_other_clocks()
    robot = re.sub(r"[^A-Za-z0-9_-]+", "_", bag.path.stem).strip("_-") or "robot"
    episodes = {"rate_hz": draft.step_rate_hz()}
    about = {
        **draft.named(draft.about),
        "rate_hz": "steps per second: as often as the fastest sensor that is no window, at most 20",
    }
    if longest_s := _longest_s(bag.duration_s):
        episodes["max_s"] = longest_s
        about["max_s"] = (
            f"{bag.duration_s:.1f} s are cut into episodes of so many seconds, for whole ones are "
            "held out; with several recordings leave it out"
        )
    data = {
        "robot": robot,
        "sensors": draft.named(draft.sensors),
        "targets": draft.named(draft.targets),
        "episodes": episodes,
    }
    return Scaffold(data=data, about=about, left_out=tuple(sorted(draft.left_out)))


def _longest_s(duration_s: float) -> float:
    """Return how long episodes may be [s], so that a short recording has several; 0 = as usual."""
    part_s = max(_SHORTEST_S, math.ceil(10.0 * duration_s / _EPISODES) / 10.0)
    has_two = part_s + EpisodeRules.min_s <= duration_s
    return part_s if has_two and part_s < EpisodeRules.max_s else 0.0


def _no_sensor(topics: Mapping[str, BagTopic]) -> dict[str, str]:
    """Return the topics whose type or name says that they are no sensor, with the reason."""
    latents = [t.name for t in topics.values() if t.message_type == _LATENT]
    own = tuple(f"{node}/" for name in latents if (node := name.rpartition("/")[0]))
    found = {}
    for topic in topics.values():
        if topic.message_type.startswith(_OWN) or topic.name.startswith(own):
            found[topic.name] = "published by our own node"
        elif topic.message_type in _NO_SENSOR:
            found[topic.name] = f"{topic.message_type}: {_NO_SENSOR[topic.message_type]}"
    return found


class _Draft:
    """Gathers sensors and targets, each by its topic; once all are known they get names."""

    def __init__(self, ticks: Seen | None) -> None:
        """Begin; `ticks` is what was seen of /clock, where that is the node's clock."""
        self._ticks = ticks
        self.sensors: dict[str, Any] = {}
        self.targets: dict[str, Any] = {}
        self.about: dict[str, str] = {}
        self.left_out: list[str] = []
        self._rates_hz: dict[str, float] = {}
        self._clocks: dict[str, Clock] = {}

    def named(self, by_topic: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is known of topics by the names of their sensors and targets."""
        names = naming.distinct({t: _names(t) for t in (*self.sensors, *self.targets)})
        return {names[topic]: known for topic, known in by_topic.items()}

    def leave(self, topic: str, why: str) -> None:
        self.left_out.append(_shortened(f"{topic}: {why}"))

    def step_rate_hz(self) -> float:
        """Return how often there is something new; a sensor that is slower stands in more steps."""
        fastest = max(self._rates_hz.values(), default=0.0) or EpisodeRules.rate_hz
        return float(min(EpisodeRules.rate_hz, max(1, round(fastest))))

    def add(self, seen: Seen, key: str) -> None:
        """Take what was seen; its topic is its key, with a number where it is not the only one."""
        same = next((t for t in self.sensors if seen.topic.startswith(f"{t}/")), "")
        if not seen.rate_hz:
            self.leave(seen.topic, f"{seen.message_type}: one message in the whole recording")
        elif same:
            self.leave(seen.topic, f"the same as {same} in another form")
        elif len(self.sensors) == MOST_SENSORS:
            self.leave(seen.topic, f"a robot has at most {MOST_SENSORS} sensors")
        elif seen.message_type == _BOOL:
            self._target(seen)
        else:
            self._sensor(seen, key)

    def _target(self, seen: Seen) -> None:
        channel = {"topic": seen.topic, "type": seen.message_type}
        self.targets[seen.topic] = {"channel": channel, "select": ["data"], "binary": True}
        self._tell(seen, seen.topic, f"yes or no at {seen.rate_hz:.4g} Hz")

    def leave_other_clocks(self) -> None:
        """Leave out what no moment holds beside most sensors, for its stamps are of another clock.

        Of what is some seconds off a remark says so.

        Names of topics stand for the sensors, which have none yet.
        """
        clocks = {topic: self._clocks[topic] for topic in self.sensors}
        beside = {topic: self._clocks[topic] for topic in self.targets}
        simulated = self._ticks is not None
        for topic, why in of_another_clock(clocks, beside, simulated=simulated).items():
            self.leave(topic, why)
            for known in (self.sensors, self.targets, self.about, self._rates_hz):
                known.pop(topic, None)
        clocks, beside = ({t: self._clocks[t] for t in of} for of in (self.sensors, self.targets))
        for topic, odd in of_an_early_or_late_clock(clocks, beside).items():
            self.about[topic] += f"; {odd}"

    def _tell(self, seen: Seen, key: str, about: str) -> None:
        clock = self._clocks[key] = clock_of(seen, ticks=self._ticks)
        said = (about, seen.missing, counts_from(clock, self._ticks))
        self.about[key] = "; ".join(filter(None, said))

    def _sensor(self, seen: Seen, key: str) -> None:
        try:
            kind, found = _proposed(seen)
            channel = {"topic": seen.topic, "type": seen.message_type}
            entry = {"kind": kind.name, "channel": channel, **found.keys}
            sensor = parse_robot({"robot": "r", "sensors": {"sensor": entry}}).sensors[0]
        except SMVAEError as err:
            why = str(err)
            if isinstance(err, RobotError):
                why = why.removeprefix(f"{err.key}: ")
            self.leave(seen.topic, f"{seen.message_type}: {why}")
            return
        if why := misfit(sensor, seen):
            self.leave(seen.topic, f"{seen.message_type}: {why}")
            return
        self.sensors[key] = entry
        self._tell(seen, key, found.about)
        self.left_out += [f"{seen.topic}, {line}" for line in found.left_out]
        if not sensor.modality.family.is_window:
            self._rates_hz[key] = seen.rate_hz


def _by_joints(seen: Seen) -> list[Seen]:
    """Return what was seen of each publisher of joints: arm and gripper often share one topic."""
    if seen.message_type != JOINTS.message_type:
        return [seen]
    named = [frozenset(map(str, message.name)) for message in seen.messages]
    groups: list[frozenset[str]] = []
    for names in dict.fromkeys(named):
        near = [group for group in groups if group & names]
        groups = [*(group for group in groups if group not in near), names.union(*near)]
    if len(groups) == 1 or frozenset() in named:
        return [seen]
    found = []
    for group in groups:
        at = [n for n, names in enumerate(named) if names & group]
        received_ns = tuple(seen.received_ns[n] for n in at)
        messages = tuple(seen.messages[n] for n in at)
        period_ns = float(np.median(np.diff(received_ns))) if len(at) > 1 else 0.0
        rate_hz = 1e9 / period_ns if period_ns > 0.0 else 0.0
        found.append(replace(seen, messages=messages, received_ns=received_ns, rate_hz=rate_hz))
    return found


def _shortened(text: str) -> str:
    """Return a text in one line, a long one without its middle."""
    text = " ".join(text.split())
    if len(text) <= _LONGEST:
        return text
    begin, end = text[: _LONGEST - _END], text[-_END:]
    return f"{begin.rpartition(' ')[0]} ... {end.partition(' ')[2] or end}"


def _names(topic: str) -> naming.Candidates:
    """Return names of a topic's parts, the shortest that tells it first."""
    parts = naming.cleaned(topic.split("/"))
    told = len(parts)
    while told > 1 and _GENERIC.fullmatch(parts[told - 1]):
        told -= 1
    telling, rest = parts[:told], parts[told:]
    shortest = 2 if told > 1 and _SIDE.fullmatch(telling[-1]) else 1
    names = [naming.joined(telling[-count:]) for count in range(min(shortest, told), told + 1)]
    poor = [naming.joined([*telling, *rest[n:]]) for n in reversed(range(len(rest)))]
    return naming.Candidates(names, poor)


def _proposed(seen: Seen) -> tuple[Kind, Proposal]:
    """Return the first kind that takes the messages: one of their type before one of any.

    Raises:
        ConfigError: If none does; says why.
    """
    declarable = [kind for kind in kinds.kinds() if kind.keys is not None]
    for kind in sorted(declarable, key=lambda kind: kind.any_message):
        found = kind.propose(seen)
        if found is not None:
            return kind, found
    raise AssertionError("the last kind takes every message, or says why not")
