"""`command`: commanded velocities <-> displacement (C,) float32 in m and rad.

The model knows displacements per control step, robots command velocities: displacement = velocity
x step time, whichever message carries them. `modality.fields` name the components.

- geometry_msgs/TwistStamped, Twist: fields are paths below the twist, e.g. 'linear.x'; a Twist has
  no header, so no stamp of its own.
- sensor_msgs/JointState: velocities of the joints named as the fields, or by `joint_names`.
- std_msgs/Float32MultiArray: velocities in the fields' order; no header, so no stamp of its own.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.declared_key import Key, texts
from smvae_core.errors import ConfigError
from smvae_core.kinds.base import Converter, Kind, beyond
from smvae_core.kinds.proposal import Proposal, Seen, counted, numbers
from smvae_core.kinds.registry import register
from smvae_core.messages import members
from smvae_core.messages.base import (
    ConversionError,
    ConversionOptions,
    finite,
    joints_of_others,
    read_fields,
    read_list,
    read_member,
    read_numbers,
    read_whole,
    write_fields,
)
from smvae_core.parameter import Parameter

if TYPE_CHECKING:
    from smvae_core.modality import Modality

#: A displacement per step [m, rad] beyond this is taken for another unit.
LIMIT = 3.2
#: A control step is odd that is longer or shorter than the period by this factor.
_ODD = 1.5
#: Periods for which a proposed command holds.
_HELD = 4


class Command(Kind):
    """What the robot was told to do, as a displacement of one control step."""

    name = "command"
    raw_sample = "(C,) float32, m and rad per control step"
    is_standardised = True
    floor = 1e-3  # 2 cm/s at 20 commands a second
    parameters = (
        Parameter(
            name="step_time_s",
            default=0.05,
            low=0.0001,
            high=10.0,
            live=True,
            description="Displacement of one control step = commanded twist x this time.",
        ),
        Parameter(
            name="joint_names",
            default="",
            live=True,
            description="Joints of a JointState in the modality's order, separated by commas; "
            "empty = named as its fields.",
        ),
    )

    keys = (
        Key(
            name="select",
            read=texts,
            description="Parts of the twist, not said = all six; of a JointState the names of the "
            "joints, of a Float32MultiArray a name per value.",
        ),
    )

    def declare(self, values: Mapping[str, Any], message_type: str | None) -> dict[str, Any]:
        """Return a channel per component: a displacement in m or rad."""
        fields = values["select"]
        is_twist = message_type in ("", TWIST.message_type, PLAIN.message_type)
        if fields is None and not is_twist:
            of = message_type or "a column"
            raise ConfigError(f"select must be said of {of}, such as select: [j1, j2]")
        if is_twist:
            fields = members.expand(fields or ("linear", "angular"), PLAIN.message_type)
        elif message_type is None:
            fields = members.expand(fields, None)
        groups = dict.fromkeys(field.partition(".")[0] for field in fields)
        turning = {"linear": "m", "angular": "rad"}
        unit = ", ".join(turning[g] for g in groups) if set(groups) <= set(turning) else "rad"
        return {"shape": (len(fields),), "unit": unit, "fields": fields}

    def declaration(self, modality: Modality) -> dict[str, Any]:
        return {"select": list(modality.fields)}

    def propose(self, seen: Seen) -> Proposal | None:
        """Return the parts of a twist that change, and times by its rate."""
        if seen.message_type not in (TWIST.message_type, PLAIN.message_type):
            return None
        found = numbers(seen.messages)
        moving, left_out = found.split()
        if not moving:
            raise ConfigError(f"nothing in it can be used: {'; '.join(left_out)}")
        keys: dict[str, Any] = {"select": [path.removeprefix("twist.") for path in moving]}
        if seen.rate_hz:
            step_s = float(f"{min(max(1.0 / seen.rate_hz, 0.001), 10.0):.3g}")
            keys |= {"step_time_s": step_s, "hold_last_s": float(f"{_HELD * step_s:.3g}")}
        about = (
            f"{counted(len(moving), 'number')} at {seen.rate_hz:.4g} Hz, {found.extent(moving)}; "
            "was it measured, not commanded? then kind: vector"
        )
        return Proposal(keys=keys, about=about, left_out=tuple(left_out))

    def pace(
        self, modality: Modality, rate_hz: float, settings: Mapping[str, Any]
    ) -> tuple[str, str]:
        """Say when a control step is not the time between two commands."""
        step_s = float(settings.get("step_time_s", ConversionOptions.step_time_s))
        if not rate_hz or 1 / _ODD < rate_hz * step_s < _ODD:
            return "", ""
        return "", f"step_time_s is {step_s:g}, a command comes every {1 / rate_hz:.3g} s"

    def content(self, modality: Modality) -> str:
        return "commanded velocity [m/s, rad/s]; displacement = velocity x `step_time_s`"

    def prediction(self, modality: Modality) -> str:
        return f"prediction of {modality.name}: velocity = displacement / `step_time_s`"

    def notes(self, modality: Modality) -> str:
        return "displacement of one control step = twist x step time"

    def converters(self, modality: Modality) -> tuple[Converter, ...]:
        return TWIST, JOINTS, NUMBERS, PLAIN

    def plausibility(self, modality: Modality, sample: NDArray[Any]) -> str:
        """Say when a displacement is in another unit."""
        return beyond(sample, LIMIT, f"{' or '.join(modality.unit.split(', '))} per step")


def to_array(modality: Modality, message: Any, options: ConversionOptions) -> NDArray[np.float32]:
    """Return the displacement (C,) of a TwistStamped in the order of `modality.fields`.

    Raises:
        ConversionError: If a field is missing or not finite.
    """
    return plain_to_array(modality, read_member(modality.name, message, "twist"), options)


def write(
    modality: Modality, message: Any, sample: NDArray[Any], options: ConversionOptions
) -> None:
    """Write a displacement (C,) into an empty TwistStamped as a velocity."""
    write_plain(modality, message.twist, sample, options)


def plain_to_array(
    modality: Modality, message: Any, options: ConversionOptions
) -> NDArray[np.float32]:
    """Return the displacement (C,) of a Twist in the order of `modality.fields`.

    Raises:
        ConversionError: If a field is missing or not finite.
    """
    velocity = read_fields(modality, message, modality.fields)
    return finite(modality, velocity, modality.fields, options.step_time_s)


def write_plain(
    modality: Modality, message: Any, sample: NDArray[Any], options: ConversionOptions
) -> None:
    """Write a displacement (C,) into an empty Twist, which has no header, as a velocity."""
    write_fields(message, modality.fields, _velocity(sample, options))


def joints_to_array(
    modality: Modality, message: Any, options: ConversionOptions
) -> NDArray[np.float32]:
    """Return the displacement (C,) of a JointState's velocities, joints picked by name.

    Raises:
        ConversionError: If a joint is missing or named twice, there is not one velocity for each
            name, or one that is needed is not finite.
    """
    name = modality.name
    joints = _joints(modality, options)
    got = read_list(name, message, "name")
    velocity = read_numbers(name, read_member(name, message, "velocity"), "velocity")
    for joint in joints:
        if got.count(joint) != 1:
            listed = ", ".join(map(str, got)) or "no joints"
            raise ConversionError(name, "field", expected=f"joint '{joint}' once", got=listed)
    if len(velocity) != len(got):
        raise ConversionError(
            name, "size", expected=f"{len(got)} velocities, one per name", got=len(velocity)
        )
    picked = velocity[[got.index(joint) for joint in joints]]
    return finite(modality, picked, joints, options.step_time_s)


def write_joints(
    modality: Modality, message: Any, sample: NDArray[Any], options: ConversionOptions
) -> None:
    """Write a displacement (C,) into an empty JointState as velocities."""
    message.name = list(_joints(modality, options))
    message.velocity = array("d", _velocity(sample, options))


def of_others(modality: Modality, message: Any, options: ConversionOptions) -> str:
    """Return which joints a JointState is of, if none of them is the command's."""
    return joints_of_others(message, options.joint_names or modality.fields)


