"""`signal`: a window of readings (C, T) of numeric fields of any message, at their native rate.

A wrench, an IMU, efforts, a load cell. A window is made of readings (`kinds.window`). Frame, sign,
gravity and bias are the driver's: they must be those of the training data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.declared_key import Key, number, texts
from smvae_core.errors import ConfigError, SampleError
from smvae_core.kinds.base import Converter, Kind, beyond, finite_floats
from smvae_core.kinds.proposal import Proposal, Seen, counted, listed, numbers, rounded_up
from smvae_core.kinds.registry import register
from smvae_core.kinds.shown import Shown
from smvae_core.kinds.window import resample_window
from smvae_core.messages import members
from smvae_core.messages.base import (
    ConversionOptions,
    finite,
    read_below,
    read_fields,
    write_fields,
)
from smvae_core.parameter import Parameter
from smvae_core.reads import Reads

if TYPE_CHECKING:
    from smvae_core.modality import Modality

#: A reading beyond this, in SI units, is taken for another unit: no robot has 10 kN at its wrist.
LIMIT = 10_000.0
#: Halvings of the causal convolutions: a window's length is a multiple of 2 to this power.
HALVINGS = 4
#: Readings between those that a second difference takes: 10 ms at 1 kHz.
_LAG = 10
#: Moments that windows are compared at.
_MOMENTS = 8
#: Every how many of the grid's readings slower sensors give.
_SLOWER = (1, 2, 5, 10)
#: Readings of a window whose length nobody says.
_READINGS = 32
#: Groups of numbers that are felt over time, whatever their rate.
_FELT = ("force", "torque", "linear_acceleration", "angular_velocity")
#: A grid this much finer than the readings is odd.
_SPARSE = 3.0
#: From this rate on other numbers are proposed as windows too [Hz].
_OFTEN_HZ = 100.0
#: How far window_s x rate_hz may be from a whole number: both are rounded by who writes them.
_WHOLE = 1e-2


@dataclass(frozen=True, kw_only=True)
class SignalOptions:
    """What is declared of a window beside its shape (C, T)."""

    rate_hz: float = 1000.0
    """Readings per second of the window's grid; a window lasts T / rate_hz seconds."""
    below: str = ""
    """Member of the message that the fields stand below, e.g. 'wrench'; '' = the message itself."""

    def __post_init__(self) -> None:
        if not (self.rate_hz > 0 and math.isfinite(self.rate_hz)):
            raise ConfigError(f"rate_hz must be positive, got {self.rate_hz}")

    @property
    def period_ns(self) -> int:
        """Time between two readings of the grid."""
        return round(1e9 / self.rate_hz)


