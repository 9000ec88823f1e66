"""The filter of a model's memory, one sample at a time: what `smvae_core/model/memory.py` is whole.

The formulas of belief and path stand there and in `smvae_core/model/belief.py`, with what they
promise. Here they are numpy, in double precision, and recursive:

    the way since then    C(now) - C(then), C_s the integral of v_s up to a time
    histories             S <- S exp(-dt / tau) + v (exp(-(dt - d) / tau) - exp(-dt / tau)),
                          d the part of dt during which v was held

M sensors, Z latent, W width of a path, K histories, D embedding.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError

Array = NDArray[np.float64]
#: log 0, and what stands for 0, as in `model/belief.py`.
NOTHING, TINY = -1e6, 1e-30


@dataclass(frozen=True, kw_only=True)
class FilterParameters:
    """What the filter of a model has learned: `memory.npz` of a bundle."""

    exponent: Array
    """a (Z,)"""
    drift_s: Array
    """T (Z,)"""
    repeat_s: Array
    """c (M, Z)"""
    value_weight: Array
    """(M, W, D): v = weight e + bias"""
    value_bias: Array
    """(M, W)"""
    shift: Array
    """K (Z, M W), how the way moves the mean."""
    hold_s: Array
    """(), how long a value is held at most."""
    time_constants_s: Array
    """tau (K,) of the histories."""

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        file = io.BytesIO()
        np.savez(file, **{f.name: getattr(self, f.name) for f in fields(self)})
        return file.getvalue()

    @classmethod
    def parse(cls, content: bytes, path: Path) -> FilterParameters:
        """Return what the content of a file says; `path` is named in errors.

        Raises:
            ConfigError: If it is damaged, or its arrays do not fit each other.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                found = cls(**{f.name: arrays[f.name].astype(np.float64) for f in fields(cls)})
            found._check()
        except Exception as err:  # numpy and zipfile raise many kinds for damaged files
            raise ConfigError(f"{path}: is no memory: {err!r}") from err
        return found

    def _check(self) -> None:
        (latent,), (sensors, width) = self.exponent.shape, self.value_bias.shape
        expected: dict[str, tuple[int, ...]] = {
            "drift_s": (latent,),
            "repeat_s": (sensors, latent),
            "value_weight": (sensors, width, self.value_weight.shape[-1]),
            "shift": (latent, sensors * width),
            "hold_s": (),
            "time_constants_s": (self.time_constants_s.size,),
        }
        for name, shape in expected.items():
            if (got := getattr(self, name).shape) != shape:
                raise ValueError(f"{name} must have shape {shape}, got {got}")


class Element(NamedTuple):
    """A sample as memory keeps it."""

    stamp_ns: int
    """When it happened."""
    sensor: int
    log_power: Array
    """log p = a log lambda (Z,)"""
    mean: Array
    """mu (Z,)"""
    value: Array
    """v (W,)"""
    embedding: NDArray[np.float32]
    """e (D,)"""

    @property
    def finite(self) -> bool:
        """Whether all of it are numbers; no belief recovers from what is none."""
        return all(np.isfinite(x).all() for x in self[2:])


class Belief(NamedTuple):
    """All that some samples say of one moment."""

    at_ns: int
    """The moment; of no sample: 0."""
    log_total: Array
    """log L (Z,)"""
    log_weight: Array
    """log W (Z,)"""
    mean: Array
    """y (Z,)"""
    part: Array
    """r / L (M, Z)"""
    part_mean: Array
    """y_s (M, Z)"""
    way: Array
    """C (M, W) at the moment."""
    newest: tuple[Element | None, ...]
    """(M,) newest sample of each sensor."""
    way_then: Array
    """(M, M, W): C at the time of each of them."""
    history: Array
    """S (M, W, K) at the time of each of them."""


