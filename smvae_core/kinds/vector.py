"""`vector`: any numeric fields of any message, as they are.

`modality.fields` are paths from the message, e.g. 'pose.position.x' or 'data[3]'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.declared_key import Key, texts
from smvae_core.errors import ConfigError
from smvae_core.kinds.base import Converter, Kind
from smvae_core.kinds.plausible import odd_numbers, odd_rotation
from smvae_core.kinds.proposal import Proposal, Seen, counted, numbers
from smvae_core.kinds.registry import register
from smvae_core.messages import members
from smvae_core.messages.base import ConversionOptions, finite, read_fields, write_fields
from smvae_core.reads import Reads

if TYPE_CHECKING:
    from smvae_core.modality import Modality


class Vector(Kind):
    """Numbers of one message."""

    name = "vector"
    raw_sample = "(C,) float32, in the declared units"
    is_standardised = True
    floor = 1e-3
    any_message = True
    keys = (
        Key(
            name="select",
            read=texts,
            description="Numbers of the message, such as pose.position or data[0:7]; of a column "
            "the names of its elements.",
        ),
    )

    def declare(self, values: Mapping[str, Any], message_type: str | None) -> dict[str, Any]:
        """Return a channel per number."""
        if values["select"] is None:
            raise ConfigError("select must be said, such as select: [pose.position]")
        fields = members.expand(values["select"], message_type)
        return {"shape": (len(fields),), "unit": members.unit(fields), "fields": fields}

    def declaration(self, modality: Modality) -> dict[str, Any]:
        return {"select": list(modality.fields)}

    def propose(self, seen: Seen) -> Proposal | None:
        """Return every number that changes."""
        found = numbers(seen.messages)
        if not found.values:
            raise ConfigError("; ".join(("no number in it has a fixed place", *found.others)))
        moving, left_out = found.split()
        if not moving:
            raise ConfigError(f"nothing in it can be used: {'; '.join(left_out)}")
        about = f"{counted(len(moving), 'number')} at {seen.rate_hz:.4g} Hz, {found.extent(moving)}"
        return Proposal(keys={"select": moving}, about=about, left_out=tuple(left_out))

    def plausibility(self, modality: Modality, sample: NDArray[Any]) -> str:
        """Say when numbers of a known unit are not sent, or in another one; or are no rotation."""
        found = members.groups(modality.fields, modality.unit)
        for name, (_, rows) in found.items():
            axes = [modality.fields[row].rpartition(".")[2] for row in rows]
            if sorted(axes) == ["w", "x", "y", "z"] and (odd := odd_rotation(name, sample[rows])):
                return odd
        return odd_numbers((name, unit, sample[rows]) for name, (unit, rows) in found.items())

    def content(self, modality: Modality) -> str:
        return "numeric fields of the declared message type, as they are"

    def notes(self, modality: Modality) -> str:
        return "numbers as the message holds them"

    def reads(self, modality: Modality) -> Reads:
        return Reads(modality.name, "path", frozenset(modality.fields))

    def converters(self, modality: Modality) -> tuple[Converter, ...]:
        return (self.converter(modality),)

    def converter(self, modality: Modality, message_type: str = "") -> Converter:
        """Return the conversion of any message type that has the fields.

        Raises:
            ConfigError: If neither the caller nor the declaration names a type.
        """
        found = message_type or modality.message_type
        if not found:
            raise ConfigError(
                f"modality '{modality.name}': a vector has no message type of its own; declare "
                "one, e.g. geometry_msgs/msg/PoseStamped"
            )
        return Converter(found, to_array, write)


def to_array(modality: Modality, message: Any, options: ConversionOptions) -> NDArray[np.float32]:
    """Return the numbers (C,) in the order of `modality.fields`.

    Raises:
        ConversionError: If a field is missing or not finite.
    """
    return finite(modality, read_fields(modality, message, modality.fields), modality.fields)


def write(
    modality: Modality, message: Any, sample: NDArray[Any], options: ConversionOptions
) -> None:
    """Write numbers (C,) into an empty message."""
    write_fields(message, modality.fields, sample)


register(Vector())
