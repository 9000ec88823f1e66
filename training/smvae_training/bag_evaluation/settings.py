"""The node's settings for a bag: defaults, a parameter file, and what the command line changes."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from smvae_core.errors import ConfigError, MissingDependency
from smvae_core.modality import Modality, find
from smvae_core.settings import Settings, check, complete, table, unknown

logger = logging.getLogger(__name__)


def node_settings(
    modalities: tuple[Modality, ...],
    parameters: Mapping[str, Any] | None = None,
    *,
    topics: Sequence[str] = (),
    drop: Iterable[str] = (),
    trigger: str | None = None,
    max_rate_hz: float | None = None,
) -> Settings:
    """Return the settings of a node with these modalities; its topics are absolute.

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
    known, given = table(modalities), dict(parameters or {})
    for name, why in unknown(given, known).items():
        logger.warning("parameter %s is ignored: %s", name, why)
    asked = _pairs(modalities, topics)
    given |= {f"modalities.{name}.topic": topic for name, topic in asked.items()}
    given |= {f"modalities.{find(modalities, name).name}.enabled": False for name in drop}
    given |= {} if trigger is None else {"trigger": trigger}
    given |= {} if max_rate_hz is None else {"max_rate_hz": max_rate_hz}
    values = complete(known, given)
    settings = Settings.of(values, modalities)
    if len(settings.dropped) == len(modalities):
        names = ", ".join(settings.dropped)
        raise ConfigError(f"nothing is left to see: all of {names} are dropped")
    if reason := check(known, values):
        raise ConfigError(reason)
    resolved = {name: absolute(topic) for name, topic in settings.topics.items()}
    return dataclasses.replace(settings, topics=resolved, asked=frozenset(asked))


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
