"""robot.yaml -> `Robot`: every key is known, or an error that names it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from smvae_core import kinds, settings
from smvae_core.declared_key import number, text, texts, whole
from smvae_core.errors import ConfigError, MissingDependency, did_you_mean, one_line
from smvae_core.kinds import Kind
from smvae_core.modality import Modality
from smvae_core.parameter import Parameter
from smvae_core.robot.declaration import (
    OF_CHANNEL,
    Channel,
    EpisodeRules,
    Qos,
    RecordedTarget,
    Robot,
    RobotError,
    Sensor,
)
from smvae_core.what_is import what_is

#: Type whose numbers stand in a row as a column's do, where a kind has none of its own.
COLUMN = "std_msgs/msg/Float32MultiArray"
#: Keys of every sensor, beside its kind's own and the node's parameters.
OF_SENSOR = ("kind", "channel", "unit", "likelihood", "optional")
#: Units of what ROS's messages have in SI (REP 103).
_NOT_SI = re.compile(
    r"(?<![A-Za-z])(deg|degrees?|rpm|g|[mcku]m|[mun]s|h|min|in|ft|lbf?|kgf)(?![A-Za-z])|°"
)


def read_robot(path: Path) -> Robot:
    """Return the robot that a file declares.

    Raises:
        RobotError: If it cannot be read, has a key that nobody knows, or a value that cannot be.
        MissingDependency: If ruamel.yaml or rosbags is not installed.
    """
    return parse_robot(load_yaml(path), path)


def load_yaml(path: Path) -> dict[str, Any]:
    """Return a file's content as plain data; two equal keys are an error.

    Raises:
        RobotError: If it cannot be read, or is no mapping.
        MissingDependency: If ruamel.yaml, which rosbags brings, is not installed.
    """
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError
    except ImportError as err:
        raise MissingDependency("rosbags", "bags") from err
    try:
        loaded = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as err:
        line = f"line {err.problem_mark.line + 1}: " if err.problem_mark else ""
        problem = str(err.problem).partition(" with value ")[0]  # of a key that stands there twice
        raise RobotError(path, "", f"cannot be read: {line}{problem}") from err
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as err:
        raise RobotError(path, "", f"expected a robot.yaml, got {what_is(path)}") from err
    except (OSError, ValueError, YAMLError) as err:
        what = err.strerror if isinstance(err, OSError) and err.strerror else one_line(err)
        raise RobotError(path, "", f"cannot be read: {what}") from err
    if not isinstance(loaded, dict):
        raise RobotError(path, "", "declares nothing; the first line is, for one, robot: my_arm")
    return loaded


def parse_robot(data: Mapping[str, Any], path: Path | str = "") -> Robot:
    """Return the robot of plain data, as a file holds them.

    Raises:
        RobotError: See `read_robot`; `path` is named.
    """
    top = _Keys(path, "", data, ("robot", "sensors", "targets", "episodes"))
    sensors = top.below("sensors")
    targets = top.below("targets", {})
    with top.naming(""):
        return Robot(
            name=top.read("robot", text),
            sensors=tuple(_sensor(sensors, name) for name in sensors.data),
            targets=tuple(_target(targets, name) for name in targets.data),
            episodes=_episodes(top.below("episodes", {}, known=_EPISODES)),
        )


class _Keys:
    """One mapping of the file, whose keys are known."""

    def __init__(
        self, path: Path | str, key: str, data: Any, known: Iterable[str] | None = None
    ) -> None:
        self.path, self.key = path, key
        if not isinstance(data, Mapping):
            raise self.error("", f"expected keys with values, got {data!r}")
        self.data = data
        for name in data:
            if not isinstance(name, str):
                raise self.error("", f"the key {name!r} is no name; write '{name}' in quotes")
        if known is not None:
            self.refuse_unknown(known)

    def refuse_unknown(self, known: Iterable[str]) -> None:
        known = tuple(known)
        for name in self.data:
            if name not in known:
                what = f"no such key; there are {', '.join(known)}.{did_you_mean(name, known)}"
                raise self.error(name, what)

    def error(self, name: str, what: str) -> RobotError:
        return RobotError(self.path, f"{self.key}.{name}".strip("."), what)

    @contextmanager
    def naming(self, name: str) -> Iterator[None]:
        """Let an error of the body name a key, unless it names one already."""
        try:
            yield
        except RobotError:
            raise
        except ConfigError as err:
            raise self.error(name, str(err)) from err

    def read(self, name: str, of: Callable[[Any], Any], *default: Any) -> Any:
        """Return the value of a key, or a default as it is."""
        if name not in self.data:
            if default:
                return default[0]
            raise self.error(name, "must be said")
        try:
            return of(self.data[name])
        except ValueError as err:
            raise self.error(name, f"expected {err}, got {self.data[name]!r}") from err

    def below(self, name: str, *default: Any, known: Iterable[str] | None = None) -> _Keys:
        data = self.read(name, lambda value: value, *default[:1])
        return _Keys(self.path, f"{self.key}.{name}".strip("."), data, known)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("text")
    return value


def _unit(value: Any) -> str:
    """Return a unit; 1 is one too."""
    return "1" if value == 1 else text(value)


def _sensor(sensors: _Keys, name: str) -> Sensor:
    of = sensors.below(name)
    family = _kind(of)
    parameters = {p.name: p for p in settings.of_kind(family) if p.name not in OF_CHANNEL}
    of.refuse_unknown((*OF_SENSOR, *(k.name for k in family.keys or ()), *parameters))
    channel = _channel(of.below("channel"))
    said = {p.name: _setting(of, p) for p in parameters.values() if p.name in of.data}
    modality = _modality(of, name, family, channel)
    optional = of.read("optional", _flag, False)
    return Sensor(modality=modality, channel=channel, settings=said, optional=optional)


def _kind(of: _Keys) -> Kind:
    """Return the kind that is declared, one of those that a robot can have."""
    there = {k.name: k for k in kinds.kinds() if k.keys is not None}
    name = of.read("kind", text)
    if name not in there:
        hint = did_you_mean(name, there)
        raise of.error("kind", f"no robot has a '{name}'; there are {', '.join(there)}.{hint}")
    return there[name]


def _modality(of: _Keys, name: str, family: Kind, channel: Channel) -> Modality:
    values = {key.name: of.read(key.name, key.read, key.usual()) for key in family.keys or ()}
    is_column = not channel.topic
    with of.naming(""):
        made = family.declare(values, None if is_column else channel.type)
        unit = of.read("unit", _unit, made["unit"])
        if not is_column and made["unit"] != "1" and (wrong := _NOT_SI.search(unit)):
            raise of.error(
                "unit",
                f"'{unit}' is not SI ({wrong.group()}): these messages are in {made['unit']} and "
                "are not converted; leave unit out",
            )
        modality = Modality(
            name=name,
            kind=family.name,
            **{**made, "unit": unit},
            likelihood=of.read("likelihood", text, ""),
            topic=channel.topic,
            message_type=channel.type
            or ("" if channel.topic or not family.any_message else COLUMN),
        )
    if channel.topic:
        with of.naming("channel.type"):
            modality.converter()
    return modality


def _channel(of: _Keys) -> Channel:
    of.refuse_unknown(f.name for f in fields(Channel))
    qos = of.below("qos", {}, known=[f.name for f in fields(Qos)])
    with qos.naming(""):
        declared = Qos(
            reliability=qos.read("reliability", text, ""), depth=qos.read("depth", whole, 0)
        )
    with of.naming(""):
        return Channel(
            qos=declared, **{n: of.read(n, text, "") for n in ("topic", "type", "feature")}
        )


#: Of each type that a parameter of the node has.
_READERS: dict[type, Callable[[Any], Any]] = {
    bool: _flag,
    int: whole,
    float: number,
    str: _string,
}


def _setting(of: _Keys, parameter: Parameter) -> bool | int | float | str:
    """Return the value of one of the node's parameters, in its type; 30 is 30.0 here."""
    value: bool | int | float | str = of.read(parameter.name, _READERS[type(parameter.default)])
    low, high = parameter.low, parameter.high
    if low is not None and high is not None and not low <= value <= high:  # type: ignore[operator]
        raise of.error(parameter.name, f"must lie in [{low:g}, {high:g}], got {value:g}")
    return value


def _target(targets: _Keys, name: str) -> RecordedTarget:
    of = targets.below(name, known=[f.name for f in fields(RecordedTarget) if f.name != "name"])
    with of.naming(""):
        return RecordedTarget(
            name=name,
            channel=_channel(of.below("channel")),
            select=of.read("select", texts, ()),
            unit=of.read("unit", _unit, "1"),
            binary=of.read("binary", _flag, False),
            frame_id=of.read("frame_id", _string, ""),
        )


#: Every key of episodes is a number but two.
_EPISODES = {f.name: number for f in fields(EpisodeRules)} | {"split_on": text, "trigger": text}


def _episodes(of: _Keys) -> EpisodeRules:
    said = {n: of.read(n, read) for n, read in _EPISODES.items() if n in of.data}
    with of.naming(""):
        return EpisodeRules(**said)
