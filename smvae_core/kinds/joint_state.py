"""`joint_state`: sensor_msgs/JointState <-> position, velocity, effort (C,) of declared joints."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.declared_key import Key, texts
from smvae_core.errors import ConfigError
from smvae_core.kinds.base import Converter, Kind
from smvae_core.kinds.plausible import odd_numbers
from smvae_core.kinds.proposal import Proposal, Seen, listed
from smvae_core.kinds.registry import register
from smvae_core.messages.base import (
    ConversionError,
    ConversionOptions,
    finite,
    joints_of_others,
    read_list,
    read_member,
    read_numbers,
)
from smvae_core.reads import Reads

if TYPE_CHECKING:
    from smvae_core.modality import Modality

#: What a JointState may hold of each joint, and its SI unit for a turning one.
QUANTITIES = {"position": "rad", "velocity": "rad/s", "effort": "N m"}


@dataclass(frozen=True, kw_only=True)
class JointOptions:
    """Which joints, and what of them; the sample's order is that of `select`, then of `joints`."""

    joints: tuple[str, ...] = ()
    """Names; empty = the first ones of a message, by index."""
    select: tuple[str, ...] = ("position",)
    """Of position, velocity and effort."""

    def __post_init__(self) -> None:
        for name in ("joints", "select"):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)
            if len(set(values)) != len(values):
                raise ConfigError(f"{name} must differ, got {', '.join(values)}")
        unknown = [s for s in self.select if s not in QUANTITIES]
        if unknown or not self.select:
            raise ConfigError(
                f"select must be some of {', '.join(QUANTITIES)}, got {', '.join(self.select)}"
            )


class JointState(Kind):
    """What a robot's joints say of themselves."""

    name = "joint_state"
    raw_sample = "(C,) float32 rad, rad/s, N m (m, m/s, N of a sliding joint)"
    options = JointOptions
    is_standardised = True
    floor = 1e-3
    keys = (
        Key(name="joints", read=texts, description="Names of the joints, in the sample's order."),
        Key(
            name="select",
            read=texts,
            default=["position"],
            description="Of position, velocity and effort.",
        ),
    )

    def declare(self, values: Mapping[str, Any], message_type: str | None) -> dict[str, Any]:
        """Return a channel per quantity and joint, named 'position.j1'."""
        if values["joints"] is None:
            raise ConfigError("joints must be said, such as joints: [j1, j2]")
        options = JointOptions(joints=values["joints"], select=values["select"])
        fields = tuple(f"{what}.{joint}" for what in options.select for joint in options.joints)
        unit = ", ".join(QUANTITIES[what] for what in options.select)
        return {"shape": (len(fields),), "unit": unit, "fields": fields, "options": options}

    def declaration(self, modality: Modality) -> dict[str, Any]:
        return {name: list(values) for name, values in vars(modality.options).items()}

    def check(self, modality: Modality) -> None:
        """Refuse a number of channels that joints and quantities do not give."""
        options: JointOptions = modality.options
        channels, quantities = modality.shape[0], len(options.select)
        expected = len(options.joints) * quantities
        if channels % quantities or (expected and channels != expected):
            raise ConfigError(
                f"modality '{modality.name}': {len(options.joints) or 'unnamed'} joints with "
                f"{', '.join(options.select)} each, got {channels} channels"
            )

    def propose(self, seen: Seen) -> Proposal | None:
        """Return the joints that move, by the names that most messages have, in any order."""
        if seen.message_type != JOINTS.message_type:
            return None
        named = [tuple(map(str, message.name)) for message in seen.messages]
        sets = [tuple(sorted(n)) for n in named]
        usual = max(dict.fromkeys(sets), key=sets.count)
        names = named[sets.index(usual)]
        if not names:
            raise ConfigError("its joints have no names")
        alike = [m for m, n in zip(seen.messages, sets, strict=True) if n == usual]
        held = {q: _held(alike, q, names) for q in QUANTITIES}
        select = [q for q, v in held.items() if v is not None and (v.min(0) < v.max(0)).any()]
        if not select:
            raise ConfigError("no joint of it moves")
        values = [v for q in select if (v := held[q]) is not None]
        moves = np.any([v.min(0) < v.max(0) for v in values], axis=0)
        joints = [name for name, m in zip(names, moves, strict=True) if m]
        still = [name for name, m in zip(names, moves, strict=True) if not m]
        extents = (
            f"{q} {v.min():.4g} to {v.max():.4g}" for q, v in zip(select, values, strict=True)
        )
        about = [f"{len(joints)} of {len(names)} joints at {seen.rate_hz:.4g} Hz", *extents]
        if len(alike) < len(named):
            about.append(f"{len(named) - len(alike)} of {len(named)} messages have other joints")
        left_out = (f"joints that never move: {listed(still)}",) if still else ()
        keys = {"joints": joints, "select": select}
        return Proposal(keys=keys, about=", ".join(about), left_out=left_out)

    def plausibility(self, modality: Modality, sample: NDArray[Any]) -> str:
        """Say when a quantity is not sent, or in another unit, such as degrees."""
        select = modality.options.select
        units = modality.unit.split(", ")
        units = units if len(units) == len(select) else ["1"] * len(select)
        return odd_numbers(zip(select, units, np.split(sample, len(select)), strict=True))

    def content(self, modality: Modality) -> str:
        return "position, velocity or effort of joints, found by name (by index where unnamed)"

    def notes(self, modality: Modality) -> str:
        joints = ", ".join(modality.options.joints) or "joints by index"
        return f"{', '.join(modality.options.select)} of {joints}"

    def reads(self, modality: Modality) -> Reads:
        """Return what it reads of each joint; without names the first ones, so all."""
        options: JointOptions = modality.options
        if not options.joints:
            return Reads(modality.name)
        found = (f"{what}.{joint}" for what in options.select for joint in options.joints)
        return Reads(modality.name, "joint", frozenset(found))

    def converters(self, modality: Modality) -> tuple[Converter, ...]:
        return (JOINTS,)


