"""What a robot's declaration says. Data only; a bundle's manifest carries it whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from smvae_core import settings
from smvae_core.errors import ConfigError, SMVAEError, did_you_mean
from smvae_core.modality import Modality, find
from smvae_core.reads import first_clash

#: Sensors that a robot may have.
MOST_SENSORS = 32
#: Trigger of steps that is no sensor.
TIMER = "timer"
Reliability = Literal["", "best_effort", "reliable"]
SplitOn = Literal["gap", "file"]
#: Parameters of the node that stand in a sensor's channel.
OF_CHANNEL = ("topic", "message_type")
_TOPIC = re.compile(r"(~?/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)
_TYPE = re.compile(r"[a-z]\w*/msg/[A-Z]\w*", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][\w-]*")
_TARGET = re.compile(r"[a-z][a-z0-9_]*")


class RobotError(SMVAEError, ValueError):
    """A robot's declaration that cannot be used; names file, key and what would be right."""

    def __init__(self, path: Path | str, key: str, what: str) -> None:
        """Build the message.

        Args:
            path: The file; '' = none.
            key: Path of the key, e.g. 'sensors.wrist.size'; '' = the whole file.
            what: What is wrong, and what would be right.
        """
        self.key = key
        super().__init__(": ".join(filter(None, (str(path), key, what))))


@dataclass(frozen=True, kw_only=True)
class Qos:
    """How a topic is subscribed to."""

    reliability: Reliability = ""
    """'' = the node's own, best effort, which hears every publisher."""
    depth: int = 0
    """Messages that the middleware queues; 0 = the kind's own."""

    def __post_init__(self) -> None:
        if self.reliability not in get_args(Reliability):
            raise ConfigError(
                f"reliability must be best_effort or reliable, got '{self.reliability}'"
            )
        if not 0 <= self.depth <= 10_000:
            raise ConfigError(f"depth must lie in [0, 10000], got {self.depth}")


@dataclass(frozen=True, kw_only=True)
class Channel:
    """Where samples come from: a topic of ROS, a column of a LeRobot data set, or both."""

    topic: str = ""
    type: str = ""
    """ROS type; '' = the kind's first."""
    qos: Qos = field(default_factory=Qos)
    feature: str = ""
    """Column of a LeRobot data set, e.g. 'observation.state'."""

    def __post_init__(self) -> None:
        if self.topic and not _TOPIC.fullmatch(self.topic):
            raise ConfigError(f"topic '{self.topic}' is no name of a topic, such as /joint_states")
        if self.type and not _TYPE.fullmatch(self.type):
            raise ConfigError(f"type '{self.type}' is no message type, such as std_msgs/msg/Bool")
        if not (self.topic or self.feature):
            raise ConfigError("topic or feature must be said, such as {topic: /joint_states}")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Channel:
        return cls(**{**data, "qos": Qos(**data["qos"])})


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """One sensor: what the model is given of it, where from, and the node's settings of it."""

    modality: Modality
    channel: Channel
    settings: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    """Parameters of the node that the declaration says, without prefix."""
    optional: bool = False
    """Whether a recording without it is used all the same."""

    @property
    def name(self) -> str:
        return self.modality.name

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sensor:
        return cls(
            modality=Modality.from_json(data["modality"]),
            channel=Channel.from_json(data["channel"]),
            settings=dict(data["settings"]),
            optional=data["optional"],
        )


@dataclass(frozen=True, kw_only=True)
class RecordedTarget:
    """A recorded signal that probes of the latent are fitted to; never an input."""

    name: str
    channel: Channel
    select: tuple[str, ...] = ()
    """Numbers of the message, such as pose.position; empty = all of a LeRobot column."""
    unit: str = "1"
    binary: bool = False
    """Whether it is yes or no."""
    frame_id: str = ""
    """Frame that its numbers are in; empty = none, or not said."""

    def __post_init__(self) -> None:
        if not _TARGET.fullmatch(self.name):
            raise ConfigError(
                f"target '{self.name}': a name is a small letter and then small letters, digits "
                "and underscores, such as 'hole'"
            )
        if not self.select and not self.channel.feature:
            raise ConfigError("select must be said, such as select: [data]")

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        if not self.frame_id:  # so that runtimes of before it read a declaration without
            data.pop("frame_id")
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RecordedTarget:
        channel = Channel.from_json(data["channel"])
        return cls(**{**data, "channel": channel, "select": tuple(data["select"])})


