"""Which topics of a bag feed which modality, and how their messages become samples."""

from __future__ import annotations

from dataclasses import dataclass, replace

from smvae_core.bags import Bag, BagError
from smvae_core.fusion.source import Source
from smvae_core.messages import MESSAGE_TYPES, converter
from smvae_core.modality import Modality
from smvae_core.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Input:
    """One modality's topic."""

    modality: Modality
    topic: str
    message_type: str
    messages: int
    source: Source
    """How its messages are read."""


def find_inputs(bag: Bag, modalities: tuple[Modality, ...], settings: Settings) -> dict[str, Input]:
    """Return the inputs that an open bag holds, by topic; a modality may be missing.

    Raises:
        BagError: If a topic that was asked for is missing, no topic is known, a topic is of a type
            that its modality does not take, or there is no image to compare with.
    """
    found: dict[str, Input] = {}
    for modality in modalities:
        topic = settings.topics[modality.name]
        there = bag.topics.get(topic)
        if there is None or not there.messages:
            if modality.name in settings.asked:
                raise BagError(bag.path, f"nothing on {topic}, it has {bag.listed()}")
            continue
        if topic in found:
            both = f"{found[topic].modality.name} and {modality.name}"
            raise BagError(bag.path, f"{both} cannot both be read from {topic}")
        accepted = MESSAGE_TYPES[modality.kind]
        if there.message_type not in accepted:
            raise BagError(
                bag.path,
                f"{topic} holds {there.message_type}, {modality.name} ({modality.kind}) takes "
                f"{' or '.join(accepted)}; name another topic by --topics {modality.name}=TOPIC",
            )
        conversion = converter(modality.kind, there.message_type)
        found[topic] = Input(
            modality=modality,
            topic=topic,
            message_type=there.message_type,
            messages=there.messages,
            source=replace(settings.sources[modality.name], converter=conversion),
        )
    wanted = ", ".join(f"{name}={topic}" for name, topic in settings.topics.items())
    if not found:
        raise BagError(
            bag.path, f"none of the topics {wanted} is in it; it has {bag.listed()}; use --topics"
        )
    if not any(i.modality.is_image for i in found.values()):
        images = [settings.topics[m.name] for m in modalities if m.is_image]
        raise BagError(
            bag.path,
            f"no image in it ({', '.join(images)}), so predictions have nothing to be compared "
            f"with; it has {bag.listed()}",
        )
    return found
