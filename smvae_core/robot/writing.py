"""`Robot` -> robot.yaml: all of it with what was not said marked, or only what must be said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from smvae_core import settings
from smvae_core.files import write_text
from smvae_core.robot.declaration import (
    OF_CHANNEL,
    Channel,
    EpisodeRules,
    RecordedTarget,
    Robot,
    RobotError,
    Sensor,
)
from smvae_core.robot.reading import parse_robot

#: What is said of a line stands behind this column.
_COLUMN = 56
_PLAIN = re.compile(r"[A-Za-z_/~][\w/.~-]*")
_WORDS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")


def declaration(robot: Robot) -> dict[str, Any]:
    """Return everything that a robot is declared as, in the keys of robot.yaml."""
    return {
        "robot": robot.name,
        "sensors": {sensor.name: _sensor(sensor) for sensor in robot.sensors},
        "targets": {target.name: _target(target) for target in robot.targets},
        "episodes": asdict(robot.episodes),
    }


def _sensor(sensor: Sensor) -> dict[str, Any]:
    modality = sensor.modality
    known = {p.name: p.default for p in settings.of_kind(modality.family)}
    return {
        "kind": modality.kind,
        "channel": _channel(sensor.channel),
        **modality.family.declaration(modality),
        "unit": modality.unit,
        "likelihood": modality.likelihood,
        **{n: sensor.settings.get(n, v) for n, v in known.items() if n not in OF_CHANNEL},
        "optional": sensor.optional,
    }


def _target(target: RecordedTarget) -> dict[str, Any]:
    select = {"select": list(target.select)} if target.select else {}
    said = {"unit": target.unit, "binary": target.binary, "frame_id": target.frame_id}
    return {"channel": _channel(target.channel), **select, **said}


def _channel(channel: Channel) -> dict[str, Any]:
    """Return what a channel says; the rest has no value of its own."""
    qos = {name: value for name, value in vars(channel.qos).items() if value}
    said = {"topic": channel.topic, "type": channel.type, "qos": qos, "feature": channel.feature}
    return {name: value for name, value in said.items() if value}


def needed(robot: Robot) -> dict[str, Any]:
    """Return the declaration without what is the default anyway."""
    whole = declaration(robot)
    sensors = {s.name: _shortened(whole["sensors"][s.name], s) for s in robot.sensors}
    targets = {
        t.name: {k: v for k, v in whole["targets"][t.name].items() if (k, v) not in _OF_TARGETS}
        for t in robot.targets
    }
    usual = asdict(EpisodeRules())
    episodes = {k: v for k, v in whole["episodes"].items() if v != usual[k]}
    found = {"robot": robot.name, "sensors": sensors, "targets": targets, "episodes": episodes}
    return {name: value for name, value in found.items() if value}


_OF_TARGETS = (("unit", "1"), ("binary", False), ("frame_id", ""))


def _shortened(entry: Mapping[str, Any], sensor: Sensor) -> dict[str, Any]:
    """Return the keys without which another sensor would be declared."""
    kept = {k: v for k, v in entry.items() if k not in settings_of(sensor) - {*sensor.settings}}
    for name in entry:
        if name in ("kind", "channel", *sensor.settings) or name not in kept:
            continue
        trial = {k: v for k, v in kept.items() if k != name}
        try:
            read = parse_robot({"robot": "r", "sensors": {sensor.name: trial}}).sensors[0]
        except RobotError:
            continue
        if read == sensor:
            kept = trial
    return kept


def settings_of(sensor: Sensor) -> set[str]:
    """Return the node's parameters that a sensor's declaration may say."""
    return {p.name for p in settings.of_kind(sensor.modality.family)} - {*OF_CHANNEL}


def to_yaml(robot: Robot, said: Mapping[str, Any] | None = None) -> str:
    """Return a robot as robot.yaml, which reads as the same robot.

    Args:
        robot: What is written.
        said: What a file said (`reading.load_yaml`): everything is written, and what it did not
            say is marked. None = only what must be said is written.
    """
    whole = needed(robot) if said is None else declaration(robot)
    return "\n".join(_lines(whole, said)) + "\n"


def _lines(whole: Mapping[str, Any], said: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield the lines: one per key of a sensor, one per target."""
    yield f"robot: {flow(whole['robot'])}"
    yield "sensors:"
    for name, entry in whole["sensors"].items():
        yield f"  {name}:"
        for key, value in entry.items():
            yield _marked(f"    {key}: {flow(value)}", said, ("sensors", name, key))
    if whole.get("targets"):
        yield "targets:"
        for name, entry in whole["targets"].items():
            yield f"  {name}: {flow(entry)}"
    if whole.get("episodes"):
        yield "episodes:"
        for key, value in whole["episodes"].items():
            yield _marked(f"  {key}: {flow(value)}", said, ("episodes", key))


def _marked(line: str, said: Mapping[str, Any] | None, path: tuple[str, ...]) -> str:
    """Return a line, with a mark where a file did not say it."""
    level: Any = said
    for name in path if said is not None else ():
        if not isinstance(level, Mapping) or name not in level:
            return f"{line:{_COLUMN}}  # default"
        level = level[name]
    return line


def flow(value: Any) -> str:
    """Return plain data in one line of YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


def write_yaml(robot: Robot, path: Path) -> None:
    """Write a robot as robot.yaml, atomically; `read_robot` gives the same robot."""
    write_text(path, to_yaml(robot))
