"""Which topics of a bag feed which modality, and how their messages become samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from smvae_core.bags import BagError, listed
from smvae_core.fusion.source import Source
from smvae_core.modality import Modality
from smvae_core.reads import first_clash
from smvae_core.settings import Settings
from smvae_datasets.recordings.convert import Recording


@dataclass(frozen=True, kw_only=True)
class Input:
    """One modality's topic."""

    modality: Modality
    topic: str
    message_type: str
    messages: int
    source: Source
    """How its messages are read."""


def find_inputs(
    bag: Recording, modalities: tuple[Modality, ...], settings: Settings
) -> list[Input]:
    """Return the inputs that an open recording holds; a modality may be missing.

    A dropped modality is only compared with, so one that cannot be read is left out.

    Raises:
        BagError: If the bag is empty, a topic that was asked for is missing, no topic is known, or
            a topic is of a type that its modality does not take.
    """
    if not any(topic.messages for topic in bag.topics.values()):
        raise BagError(bag.path, f"it holds no messages at all; its topics: {listed(bag.topics)}")
    found: list[Input] = []
    for modality in sorted(modalities, key=lambda m: m.name in settings.dropped):
        topic = settings.topics[modality.name]
        if problem := _problem(bag, modality, settings, found):
            if modality.name not in settings.dropped:
                raise BagError(bag.path, problem)
        elif topic in bag.topics and bag.topics[topic].messages:
            there = bag.topics[topic]
            conversion = modality.converter(there.message_type)
            source = replace(settings.sources[modality.name], converter=conversion)
            found.append(
                Input(
                    modality=modality,
                    topic=topic,
                    message_type=there.message_type,
                    messages=there.messages,
                    source=source,
                )
            )
    if not found:
        wanted = ", ".join(f"{name}={topic}" for name, topic in settings.topics.items())
        raise BagError(
            bag.path,
            f"none of the topics {wanted} is in it; it has {listed(bag.topics)}; use --topics",
        )
    return found


def by_topic(inputs: Iterable[Input]) -> dict[str, list[Input]]:
    """Return the inputs of each topic: several, where they read different numbers of a message."""
    found: dict[str, list[Input]] = {}
    for each in inputs:
        found.setdefault(each.topic, []).append(each)
    return found


def _problem(bag: Recording, modality: Modality, settings: Settings, taken: list[Input]) -> str:
    """Return why a modality cannot be read from its topic, or ''; nothing there is no problem."""
    name, topic = modality.name, settings.topics[modality.name]
    there = bag.topics.get(topic)
    if there is None or not there.messages:
        return f"nothing on {topic}, it has {listed(bag.topics)}" if name in settings.asked else ""
    accepted = modality.message_types
    if there.message_type not in accepted and not modality.family.any_message:
        return (
            f"{topic} holds {there.message_type or 'what no schema describes'}, {name} "
            f"({modality.kind}) takes "
            f"{' or '.join(accepted)}; name another topic by --topics {name}=TOPIC"
        )
    every = [*((i.topic, i.modality) for i in taken), (topic, modality)]
    return first_clash((place, m.family.reads(m)) for place, m in every)
