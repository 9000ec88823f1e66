"""The tables kind -> message types and conversions, and the one way to look them up."""

from __future__ import annotations

from collections.abc import Sequence

from smvae_core.errors import ConfigError, did_you_mean
from smvae_core.messages import color_image, depth_image, force_window, vector
from smvae_core.messages.base import Converter
from smvae_core.modality import Kind, Modality

#: Every conversion of each kind, the default first.
_ALL: dict[Kind, tuple[Converter, ...]] = {
    "color_image": (color_image.CONVERTER, color_image.COMPRESSED),
    "depth_image": (depth_image.CONVERTER, depth_image.COMPRESSED, depth_image.CLOUD),
    "force_window": (force_window.CONVERTER,),
    "vector": (vector.CONVERTER, vector.JOINTS, vector.NUMBERS),
}

#: The default conversion of each kind.
CONVERTERS: dict[Kind, Converter] = {kind: found[0] for kind, found in _ALL.items()}
#: The message types that each kind is read from, the default first.
MESSAGE_TYPES: dict[Kind, tuple[str, ...]] = {
    kind: tuple(c.message_type for c in found) for kind, found in _ALL.items()
}


def converter(kind: Kind, message_type: str = "") -> Converter:
    """Return the conversion of a kind from a message type; '' = the kind's default.

    The array of a sample does not depend on the message type that carried it.

    Raises:
        ConfigError: If no message carries the kind, or not this type; names those that do.
    """
    if kind not in _ALL:
        raise ConfigError(
            f"no sensor message carries a {kind}; a robot's model has {', '.join(_ALL)}"
        )
    if not message_type:
        return CONVERTERS[kind]
    for found in _ALL[kind]:
        if found.message_type == message_type:
            return found
    accepted = MESSAGE_TYPES[kind]
    raise ConfigError(
        f"a {kind} is read from {', '.join(accepted)}, got '{message_type}'."
        f"{did_you_mean(message_type, accepted)}"
    )


def require_converters(modalities: Sequence[Modality]) -> None:
    """Refuse modalities that no message carries, as labels.

    Raises:
        ConfigError: If there is one.
    """
    for modality in modalities:
        if modality.kind not in CONVERTERS:
            raise ConfigError(
                f"modality '{modality.name}': no sensor message carries a {modality.kind}; a "
                f"robot's model has {', '.join(CONVERTERS)}"
            )