def numbers_to_array(
    modality: Modality, message: Any, options: ConversionOptions
) -> NDArray[np.float32]:
    """Return the displacement (C,) of a Float32MultiArray of C velocities.

    Raises:
        ConversionError: If the number of values behind `layout.data_offset`, or the product of the
            dimensions where any are given, is not C; or a value is not finite.
    """
    name, count = modality.name, modality.shape[0]
    layout = read_member(name, message, "layout")
    offset = read_whole(name, layout, "data_offset")
    values = read_numbers(name, read_member(name, message, "data"), "data")
    if not 0 <= offset <= len(values) or len(values) - offset != count:
        raise ConversionError(
            name, "size", expected=f"{count} values", got=f"{len(values)} from offset {offset}"
        )
    sizes = [read_whole(name, d, "size") for d in read_list(name, layout, "dim")]
    if sizes and int(np.prod(np.array(sizes, object))) != count:
        raise ConversionError(
            name, "size", expected=f"dimensions of {count} values", got=" x ".join(map(str, sizes))
        )
    labels = modality.fields or [f"value {i}" for i in range(count)]
    return finite(modality, values[offset:], labels, options.step_time_s)


def write_numbers(
    modality: Modality, message: Any, sample: NDArray[Any], options: ConversionOptions
) -> None:
    """Write a displacement (C,) into an empty Float32MultiArray, which has no header."""
    message.layout.data_offset = 0
    message.data = array("f", _velocity(sample, options))


def _joints(modality: Modality, options: ConversionOptions) -> tuple[str, ...]:
    joints = options.joint_names or modality.fields
    if len(joints) != modality.shape[0]:
        raise ConversionError(
            modality.name,
            "field",
            expected=f"{modality.shape[0]} joints, by the modality's fields or joint_names",
            got=len(joints),
        )
    return joints


def _velocity(sample: NDArray[Any], options: ConversionOptions) -> NDArray[np.float64]:
    return np.asarray(sample, np.float64) / options.step_time_s


TWIST = Converter("geometry_msgs/msg/TwistStamped", to_array, write)
JOINTS = Converter("sensor_msgs/msg/JointState", joints_to_array, write_joints, of_others=of_others)
NUMBERS = Converter("std_msgs/msg/Float32MultiArray", numbers_to_array, write_numbers)
PLAIN = Converter("geometry_msgs/msg/Twist", plain_to_array, write_plain)
register(Command())