class Signal(Kind):
    """Readings at their native rate; the newest ones make a sample."""

    name = "signal"
    raw_sample = "(T, C) float32 in SI units, oldest first, one reading per grid period"
    rank = 2
    options = SignalOptions
    is_window = True
    is_standardised = True
    floor = 0.01  # of a wrench: below what sensors resolve
    any_message = True
    queue_depth = 50  # readings make a window: none may be lost
    rate = "100 Hz or more"
    parameters = (
        Parameter(
            name="min_samples",
            default=3,
            low=2,
            high=1000,
            live=True,
            description="Readings that a window needs at least.",
        ),
    )

    keys = (
        Key(
            name="select",
            read=texts,
            default=["wrench.force", "wrench.torque"],
            description="Numbers of the message, such as wrench.force or data[0:6]; of a column "
            "the names of its elements.",
        ),
        Key(
            name="rate_hz",
            read=number,
            default=1000.0,
            description="Readings per second of the window's grid.",
        ),
        Key(
            name="window_s",
            read=number,
            description=f"Time that a window covers; not said = {_READINGS} readings. window_s x "
            f"rate_hz is a multiple of {2**HALVINGS}.",
        ),
    )

    def declare(self, values: Mapping[str, Any], message_type: str | None) -> dict[str, Any]:
        """Return a channel per number and a reading per period."""
        paths = members.expand(values["select"], WRENCH if message_type == "" else message_type)
        root, fields = members.below(paths)
        options = SignalOptions(rate_hz=values["rate_hz"], below=root)
        readings = _READINGS
        if values["window_s"] is not None:
            readings = round(values["window_s"] * options.rate_hz)
            if abs(readings - values["window_s"] * options.rate_hz) > _WHOLE or readings < 1:
                readings = max(2**HALVINGS, round(readings / 2**HALVINGS) * 2**HALVINGS)
                raise ConfigError(
                    f"window_s {values['window_s']:g} x rate_hz {options.rate_hz:g} is no whole "
                    f"number of readings; window_s {readings / options.rate_hz:.6g} is {readings}"
                )
        shape = len(fields), readings
        unit = members.unit(paths)
        return {"shape": shape, "unit": unit, "fields": fields, "options": options}

    def declaration(self, modality: Modality) -> dict[str, Any]:
        rate = modality.options.rate_hz
        return {"select": _paths(modality), "rate_hz": rate, "window_s": modality.shape[1] / rate}

    def propose(self, seen: Seen) -> Proposal | None:
        """Return a window of forces and motions, or of whatever comes often."""
        found = numbers(seen.messages)
        felt = [path for path in found.values if {*path.split(".")[:-1]} & {*_FELT}]
        if not seen.rate_hz or not (felt or seen.rate_hz >= _OFTEN_HZ):
            return None
        moving, left_out = found.of(felt or found.values).split()
        if not moving:
            return None
        beside, useless = found.of(p for p in found.values if felt and p not in felt).split()
        if beside:
            left_out.append(f"{listed(beside)}: beside forces and motions; add to select if wanted")
        left_out += [*useless, *found.others]
        rate = rounded_up(seen.rate_hz)
        keys = {"select": moving, "rate_hz": rate, "window_s": float(f"{_READINGS / rate:.6g}")}
        about = (
            f"{counted(len(moving), 'number')} at {seen.rate_hz:.4g} Hz, {found.extent(moving)}; "
            f"a window of {_READINGS} readings lasts {_READINGS / rate:.3g} s"
        )
        return Proposal(keys=keys, about=about, left_out=tuple(left_out))

    def pace(
        self, modality: Modality, rate_hz: float, settings: Mapping[str, Any]
    ) -> tuple[str, str]:
        """Say when a window gets fewer readings than it needs, or than its grid has."""
        if not rate_hz:
            return "", ""
        least = int(settings.get("min_samples", self.parameters[0].default))
        span_s, grid_hz = self.span_s(modality), modality.options.rate_hz
        usual = rounded_up(rate_hz)
        better = f"rate_hz {usual:g} with window_s {_READINGS / usual:.6g}"
        if rate_hz * span_s >= least:
            few = rate_hz * _SPARSE < grid_hz
            return "", few * f"the grid is of {grid_hz:g} Hz, straight lines between: {better}"
        step = 2**HALVINGS
        readings = math.ceil(least / rate_hz * grid_hz / step) * step
        return (
            f"{rate_hz:.4g} Hz give {rate_hz * span_s:.1f} readings in a window of {span_s:g} s, "
            f"{least} are needed: window_s {readings / grid_hz:.6g}, or {better}"
        ), ""

    def check(self, modality: Modality) -> None:
        """Refuse a length that the causal convolutions cannot halve four times."""
        length = modality.shape[1]
        if length % 2**HALVINGS:
            raise ConfigError(
                f"modality '{modality.name}': a window has a multiple of {2**HALVINGS} readings, "
                f"got {length}; at {modality.options.rate_hz:g} Hz these are "
                f"{1e3 * 2**HALVINGS / modality.options.rate_hz:g} ms each"
            )

        if length >= self.kept:
            most = (self.kept - 1) // 2**HALVINGS * 2**HALVINGS
            raise ConfigError(
                f"modality '{modality.name}': a window has at most {most} readings, got {length}: "
                f"lower window_s, or rate_hz; {most / modality.options.rate_hz:g} s at "
                f"{modality.options.rate_hz:g} Hz"
            )

    def example_sample(self, modality: Modality, rng: np.random.Generator) -> NDArray[Any]:
        return rng.normal(0.0, 3.0, modality.shape[::-1]).astype(np.float32)

    def prepare(self, modality: Modality, sample: NDArray[Any]) -> NDArray[np.float32]:
        """Return the last T readings, (C, T) float32."""
        channels, length = modality.shape
        if sample.dtype.kind not in "fiu":
            raise SampleError(modality.name, "dtype", expected="a number", got=sample.dtype)
        if sample.ndim != 2 or sample.shape[0] < length or sample.shape[1] != channels:
            expected = f"(at least {length}, {channels})"
            raise SampleError(modality.name, "shape", expected=expected, got=sample.shape)
        return finite_floats(modality, sample[-length:].T)

    def layout(self, modality: Modality, si: NDArray[Any]) -> NDArray[Any]:
        return si.T.copy()

    def content(self, modality: Modality) -> str:
        units = modality.unit.split(", ")
        named = zip(_groups(modality), units, strict=False)
        groups = " and ".join(f"{group} [{unit}]" for group, unit in named)
        return (
            f"{groups or 'readings'}; a window of {1e3 * self.span_s(modality):g} ms is one sample"
        )

    def prediction(self, modality: Modality) -> str:
        return f"prediction of {modality.name}, newest reading of the window [{modality.unit}]"

    def notes(self, modality: Modality) -> str:
        period_ms = modality.options.period_ns * 1e-6
        every = "ms" if period_ms == 1.0 else f"{period_ms:g} ms"
        return (
            f"one reading per {every}, oldest first, in the sensor's own frame; sign, gravity and "
            "bias as in the training data"
        )

    def reads(self, modality: Modality) -> Reads:
        return Reads(modality.name, "path", frozenset(_paths(modality)))

    def converters(self, modality: Modality) -> tuple[Converter, ...]:
        return (_converter(modality.message_type or WRENCH),)

    def converter(self, modality: Modality, message_type: str = "") -> Converter:
        """Return the conversion of any message type that has the fields."""
        return _converter(message_type or modality.message_type or WRENCH)

    def plausibility(self, modality: Modality, sample: NDArray[Any]) -> str:
        """Say when all readings are exactly 0, or one is in another unit."""
        if sample.size and not sample.any():
            groups = " and ".join(_groups(modality)) or "value"
            return f"every {groups} is exactly 0: is the sensor sending?"
        return beyond(sample, LIMIT, " or ".join(modality.unit.split(", ")))

    def shown(self, modality: Modality, sample: NDArray[Any]) -> Shown:
        """Return the readings of a window, each at its own time."""
        return replace(super().shown(modality, sample), period_s=modality.options.period_ns * 1e-9)

    def span_s(self, modality: Modality) -> float:
        return float(modality.shape[1] * modality.options.period_ns * 1e-9)

    def spacing_s(self, modality: Modality) -> float:
        """Return at least 0.6 of a window's length.

        At 30 latents a second the windows of 32 ms that are fused are enough; at fewer, those
        between them leave no reading out.
        """
        return max(super().spacing_s(modality), 0.6 * self.span_s(modality))

    def assemble(
        self,
        modality: Modality,
        stamps_ns: NDArray[np.int64],
        values: Sequence[Any],
        min_samples: int,
    ) -> NDArray[np.float32]:
        """Return the window (T, C) that ends with the last reading."""
        return resample_window(
            stamps_ns,
            np.asarray(values),
            int(stamps_ns[-1]),
            length=modality.shape[1],
            period_ns=modality.options.period_ns,
            min_samples=min_samples,
            name=modality.name,
        )

    def second_differences(self, modality: Modality, x: NDArray[Any]) -> NDArray[Any] | None:
        """Return them over time, 10 readings apart: slow sensors are joined by straight lines."""
        if x.shape[2] <= 2:
            return None
        lag = min(_LAG, (x.shape[2] - 1) // 2)
        return np.asarray(x[:, :, 2 * lag :] - 2.0 * x[:, :, lag:-lag] + x[:, :, : -2 * lag])

    def slowed(self, modality: Modality, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return windows that keep every k-th reading, joined by straight lines, for several k."""
        return [slowed(x, factor) for factor in _SLOWER]

    def features(self, modality: Modality, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return readings averaged over moments."""
        moments = x.reshape(len(x), modality.shape[0], _MOMENTS, -1)
        return moments.mean(axis=-1).reshape(len(x), -1)


def _paths(modality: Modality) -> list[str]:
    """Return the paths of its numbers from the message."""
    return [f"{modality.options.below}.{field}".removeprefix(".") for field in modality.fields]


def _groups(modality: Modality) -> list[str]:
    return list(dict.fromkeys(field.partition(".")[0] for field in modality.fields))


def slowed(x: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Return windows (N, C, T) that keep every `factor`-th reading, the newest among them."""
    if factor == 1:
        return x
    time = np.arange(x.shape[-1])
    kept = time[::-1][::factor][::-1]
    before = np.clip(np.searchsorted(kept, time, side="right") - 1, 0, len(kept) - 2)
    share = np.clip((time - kept[before]) / factor, 0.0, 1.0)
    low, high = x[..., kept[before]], x[..., kept[before + 1]]
    return np.asarray(low + share * (high - low), np.float32)


def to_array(modality: Modality, message: Any, options: ConversionOptions) -> NDArray[np.float32]:
    """Return one reading (C,) in the order of `modality.fields`.

    Raises:
        ConversionError: If a field is missing or not finite.
    """
    root = read_below(modality.name, message, modality.options.below)
    return finite(modality, read_fields(modality, root, modality.fields), modality.fields)


def write(
    modality: Modality, message: Any, sample: NDArray[Any], options: ConversionOptions
) -> None:
    """Write a reading (C,), or the newest of a window (T, C), into an empty message."""
    root = read_below(modality.name, message, modality.options.below)
    write_fields(root, modality.fields, np.asarray(sample).reshape(-1, len(modality.fields))[-1])


WRENCH = "geometry_msgs/msg/WrenchStamped"


def _converter(message_type: str) -> Converter:
    return Converter(message_type, to_array, write)


register(Signal())