class Filter:
    """How beliefs age, and what a sample adds."""

    def __init__(self, parameters: FilterParameters) -> None:
        self._p = parameters
        self._a = parameters.exponent
        self._hold_ns = round(float(parameters.hold_s) * 1e9)
        self._fade = -0.5 * np.minimum(self._a, 1.0)  # log t over log g
        self.sensors, self.width = parameters.value_bias.shape

    def blank(self) -> Belief:
        """Return the belief of no sample: the prior."""
        count, width = self.sensors, self.width
        latent, constants = self._a.size, self._p.time_constants_s.size
        return Belief(
            at_ns=0,
            log_total=np.full(latent, NOTHING),
            log_weight=self._log_weight(np.full(latent, NOTHING)),
            mean=np.zeros(latent),
            part=np.zeros((count, latent)),
            part_mean=np.zeros((count, latent)),
            way=np.zeros((count, width)),
            newest=(None,) * count,
            way_then=np.zeros((count, count, width)),
            history=np.zeros((count, width, constants)),
        )

    def element(
        self,
        sensor: int,
        stamp_ns: int,
        embedding: NDArray[np.float32],
        log_precision: NDArray[np.float32],
        mean: NDArray[np.float32],
    ) -> Element:
        """Return a sample as memory keeps it, from its embedding (D,) and what is read of it."""
        value = self._p.value_weight[sensor] @ embedding + self._p.value_bias[sensor]
        log_power = self._a * log_precision
        return Element(stamp_ns, sensor, log_power, mean.astype(float), value, embedding.copy())

    def aged(self, belief: Belief, at_ns: int) -> Belief:
        """Return a belief at a later moment; at one that is not later: the same."""
        if at_ns <= belief.at_ns or not belief.at_ns:
            return belief._replace(at_ns=max(at_ns, belief.at_ns))
        dt_s = (at_ns - belief.at_ns) * 1e-9
        way = self._way(belief, at_ns)
        shift = self._p.shift @ (way - belief.way).ravel()
        log_g = (-2.0 * dt_s) / self._p.drift_s
        drift = np.log(np.maximum(-np.expm1(log_g), TINY)) + belief.log_total / self._a
        slowed = np.logaddexp(0.0, drift)
        log_total = np.maximum(belief.log_total + self._a * (log_g - slowed), NOTHING)
        log_weight = self._log_weight(log_total)
        log_rest = np.log(np.maximum(1.0 - belief.part, TINY))  # of L - r over L
        slowed_rest = np.logaddexp(0.0, drift + log_rest / self._a)
        rest = np.exp(log_rest + self._a * (slowed - slowed_rest))
        part = (1.0 - rest) * np.exp(-dt_s / self._p.repeat_s)
        keep = np.exp(np.minimum(log_weight - belief.log_weight + self._fade * log_g, 0.0))
        kept = np.minimum(part / np.maximum(belief.part, TINY), 1.0)
        moved = np.exp(log_weight) * shift
        return belief._replace(
            at_ns=at_ns,
            log_total=log_total,
            log_weight=log_weight,
            mean=belief.mean * keep + moved,
            part=part,
            part_mean=belief.part_mean * kept * keep + part * moved,
            way=way,
        )

    def added(self, belief: Belief, element: Element) -> Belief:
        """Return a belief with one sample more, at the time of the later of the two."""
        belief = self.aged(belief, element.stamp_ns)
        sensor = element.sensor
        log_p, log_old = element.log_power, belief.log_total
        scale = np.maximum(log_old, log_p)
        known, p = np.exp(log_old - scale), np.exp(log_p - scale)
        part = known * belief.part
        largest = np.maximum(p, part[sensor])
        total = known + (largest - part[sensor])
        log_total = scale + np.log(total)
        log_weight = self._log_weight(log_total)
        per_power = log_weight - log_total
        carry = np.exp(per_power - belief.log_weight + log_old)
        part_mean = carry * belief.part_mean
        replaced = p / np.maximum(largest, TINY)
        gain = np.exp(per_power + log_p) * element.mean - replaced * part_mean[sensor]
        part_mean[sensor] += gain
        part[sensor] = largest
        history, way_then = belief.history.copy(), belief.way_then.copy()
        history[sensor] = self._history(belief, slice(sensor, sensor + 1))[0]
        way_then[sensor] = belief.way
        newest = (*belief.newest[:sensor], element, *belief.newest[sensor + 1 :])
        return belief._replace(
            log_total=log_total,
            log_weight=log_weight,
            mean=carry * belief.mean + gain,
            part=part / total,
            part_mean=part_mean,
            newest=newest,
            way_then=way_then,
            history=history,
        )

    def log_precision(self, belief: Belief) -> Array:
        """Return log P (Z,)."""
        found: Array = belief.log_total / self._a
        return found

    def inputs(self, belief: Belief) -> dict[str, NDArray[Any]]:
        """Return what the graph that makes the posterior of a belief takes."""
        log_precision = self.log_precision(belief)
        embedding = np.zeros((self.sensors, self._p.value_weight.shape[2]), np.float32)
        for sensor, element in enumerate(belief.newest):
            if element is not None:
                embedding[sensor] = element.embedding
        known = np.array([element is not None for element in belief.newest])
        since = (belief.way - belief.way_then).reshape(self.sensors, -1)
        history = self._history(belief, slice(None)).reshape(-1)
        found: dict[str, NDArray[Any]] = {
            "log_precision": log_precision,
            "told": np.exp(_log_sigmoid(log_precision) - belief.log_weight) * belief.mean,
            "newest": embedding,
            "age_s": self._elapsed_ns(belief) * 1e-9,
            "way": since,
            "history": history,
        }
        inputs = {name: array[None].astype(np.float32) for name, array in found.items()}
        return inputs | {"known": known[None]}

    def _log_weight(self, log_total: Array) -> Array:
        """Return log W."""
        return _log_sigmoid(log_total / np.maximum(self._a, 1.0))

    def _elapsed_ns(self, belief: Belief) -> NDArray[np.int64]:
        """Return how old the newest sample of each sensor is (M,); 0 where there is none."""
        stamps = [belief.at_ns if e is None else e.stamp_ns for e in belief.newest]
        return belief.at_ns - np.array(stamps, np.int64)

    def _way(self, belief: Belief, at_ns: int) -> Array:
        """Return C (M, W) at a later moment than a belief's."""
        way = belief.way.copy()
        for sensor, element in enumerate(belief.newest):
            if element is not None:
                end_ns = min(at_ns, element.stamp_ns + self._hold_ns)
                held_ns = end_ns - belief.at_ns
                if held_ns > 0:
                    way[sensor] += element.value * (held_ns * 1e-9)
        return way

    def _history(self, belief: Belief, sensors: slice) -> Array:
        """Return S (M, W, K) of some sensors at the belief's moment."""
        elapsed_s = self._elapsed_ns(belief)[sensors, None] * 1e-9
        held_s = np.minimum(elapsed_s, self._hold_ns * 1e-9)
        tau = self._p.time_constants_s
        faded = np.exp(-elapsed_s / tau)
        weight = np.exp((held_s - elapsed_s) / tau) - faded
        values = np.zeros((self.sensors, self.width))
        for sensor, element in enumerate(belief.newest):
            if element is not None:
                values[sensor] = element.value
        return belief.history[sensors] * faded[:, None] + values[sensors, :, None] * weight[:, None]


def _log_sigmoid(x: Array) -> Array:
    found: Array = -np.logaddexp(0.0, -x)
    return found
