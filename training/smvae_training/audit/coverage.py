"""How far a bundle's estimates, or its readout, are from recorded targets, and how sure they are.

K numbers of a target.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.bags import Bag, BagError, decoded
from smvae_core.bundle import Bundle
from smvae_core.errors import ConfigError, SMVAEError, did_you_mean
from smvae_core.estimates import Estimates
from smvae_core.messages import ConversionError, stamp_ns
from smvae_core.messages.base import read_below
from smvae_core.messages.members import expand
from smvae_core.readout import Quantity, Readout
from smvae_core.recorded_clock import RecordedClock
from smvae_core.robot import RecordedTarget
from smvae_core.target import DecodedTarget
from smvae_training.calibrate.readout import NORMAL_90

#: A latent and a target are compared when their stamps are at most so far apart.
NEAR_NS = 50_000_000
#: What says of a latent where targets are.
Teller = Estimates | Readout


def teller(bundle: Bundle) -> Teller:
    """Return a bundle's estimates, or its readout where there are none.

    Raises:
        BundleError: If it has neither.
    """
    return (
        Estimates.of_bundle(bundle) if bundle.manifest.estimates is not None else bundle.readout()
    )


def quantities(told: Teller) -> Mapping[str, DecodedTarget | Quantity]:
    """Return what is told of, by name."""
    if isinstance(told, Readout):
        return told.targets
    return {target.name: target for target in told.targets}


@dataclass(frozen=True, kw_only=True)
class TargetTopic:
    """Where a target is recorded."""

    name: str
    topic: str
    paths: tuple[str, ...]
    """Of its numbers in a message."""

    @classmethod
    def declared(cls, target: RecordedTarget, bag: Bag) -> TargetTopic:
        """Return where a robot's declaration says that a target is.

        Raises:
            BagError: If there is nothing.
            ConfigError: If messages there lack what it selects.
        """
        topic = f"/{target.channel.topic.strip('/')}"
        _require(bag, topic)
        paths = expand(target.select, bag.topics[topic].message_type)
        return cls(name=target.name, topic=topic, paths=paths)

    @classmethod
    def parse(cls, text: str, told: Teller) -> TargetTopic:
        """Return what 'NAME=TOPIC:PATH[+PATH]' says.

        Raises:
            ConfigError: If it says something else, or no such target is told of.
        """
        name, equals, rest = text.partition("=")
        topic, colon, paths = rest.partition(":")
        if not (equals and colon and topic and paths):
            raise ConfigError(
                "targets: expected NAME=TOPIC:PATH such as "
                f"'offset=/ground_truth:pose.position', got '{text}'"
            )
        if name not in (known := with_interval(told)):
            have = ", ".join(known) or "none"
            raise ConfigError(
                f"targets: the bundle gives no interval of '{name}', have {have}."
                f"{did_you_mean(name, known)}"
            )
        return cls(name=name, topic=f"/{topic.strip('/')}", paths=tuple(paths.split("+")))

    def read(self, message: Any) -> NDArray[np.float64]:
        """Return its numbers (K,); a path may lead to one, to a list, or to x, y, z."""
        found = [_numbers(read_below(self.name, message, path)) for path in self.paths]
        return np.concatenate(found)


def _numbers(value: Any) -> NDArray[np.float64]:
    axes = [getattr(value, axis) for axis in "xyzw" if hasattr(value, axis)]
    return np.atleast_1d(np.asarray(axes or value, np.float64))


@dataclass
class Truth:
    """A recorded target."""

    stamps_ns: NDArray[np.int64]
    """(N,) increasing."""
    values: NDArray[np.float64]
    """(N, K)."""

    def at(self, stamp: int) -> NDArray[np.float64] | None:
        """Return the value (K,) nearest to a moment, None if it is too far."""
        after = int(np.searchsorted(self.stamps_ns, stamp))
        near = [row for row in (after - 1, after) if 0 <= row < len(self.stamps_ns)]
        row = min(near, key=lambda r: abs(int(self.stamps_ns[r]) - stamp), default=-1)
        if row < 0 or abs(int(self.stamps_ns[row]) - stamp) > NEAR_NS:
            return None
        return np.asarray(self.values[row])


def read_truth(bag: Bag, wanted: TargetTopic, clock: RecordedClock) -> Truth:
    """Read a target from an open bag.

    Args:
        bag: Open.
        wanted: Where it is.
        clock: The node's, at the begin of the bag.

    Raises:
        BagError: If it is not there, or its messages are not what was said.
    """
    _require(bag, wanted.topic)
    stamps, values = [], []
    read = dict.fromkeys((wanted.topic, *clock.topics))
    for topic, received_ns, message in decoded(bag, list(read), lambda *_: None):
        if topic in clock.topics:
            clock.tick(message)
        if topic != wanted.topic:
            continue
        try:
            values.append(wanted.read(message))
        except (ConversionError, TypeError, ValueError) as err:
            raise BagError(bag.path, f"{topic}: {'+'.join(wanted.paths)}: {err}") from err
        stamps.append(stamp_ns(message, clock.at(received_ns)))
    order = np.argsort(stamps, kind="stable")
    return Truth(np.array(stamps, np.int64)[order], np.array(values)[order])


def _require(bag: Bag, topic: str) -> None:
    if topic not in bag.topics or not bag.topics[topic].messages:
        raise BagError(bag.path, f"nothing on {topic}; it has {bag.listed()}")


def with_interval(told: Teller) -> list[str]:
    """Return the targets that an interval is given of."""
    return [name for name, quantity in quantities(told).items() if not quantity.binary]


def recorded_truths(
    bag: Bag, bundle: Bundle, asked: Sequence[str], *, simulated: bool
) -> tuple[dict[str, Truth], dict[str, str]]:
    """Return the recorded targets, and why each declared one is left out.

    Args:
        bag: Open.
        bundle: See `teller`.
        asked: See `TargetTopic.parse`; none = those that the bundle's robot declares.
        simulated: Whether the node's clock is that of /clock, see `RecordedClock.of`.

    Raises:
        BagError, BundleError, ConfigError: Of those that somebody asked for.
    """
    if not asked:
        return declared_truths(bag, bundle, simulated=simulated)
    told = teller(bundle)
    topics = [TargetTopic.parse(text, told) for text in asked]
    return {t.name: read_truth(bag, t, RecordedClock(followed=simulated)) for t in topics}, {}


def declared_truths(
    bag: Bag, bundle: Bundle, *, simulated: bool
) -> tuple[dict[str, Truth], dict[str, str]]:
    """Return what a recording holds of the targets that a bundle's robot declares.

    And why of each other one there is no coverage: that is no fault of the recording.
    """
    robot = bundle.manifest.robot
    targets = robot.targets if robot is not None else ()
    if targets and bundle.manifest.estimates is None and bundle.manifest.readout is None:
        return {}, {t.name: "the bundle has neither estimates nor a readout" for t in targets}
    truths: dict[str, Truth] = {}
    left_out: dict[str, str] = {}
    known = with_interval(teller(bundle)) if targets else []
    for target in targets:
        if target.name not in known:
            left_out[target.name] = "the bundle gives no interval of it"
            continue
        try:
            topic = TargetTopic.declared(target, bag)
            truths[target.name] = read_truth(bag, topic, RecordedClock(followed=simulated))
        except SMVAEError as err:
            left_out[target.name] = str(err)
    return truths, left_out


class Coverage:
    """Compares what is told of latents with what was recorded, by label."""

    def __init__(self, told: Teller, truths: Mapping[str, Truth]) -> None:
        """Prepare; `add` compares.

        Args:
            told: Of the bundle.
            truths: Recorded targets, by name.
        """
        self._told, self._truths = told, truths
        self._found: dict[str, dict[str, list[_Compared]]] = defaultdict(lambda: defaultdict(list))

    def add(
        self,
        label: str,
        subset: Sequence[str],
        answers_ns: int,
        mean: NDArray[np.floating],
        variance: NDArray[np.floating],
        *,
        remembering: bool = False,
    ) -> None:
        """Compare one latent with every target of when it answers for.

        Args:
            label: What it counts to.
            subset: Modalities that it rests on, in the model's order.
            answers_ns: When it answers for.
            mean: (Z,) posterior mean.
            variance: (Z,) posterior variance.
            remembering: Whether it is a posterior with memory.

        Raises:
            ConfigError: If a target was recorded in another number of numbers.
        """
        there = {n: t.at(answers_ns) for n, t in self._truths.items()}
        if all(value is None for value in there.values()):
            return
        estimates = self._told.apply(subset, mean, variance, remembering=remembering)
        for name, truth in there.items():
            if truth is None:
                continue
            estimate = estimates[name]
            if truth.shape != estimate.value.shape:
                raise ConfigError(
                    f"targets: the bundle tells {len(estimate.value)} numbers of {name}, the "
                    f"recording has {len(truth)}"
                )
            self._found[label][name].append((truth - estimate.value, estimate.std))

    def of(self, label: str) -> dict[str, dict[str, Any]]:
        """Return of each target that was compared: latents, share known, errors, share inside.

        `known` is the share of numbers that are not NaN; errors and `inside_90`, the share inside
        the 90 % interval, are over those, `rmse` in all where they have one unit.
        """
        return {name: self._row(name, each) for name, each in self._found[label].items()}

    def _row(self, name: str, compared: list[_Compared]) -> dict[str, Any]:
        error, std = (np.stack(part) for part in zip(*compared, strict=True))
        known, quantity = np.isfinite(error), quantities(self._told)[name]
        inside = np.abs(error) <= NORMAL_90 * std
        found = {
            "latents": len(error),
            "known": float(known.mean()),
            "inside_90": float(inside[known].mean()) if known.any() else math.nan,
        }
        if "," not in quantity.unit:
            found["rmse"] = _root_mean_square(error[known])
        fields = quantity.fields or tuple(map(str, range(error.shape[1])))
        return found | {
            f"rmse_{field}": _root_mean_square(error[known[:, k], k])
            for k, field in enumerate(fields)
        }


#: Error (K,) and deviation (K,) of one latent, NaN where it is not known.
_Compared = tuple[NDArray[np.float64], NDArray[np.float64]]


def _root_mean_square(error: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(error)))) if error.size else math.nan
