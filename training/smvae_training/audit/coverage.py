"""How often a recorded target lies in the readout's 90 % interval, by subset of sensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.bags import Bag, BagError
from smvae_core.bundle import Bundle
from smvae_core.errors import ConfigError, SMVAEError, did_you_mean
from smvae_core.messages import ConversionError, stamp_ns
from smvae_core.messages.base import read_below
from smvae_core.messages.members import expand
from smvae_core.readout import Readout
from smvae_core.robot import RecordedTarget
from smvae_training.evaluate.live.bag import Latent
from smvae_training.readout import NORMAL_90

#: A latent and a target are compared when their stamps are at most so far apart.
NEAR_NS = 50_000_000


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
    def parse(cls, text: str, readout: Readout) -> TargetTopic:
        """Return what 'NAME=TOPIC:PATH[+PATH]' says.

        Raises:
            ConfigError: If it says something else, or the readout has no such target.
        """
        name, equals, rest = text.partition("=")
        topic, colon, paths = rest.partition(":")
        if not (equals and colon and topic and paths):
            raise ConfigError(
                "targets: expected NAME=TOPIC:PATH such as "
                f"'offset=/ground_truth:pose.position', got '{text}'"
            )
        if name not in (known := with_interval(readout)):
            have = ", ".join(known) or "none"
            raise ConfigError(
                f"targets: the readout has no interval of '{name}', have {have}."
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


def read_truth(bag: Bag, wanted: TargetTopic) -> Truth:
    """Read a target from an open bag.

    Raises:
        BagError: If it is not there, or its messages are not what was said.
    """
    _require(bag, wanted.topic)
    stamps, values = [], []
    for topic, received_ns, data in bag.messages([wanted.topic]):
        message = bag.decode(topic, data)
        try:
            values.append(wanted.read(message))
        except (ConversionError, TypeError, ValueError) as err:
            raise BagError(bag.path, f"{topic}: {'+'.join(wanted.paths)}: {err}") from err
        stamps.append(stamp_ns(message, received_ns))
    order = np.argsort(stamps, kind="stable")
    return Truth(np.array(stamps, np.int64)[order], np.array(values)[order])


def _require(bag: Bag, topic: str) -> None:
    if topic not in bag.topics or not bag.topics[topic].messages:
        raise BagError(bag.path, f"nothing on {topic}; it has {bag.listed()}")


def with_interval(readout: Readout) -> list[str]:
    """Return the targets that a readout gives an interval of."""
    return [name for name, quantity in readout.targets.items() if not quantity.binary]


def declared_truths(bag: Bag, bundle: Bundle) -> tuple[dict[str, Truth], dict[str, str]]:
    """Return what a recording holds of the targets that a bundle's robot declares.

    And why of each other one there is no coverage: that is no fault of the recording.
    """
    robot = bundle.manifest.robot
    targets = robot.targets if robot is not None else ()
    if targets and bundle.manifest.readout is None:
        return {}, {t.name: "the bundle has no readout" for t in targets}
    truths: dict[str, Truth] = {}
    left_out: dict[str, str] = {}
    known = with_interval(bundle.readout()) if targets else []
    for target in targets:
        if target.name not in known:
            left_out[target.name] = "the readout has no interval of it"
            continue
        try:
            truths[target.name] = read_truth(bag, TargetTopic.declared(target, bag))
        except SMVAEError as err:
            left_out[target.name] = str(err)
    return truths, left_out


@dataclass
class Coverage:
    """Counts the latents whose 90 % intervals hold what was recorded."""

    readout: Readout
    truths: Mapping[str, Truth]
    _inside: dict[str, dict[str, list[NDArray[np.bool_]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, latent: Latent, subset: tuple[str, ...], label: str) -> None:
        """Compare one latent with every target of when it answers for."""
        there = {n: t.at(latent.answers_ns) for n, t in self.truths.items()}
        if all(value is None for value in there.values()):
            return
        estimates = self.readout.apply(subset, latent.mean, latent.variance)
        for name, truth in there.items():
            if truth is None:
                continue
            estimate = estimates[name]
            if truth.shape != estimate.value.shape:
                raise ConfigError(
                    f"targets: {name} has {len(estimate.value)} numbers in the readout, "
                    f"{len(truth)} in the recording"
                )
            apart = np.abs(truth - estimate.value)
            self._inside[label][name].append(apart <= NORMAL_90 * estimate.std)

    def of(self, label: str) -> dict[str, Any]:
        """Return target -> share inside (all its numbers together) and latents, of a subset."""
        return {
            name: {"inside_90": float(np.mean(each)), "latents": len(each)}
            for name, each in self._inside.get(label, {}).items()
        }
