"""The node's settings for a bag: defaults, a parameter file, and what the command line changes."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from smvae_core.errors import ConfigError
from smvae_core.modality import Modality, find
from smvae_core.settings import Settings, check, complete, table, unknown

logger = logging.getLogger(__name__)


def node_settings(
    modalities: tuple[Modality, ...],
    parameters: Mapping[str, Any] | None = None,
    *,
    declared: Mapping[str, Any] | None = None,
    topics: Sequence[str] = (),
    drop: Iterable[str] = (),
    trigger: str | None = None,
    max_rate_hz: float | None = None,
    memory_s: float | None = None,
    predict_ahead_s: float | None = None,
    namespace: str = "",
    there: Collection[str] = (),
) -> Settings:
    """Return the settings of a node with these modalities; its topics are absolute.

    Args:
        modalities: Of the bundle.
        parameters: By full name, see `parameter_files`; the defaults otherwise.
        declared: Defaults that the bundle's manifest gives, see `Manifest.parameters`.
        topics: 'NAME=TOPIC' each, over the parameters.
        drop: Modalities that are left out, as `modalities.<name>.enabled: false` does.
        trigger: Over the parameters.
        max_rate_hz: Over the parameters.
        memory_s: Over the parameters.
        predict_ahead_s: Over the parameters.
        namespace: Of the node, e.g. '/left'.
        there: Topics of the bag: one that it has in the namespace is read from there.

    Raises:
        ConfigError: If a value cannot be used, or nothing would be left.
        UnknownModality: If a name is none of the bundle's.
    """
    known, given = table(modalities, declared), dict(parameters or {})
    for name, why in unknown(given, known).items():
        logger.warning("parameter %s is ignored: %s", name, why)
    asked = _pairs(modalities, topics)
    given |= {f"modalities.{name}.topic": topic for name, topic in asked.items()}
    given |= {f"modalities.{find(modalities, name).name}.enabled": False for name in drop}
    given |= {} if trigger is None else {"trigger": trigger}
    given |= {} if max_rate_hz is None else {"max_rate_hz": max_rate_hz}
    given |= {} if memory_s is None else {"memory_s": memory_s}
    given |= {} if predict_ahead_s is None else {"predict_ahead_s": predict_ahead_s}
    values = complete(known, given)
    settings = Settings.of(values, modalities)
    if len(settings.dropped) == len(modalities):
        names = ", ".join(settings.dropped)
        raise ConfigError(f"nothing is left to see: all of {names} are dropped")
    if reason := check(known, values):
        raise ConfigError(reason)
    resolved = {name: absolute(topic, namespace, there) for name, topic in settings.topics.items()}
    return dataclasses.replace(settings, topics=resolved, asked=frozenset(asked))


def absolute(topic: str, namespace: str = "", there: Collection[str] = ()) -> str:
    """Return a topic as a node resolves it: in its namespace, if the bag has it there."""
    if topic.startswith("/"):
        return topic
    inside = f"{namespace}/{topic}"
    return inside if inside in there else f"/{topic}"


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