def _held(messages: list[Any], quantity: str, names: tuple[str, ...]) -> NDArray[np.float64] | None:
    """Return (messages, joints by name) of a quantity; None where one lacks it or is no number."""
    rows = [np.asarray(getattr(message, quantity), np.float64) for message in messages]
    if any(row.shape != (len(names),) or not np.isfinite(row).all() for row in rows):
        return None
    at = [[list(map(str, message.name)).index(name) for name in names] for message in messages]
    return np.take_along_axis(np.stack(rows), np.array(at), axis=1)


def to_array(modality: Modality, message: Any, options: ConversionOptions) -> NDArray[np.float32]:
    """Return the selected quantities (C,).

    Raises:
        ConversionError: If a joint is missing or named twice, the message lacks a quantity, or a
            number is not finite.
    """
    name, declared = modality.name, modality.options
    count = modality.shape[0] // len(declared.select)
    names = read_list(name, message, "name")
    if names and declared.joints:
        for joint in declared.joints:
            if names.count(joint) != 1:
                listed = ", ".join(map(str, names))
                raise ConversionError(name, "field", expected=f"joint '{joint}' once", got=listed)
        rows = [names.index(joint) for joint in declared.joints]
    else:
        rows = list(range(count))
    values = []
    for quantity in declared.select:
        held = read_numbers(name, read_member(name, message, quantity), quantity)
        wanted = len(names) if names else None
        if len(held) < count or (wanted is not None and len(held) != wanted):
            expected = f"{wanted or count} values of {quantity}, one per joint"
            raise ConversionError(name, "size", expected=expected, got=len(held))
        values.append(held[rows])
    labels = modality.fields or [f"value {i}" for i in range(modality.shape[0])]
    return finite(modality, np.concatenate(values), labels)


def write(
    modality: Modality, message: Any, sample: NDArray[Any], options: ConversionOptions
) -> None:
    """Write a sample (C,) into an empty JointState."""
    declared = modality.options
    message.name = list(declared.joints)
    for quantity, values in zip(
        declared.select,
        np.asarray(sample, np.float64).reshape(len(declared.select), -1),
        strict=True,
    ):
        setattr(message, quantity, array("d", values))


def of_others(modality: Modality, message: Any, options: ConversionOptions) -> str:
    """Return which joints a message is of, if none of them is declared."""
    return joints_of_others(message, modality.options.joints)


JOINTS = Converter("sensor_msgs/msg/JointState", to_array, write, of_others=of_others)
register(JointState())
