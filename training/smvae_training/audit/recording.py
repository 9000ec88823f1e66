"""The latents of one node in a bag, and what it said of its model and settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from smvae_core.bags import Bag, BagError, decoded
from smvae_core.errors import did_you_mean
from smvae_training.evaluate.live.bag import Latent, read_latent

LATENT_TYPE, INFO_TYPE = "smvae_msgs/msg/LatentState", "smvae_msgs/msg/ModelInfo"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What one node published."""

    topic: str
    """Of its latents."""
    latents: list[Latent]
    models: dict[int, str] = field(default_factory=dict)
    """Generation -> SHA-256 of the bundle, where ModelInfo was recorded."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Parameters in force, by full name, as the last ModelInfo said them."""

    @property
    def node(self) -> str:
        """Full name of the node."""
        return self.topic.rpartition("/")[0]


def latent_topic(bag: Bag, asked: str = "") -> str:
    """Return the topic of the latents in an open bag: the one asked for, else the only one.

    Raises:
        BagError: If there is none, or several and none was asked for.
    """
    found = [t.name for t in bag.topics.values() if t.message_type == LATENT_TYPE and t.messages]
    if asked:
        topic = f"/{asked.strip('/')}"
        if topic in found:
            return topic
        have = f"it has latents on {', '.join(found)}" if found else f"it has {bag.listed()}"
        raise BagError(bag.path, f"no latents on {topic}; {have}.{did_you_mean(topic, found)}")
    if not found:
        what = f"no {LATENT_TYPE} in it: record the node's ~/latent too; it has {bag.listed()}"
        raise BagError(bag.path, what)
    if len(found) > 1:
        raise BagError(bag.path, f"latents of several nodes: say which by --latent {found[0]}")
    return found[0]


def read_recording(bag: Bag, topic: str, advance: Callable[[int], None]) -> Recording:
    """Read the latents of a topic and the ModelInfo beside it.

    Raises:
        BagError: If the bag is damaged.
    """
    info = f"{topic.rpartition('/')[0]}/model_info"
    wanted = [topic]
    if info in bag.topics and bag.topics[info].message_type == INFO_TYPE:
        wanted.append(info)
    latents: list[Latent] = []
    models: dict[int, str] = {}
    settings: dict[str, Any] = {}
    for name, received_ns, message in decoded(bag, wanted, lambda *_: None):
        if name == topic:
            latents.append(read_latent(message, received_ns))
            advance(1)
            continue
        models[int(message.generation)] = str(message.sha256)
        said = getattr(message, "settings", ())  # recordings before 0.1.0 have none
        settings = {str(s.name): json.loads(s.value) for s in said}
    return Recording(topic=topic, latents=latents, models=models, settings=settings)
