"""The node's settings for a bag: defaults, a parameter file, and what the command line changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from smvae_core.errors import ConfigError, MissingDependency
from smvae_core.fusion.engine import Pace
from smvae_core.fusion.rules import FusionRule
from smvae_core.messages import ConversionOptions
from smvae_core.modality import Modality, find
from smvae_training.evaluate.live.bag import input_topic

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """How the node would be configured."""

    pace: Pace
    rules: dict[str, FusionRule]
    options: dict[str, ConversionOptions]
    topics: dict[str, str]
    """Modality -> absolute topic."""
    frame_ids: dict[str, str]
    """Modality -> expected frame; '' = any."""
    asked: frozenset[str] = frozenset()
    """Modalities whose topic somebody gave, so that it must exist."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """Modalities that are never fused."""
        return tuple(name for name, rule in self.rules.items() if not rule.enabled)


def node_settings(
    modalities: tuple[Modality, ...],
    parameters: Mapping[str, Any] | None = None,
    *,
    topics: Sequence[str] = (),
    drop: Iterable[str] = (),
    trigger: str | None = None,
    max_rate_hz: float | None = None,
) -> NodeSettings:
    """Return the settings of a node with these modalities.

    Args:
        modalities: Of the bundle.
        parameters: By full name, see `read_parameters`; the node's defaults otherwise.
        topics: 'NAME=TOPIC' each, over the parameters.
        drop: Modalities that are left out, as `modalities.<name>.enabled: false` does.
        trigger: Over the parameters.
        max_rate_hz: Over the parameters.

    Raises:
        ConfigError: If a value cannot be used, or nothing would be left.
        UnknownModality: If a name is none of the bundle's.
    """
    values = dict(parameters or {})
    pace = _fill(Pace(), values, "")
    pace = dataclasses.replace(
        pace,
        trigger=pace.trigger if trigger is None else trigger,
        max_rate_hz=pace.max_rate_hz if max_rate_hz is None else max_rate_hz,
    )
    rules, options, found = {}, {}, {}
    for modality in modalities:
        prefix = f"modalities.{modality.name}."
        rules[modality.name] = _fill(FusionRule(), values, prefix)
        options[modality.name] = _fill(ConversionOptions(), values, prefix)
        found[modality.name] = absolute(values.get(f"{prefix}topic") or input_topic(modality))
    given = _pairs(modalities, topics)
    for name in drop:
        find(modalities, name)
        rules[name] = dataclasses.replace(rules[name], enabled=False)
    if not any(rule.enabled for rule in rules.values()):
        raise ConfigError(f"nothing is left to see: all of {', '.join(rules)} are dropped")
    return NodeSettings(
        pace=pace,
        rules=rules,
        options=options,
        topics=found | given,
        frame_ids={
            m.name: str(values.get(f"modalities.{m.name}.frame_id", "")) for m in modalities
        },
        asked=frozenset(given),
    )


def read_parameters(path: Path) -> dict[str, Any]:
    """Return a ROS parameter file such as perception.yaml by full names, '/**' first.

    Raises:
        ConfigError: If it cannot be read or is not a parameter file.
        MissingDependency: If ruamel.yaml, which rosbags brings, is not installed.
    """
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError
    except ImportError as err:
        raise MissingDependency("rosbags", "bags") from err
    try:
        nodes = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError) as err:
        raise ConfigError(f"parameter file {path} cannot be read: {err}") from err
    found: dict[str, Any] = {}
    entries = sorted(
        (nodes if isinstance(nodes, dict) else {}).items(), key=lambda e: e[0] != "/**"
    )
    for name, entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("ros__parameters"), dict):
            raise ConfigError(f"parameter file {path}: '{name}' has no ros__parameters below it")
        found |= _flat(entry["ros__parameters"])
    if not found:
        raise ConfigError(f"parameter file {path} holds no parameters")
    return found


def absolute(topic: str) -> str:
    """Return a topic as a node without a namespace resolves it."""
    return topic if topic.startswith("/") else f"/{topic}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _fill(settings: T, values: Mapping[str, Any], prefix: str) -> T:
    """Return a dataclass with the parameters of its fields' names.

    As in the node's table, 0 stands for a default of None, and names in one text for several.
    """
    found: dict[str, Any] = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        name = prefix + field.name
        if name not in values:
            continue
        value, default = values[name], getattr(settings, field.name)
        if isinstance(default, tuple) and isinstance(value, str):
            value = tuple(filter(None, (word.strip() for word in value.split(","))))
        kinds = (int, float) if default is None or isinstance(default, float) else (type(default),)
        if not isinstance(value, kinds) or isinstance(value, bool) is not isinstance(default, bool):
            raise ConfigError(f"parameter {name}: expected a {kinds[-1].__name__}, got {value!r}")
        found[field.name] = (value or None) if default is None else value
    return dataclasses.replace(settings, **found)  # type: ignore[type-var]


def _pairs(modalities: tuple[Modality, ...], topics: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in topics:
        name, equals, topic = text.partition("=")
        if not equals or not topic:
            raise ConfigError(
                f"topics: expected NAME=TOPIC such as 'rgb=/camera/image', got '{text}'"
            )
        found[find(modalities, name).name] = absolute(topic)
    return found