@dataclass(frozen=True, kw_only=True)
class EpisodeRules:
    """How recordings become episodes."""

    rate_hz: float = 20.0
    """Steps per second."""
    trigger: str = TIMER
    """What steps are taken by: 'timer', or a sensor, with whose samples they are taken, at most
    `rate_hz` of them."""
    split_on: SplitOn = "gap"
    """'gap' = where nothing came for `gap_s`; 'file' = each recording is one episode."""
    gap_s: float = 2.0
    min_s: float = 1.0
    """Shorter episodes are left out."""
    max_s: float = 60.0
    """With 'gap': a longer one is cut, so that one long recording can be held out in part; 0 =
    never."""
    held_out: float = 0.2
    """Share of the episodes that is kept for evaluation."""

    def __post_init__(self) -> None:
        if self.split_on not in get_args(SplitOn):
            raise ConfigError(
                f"split_on must be {' or '.join(get_args(SplitOn))}, got '{self.split_on}'"
            )
        limits = {
            "rate_hz": (0.01, 1000.0),
            "gap_s": (0.001, 3600.0),
            "min_s": (0.0, 3600.0),
            "max_s": (0.0, 86_400.0),
            "held_out": (0.0, 0.9),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"{name} must lie in [{low:g}, {high:g}], got {getattr(self, name):g}"
                )
        if self.split_on == "gap" and 0 < self.max_s < self.min_s:
            raise ConfigError(
                f"max_s {self.max_s:g} is below min_s {self.min_s:g}: no episode would be long "
                "enough; lower min_s, or raise max_s"
            )


@dataclass(frozen=True, kw_only=True)
class Robot:
    """One robot, whole."""

    name: str
    sensors: tuple[Sensor, ...]
    targets: tuple[RecordedTarget, ...] = ()
    episodes: EpisodeRules = field(default_factory=EpisodeRules)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"robot '{self.name}': a name is of letters, digits, - and _, such as my_arm"
            )
        if not 1 <= len(self.sensors) <= MOST_SENSORS:
            raise ConfigError(f"a robot has 1 to {MOST_SENSORS} sensors, got {len(self.sensors)}")
        names = [s.name for s in self.sensors] + [t.name for t in self.targets]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"'{name}' names two of the sensors and targets")
        triggers = (TIMER, *(s.name for s in self.sensors if s.settings.get("enabled", True)))
        if (trigger := self.episodes.trigger) not in triggers:
            raise ConfigError(
                f"episodes.trigger must be one of {', '.join(triggers)}, got '{trigger}'."
                f"{did_you_mean(trigger, triggers)}"
            )
        known = settings.table(self.modalities)
        if why := settings.check(known, settings.complete(known, self.parameters()), str):
            raise ConfigError(why)
        columns = [(s.channel.feature, s.modality.family.reads(s.modality)) for s in self.sensors]
        if why := first_clash(columns):
            raise ConfigError(why)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return tuple(sensor.modality for sensor in self.sensors)

    def require(self, modalities: tuple[Modality, ...]) -> None:
        """Refuse a model of other sensors; channels and settings may be other ones.

        Raises:
            UnknownModality: If one is not declared.
            ConfigError: If one is declared as something else.
        """
        for modality in modalities:
            declared = find(self.modalities, modality.name)
            for what in ("kind", "shape", "fields", "options", "unit"):
                here, model = getattr(declared, what), getattr(modality, what)
                if here != model:
                    raise ConfigError(
                        f"robot '{self.name}' declares {modality.name} with {what} {here}, the "
                        f"model was trained with {model}"
                    )

    def channels_of(self, modalities: tuple[Modality, ...]) -> tuple[Modality, ...]:
        """Return a model's sensors with the topics and types that are declared of them."""
        channels = {s.name: s.channel for s in self.sensors if s.channel.topic}
        return tuple(
            replace(m, topic=c.topic, message_type=c.type) if (c := channels.get(m.name)) else m
            for m in modalities
        )

    def parameters(self) -> dict[str, bool | int | float | str]:
        """Return what it says of the node's parameters, by full name."""
        return {
            f"modalities.{sensor.name}.{name}": value
            for sensor in self.sensors
            for name, value in (*_of_channel(sensor.channel), *sensor.settings.items())
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "sensors": [
                {**asdict(s), "modality": s.modality.to_json(), "settings": dict(s.settings)}
                for s in self.sensors
            ],
            "targets": [target.to_json() for target in self.targets],
            "episodes": asdict(self.episodes),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Robot:
        """Rebuild a robot.

        Raises:
            ConfigError: If a value cannot be.
            KeyError, TypeError: If something is missing, or too much.
        """
        return cls(
            name=data["name"],
            sensors=tuple(Sensor.from_json(s) for s in data["sensors"]),
            targets=tuple(RecordedTarget.from_json(t) for t in data["targets"]),
            episodes=EpisodeRules(**data["episodes"]),
        )


def _of_channel(channel: Channel) -> list[tuple[str, str]]:
    said = zip(OF_CHANNEL, (channel.topic, channel.type), strict=True)
    return [(name, value) for name, value in said if value]
