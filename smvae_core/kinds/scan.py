"""`scan`: sensor_msgs/LaserScan <-> ranges [m] of beams, some of which have no return.

A beam without a return is missing: it enters no likelihood of range, and whether there is a return
is predicted with its probability (likelihood `hurdle`). B beams of the network, N of the sensor.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.declared_key import Key, number, pair, whole
from smvae_core.errors import ConfigError, SampleError
from smvae_core.kinds.base import HURDLE, Converter, Kind
from smvae_core.kinds.proposal import Proposal, Seen, rounded_up
from smvae_core.kinds.registry import register
from smvae_core.kinds.shown import Shown
from smvae_core.messages.base import ConversionError, ConversionOptions, read_member, read_numbers

if TYPE_CHECKING:
    from smvae_core.modality import Modality

#: Halvings of the convolutions: the number of beams is a multiple of 2 to this power.
HALVINGS = 4
#: Beams that are proposed of a sensor with more.
_BEAMS = 64


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """What is declared of a scan beside its number of beams."""

    range_m: tuple[float, float] = (0.05, 10.0)
    """Ranges outside this open interval [m] count as no return."""
    angles_rad: tuple[float, float] = (-math.pi, math.pi)
    """Angle of the first and the last beam [rad]; for predicted scans."""

    def __post_init__(self) -> None:
        for name in ("range_m", "angles_rad"):
            values = tuple(float(v) for v in getattr(self, name))
            object.__setattr__(self, name, values)
            if len(values) != 2 or not all(map(math.isfinite, values)) or values[0] >= values[1]:
                raise ConfigError(f"{name} must be two rising numbers, got {list(values)}")
        if self.range_m[0] < 0:
            raise ConfigError(f"range_m must not be negative, got {list(self.range_m)}")


class Scan(Kind):
    """Ranges of a turning laser; a prepared sample is (2, B): range and 1 where it returned."""

    name = "scan"
    raw_sample = (
        "(N,) float32 m, inf or NaN = no return; or (2, N): range and probability of return"
    )
    rank = 2
    likelihoods = (HURDLE,)
    options = ScanOptions
    kept = 32
    may_follow = True
    keys = (
        Key(
            name="beams",
            read=whole,
            default=64,
            description=f"Beams of the network, a multiple of {2**HALVINGS}; the sensor's own are "
            "averaged.",
        ),
        Key(
            name="range_m",
            read=pair(number, "[0.05, 10.0]"),
            default=list(ScanOptions().range_m),
            description="Ranges outside this interval [m] count as no return.",
        ),
        Key(
            name="angles_rad",
            read=pair(number, "[-3.14, 3.14]"),
            default=list(ScanOptions().angles_rad),
            description="Angle of the first and the last beam [rad]; for predicted scans.",
        ),
    )

    def declare(self, values: Mapping[str, Any], message_type: str | None) -> dict[str, Any]:
        options = ScanOptions(range_m=values["range_m"], angles_rad=values["angles_rad"])
        return {"shape": (2, values["beams"]), "unit": "m, 1", "options": options}

    def declaration(self, modality: Modality) -> dict[str, Any]:
        own = {name: list(values) for name, values in vars(modality.options).items()}
        return {"beams": modality.shape[1], **own}

    def propose(self, seen: Seen) -> Proposal | None:
        """Return range and angles of the sensor, and as many beams as it has, at most 64."""
        if seen.message_type != SCAN.message_type:
            return None
        first = seen.messages[0]
        step = 2**HALVINGS
        sensor = min(len(message.ranges) for message in seen.messages)
        beams = min(_BEAMS, sensor // step * step)
        if not beams:
            raise ConfigError(f"{sensor} beams, a scan has at least {step}")
        keys: dict[str, Any] = {"beams": beams}
        ranges = np.concatenate([np.asarray(m.ranges, np.float64) for m in seen.messages])
        returns = ranges[np.isfinite(ranges) & (ranges > 0)]
        near, far = float(f"{first.range_min:.4g}"), float(f"{first.range_max:.4g}")
        if not (0 <= near < far < math.inf):
            if not returns.size:
                raise ConfigError("no beam of it has a return")
            near, far = 0.0, rounded_up(float(returns.max()) * 1.05)
        keys["range_m"] = [near, far]
        inside = float(((ranges > near) & (ranges < far)).mean())
        about = [
            f"{sensor} beams at {seen.rate_hz:.4g} Hz",
            f"{inside:.1%} of them return within range_m",
        ]
        first_rad, last_rad = float(f"{first.angle_min:.5g}"), float(f"{first.angle_max:.5g}")
        if first_rad < last_rad:
            keys["angles_rad"] = [first_rad, last_rad]
        else:
            about.append(f"angles_rad must rise, the messages say {first_rad:g} to {last_rad:g}")
        return Proposal(keys=keys, about=", ".join(about))

    def check(self, modality: Modality) -> None:
        """Refuse a shape that is not (2, beams), or a number of beams that cannot be halved."""
        planes, beams = modality.shape
        if planes != 2 or beams % 2**HALVINGS:
            raise ConfigError(
                f"modality '{modality.name}': a scan is (2, beams), beams a multiple of "
                f"{2**HALVINGS}, got {modality.shape}"
            )

    def example(self, modality: Modality, batch: int, rng: np.random.Generator) -> NDArray[Any]:
        returned = rng.random((batch, modality.shape[1])) < 0.8
        ranges = rng.random((batch, modality.shape[1])) * returned
        return np.stack([ranges, returned], axis=1).astype(np.float32)

    def example_sample(self, modality: Modality, rng: np.random.Generator) -> NDArray[Any]:
        near, far = modality.options.range_m
        beams = modality.shape[1] * 2
        ranges = rng.uniform(near + 0.1 * (far - near), far - 0.1 * (far - near), beams)
        ranges[rng.random(beams) < 0.2] = np.inf
        return ranges.astype(np.float32)

    def prepare(self, modality: Modality, sample: NDArray[Any]) -> NDArray[np.float32]:
        """Return (2, B) float32: mean range over the returns of a beam [m], 1 where one is."""
        beams = modality.shape[1]
        flagged = sample.ndim == 2 and sample.shape[0] == 2
        ranges = sample[0] if flagged else sample
        if ranges.ndim != 1 or ranges.dtype.kind != "f" or len(ranges) < beams:
            got = f"{sample.shape} {sample.dtype}"
            expected = f"at least {beams} beams, {self.raw_sample}"
            raise SampleError(modality.name, "scan", expected=expected, got=got)
        near, far = modality.options.range_m
        inside = (ranges > near) & (ranges < far)  # NaN compares False
        if flagged:
            inside &= sample[1] >= 0.5
        starts = np.arange(beams) * len(ranges) // beams
        count = np.add.reduceat(inside.astype(np.float32), starts)
        total = np.add.reduceat(np.where(inside, ranges, 0.0).astype(np.float32), starts)
        returned = count > 0
        return np.stack([total / np.maximum(count, 1.0), returned]).astype(np.float32)

    def constants(self, modality: Modality) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what brings ranges to [0, 1]; the flag stays."""
        scale = np.array([[modality.options.range_m[1]], [1.0]], np.float32)
        return np.zeros_like(scale), scale

    def clip(self, modality: Modality, si: NDArray[np.float32]) -> NDArray[np.float32]:
        ranges, chance = np.split(si, 2, axis=-2)
        return np.concatenate([np.maximum(ranges, 0.0), np.clip(chance, 0.0, 1.0)], axis=-2)

    def measured(self, modality: Modality, si: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where a range was measured, and every flag."""
        returned = si[..., 1:2, :] > 0.5
        return np.concatenate([returned, np.ones_like(returned)], axis=-2)

    def layout(self, modality: Modality, si: NDArray[Any]) -> NDArray[np.float32]:
        return np.ascontiguousarray(si, np.float32)

    def content(self, modality: Modality) -> str:
        return "ranges in m; no return: infinite, NaN, or outside the declared range"

    def prediction(self, modality: Modality) -> str:
        return (
            f"prediction of {modality.name} [m]; infinite where no return is likelier; "
            "intensities are chances of a return"
        )

    def notes(self, modality: Modality) -> str:
        return "beams in the order of the message; predicted intensities are chances of a return"

    def converters(self, modality: Modality) -> tuple[Converter, ...]:
        return (SCAN,)

    def plausibility(self, modality: Modality, sample: NDArray[Any]) -> str:
        """Say when no beam returns within the declared range."""
        ranges = sample[0] if sample.ndim == 2 else sample
        near, far = modality.options.range_m
        if ((ranges > near) & (ranges < far)).any():
            return ""
        return f"no beam has a return between {near:g} and {far:g} m: covered, or another unit?"

    def shown(self, modality: Modality, sample: NDArray[Any]) -> Shown:
        """Return where the beams end that have a return, as x forward and y left."""
        ranges, flagged = (sample[0], sample[1] >= 0.5) if sample.ndim == 2 else (sample, True)
        near, far = modality.options.range_m
        ends = (ranges > near) & (ranges < far) & flagged
        first, last = modality.options.angles_rad
        angles = np.linspace(first, last, len(ranges))[ends]
        ranges = ranges[ends]
        points = np.stack([ranges * np.cos(angles), ranges * np.sin(angles)], axis=1)
        return Shown(form="points", values=points.astype(np.float32), unit=modality.unit)

    def errors(
        self, modality: Modality, truth: NDArray[Any], predicted: NDArray[Any]
    ) -> dict[str, float]:
        """Return the mean absolute error over returns, and how often "a return" is right."""
        returned = truth[:, 1] > 0.5
        difference = np.abs(predicted[:, 0] - truth[:, 0])[returned]
        right = (predicted[:, 1] >= 0.5) == returned
        return {
            "mae_m": float(difference.mean()) if returned.any() else np.nan,
            "return_accuracy": float(right.mean()),
        }

    def second_differences(self, modality: Modality, x: NDArray[Any]) -> NDArray[Any] | None:
        """Return those of neighbouring ranges."""
        ranges = x[:, :1]
        return np.asarray(ranges[:, :, 2:] - 2.0 * ranges[:, :, 1:-1] + ranges[:, :, :-2])


def to_array(modality: Modality, message: Any, options: ConversionOptions) -> NDArray[np.float32]:
    """Return the ranges (N,) of a LaserScan [m]; what the sensor calls no return is infinite.

    Raises:
        ConversionError: If ranges are no numbers, or fewer than the declared beams.
    """
    name, beams = modality.name, modality.shape[1]
    ranges = read_numbers(name, read_member(name, message, "ranges"), "ranges")
    if len(ranges) < beams:
        raise ConversionError(name, "size", expected=f"at least {beams} beams", got=len(ranges))
    low, high = (float(read_member(name, message, f"range_{end}")) for end in ("min", "max"))
    if high > low:  # REP 117: beyond the sensor's own limits there is no measurement
        ranges = np.where((ranges >= low) & (ranges <= high), ranges, np.inf)
    return ranges.astype(np.float32)


def write(
    modality: Modality, message: Any, sample: NDArray[Any], options: ConversionOptions
) -> None:
    """Write a scan, (N,) or (2, N), into an empty LaserScan.

    A beam whose return is less likely than not is infinite (REP 117). `intensities` holds the
    probability of a return.
    """
    values = np.asarray(sample, np.float32)
    ranges = values[0] if values.ndim == 2 else values
    chance = values[1] if values.ndim == 2 else np.isfinite(values).astype(np.float32)
    (near, far), (first, last) = modality.options.range_m, modality.options.angles_rad
    message.angle_min, message.angle_max = first, last
    message.angle_increment = (last - first) / max(len(ranges) - 1, 1)
    message.range_min, message.range_max = near, far
    message.ranges = array("f", np.where(chance >= 0.5, ranges, np.float32(np.inf)))
    message.intensities = array("f", chance)


def moved(modality: Modality, first: Any, message: Any) -> str:
    """Return how beams of a LaserScan look elsewhere than those of the first one, or ''.

    Beams are known by their place in the message. A sensor that turns at another speed has another
    number of them between the same angles, which is the same scan. Half a beam of the network is
    allowed.
    """
    before, now = _angles(modality.name, first), _angles(modality.name, message)
    allowed = abs(before[1] - before[0]) / modality.shape[1] / 2
    if all(abs(a - b) <= allowed for a, b in zip(before, now, strict=True)):
        return ""
    return (
        f"expected beams from {before[0]:.4g} to {before[1]:.4g} rad as in the first message, got "
        f"{now[0]:.4g} to {now[1]:.4g} rad: was the sensor turned, or its driver set up anew?"
    )


def _angles(name: str, message: Any) -> tuple[float, float]:
    """Return the angles of the first and of the last beam [rad]."""
    first, step = (float(read_member(name, message, f"angle_{of}")) for of in ("min", "increment"))
    return first, first + (len(read_member(name, message, "ranges")) - 1) * step


SCAN = Converter("sensor_msgs/msg/LaserScan", to_array, write, moved=moved)
register(Scan())
