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
        """Whether all of it are numbers; no belief recovers from what is none.

        Of an embedding that holds what is none, no number of v is one.
        """
        return bool(np.isfinite(self.log_power.sum() + self.mean.sum() + self.value.sum()))


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
    value: Array
    """v (M, W) of each of them."""
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
        self._per_a, self._slope = 1.0 / self._a, -1.0 / np.maximum(self._a, 1.0)
        self._g_per_s, self._rho_per_s = -2.0 / parameters.drift_s, -1.0 / parameters.repeat_s
        self._fade_per_ns = -1e-9 / parameters.time_constants_s
        self._value_weight = parameters.value_weight.astype(np.float32)
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
            value=np.zeros((count, width)),
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
        value = self._value_weight[sensor] @ embedding + self._p.value_bias[sensor]
        log_power = self._a * log_precision
        return Element(stamp_ns, sensor, log_power, mean.astype(float), value, embedding.copy())

    def aged(self, belief: Belief, at_ns: int) -> Belief:
        """Return a belief at a later moment; at one that is not later: the same."""
        if at_ns <= belief.at_ns or not belief.at_ns:
            return belief if at_ns <= belief.at_ns else belief._replace(at_ns=at_ns)
        dt_s = (at_ns - belief.at_ns) * 1e-9
        since = self._way(belief, at_ns)
        shift = self._p.shift @ since.ravel()
        log_g = dt_s * self._g_per_s
        log_rest = np.log(np.maximum(1.0 - belief.part, TINY))  # of L - r over L
        drifting = np.empty((self.sensors + 1, self._a.size))  # of L, and of L - r of each sensor
        drifting[0] = belief.log_total
        np.add(belief.log_total, log_rest, out=drifting[1:])
        drifting *= self._per_a
        drifting += np.log(np.maximum(-np.expm1(log_g), TINY))
        slowed = _softplus(drifting)
        aged = belief.log_total + self._a * (log_g - slowed[0])
        log_total = np.maximum(aged, NOTHING)
        log_weight = self._log_weight(log_total)
        log_rest += self._a * (slowed[0] - slowed[1:])
        part = np.exp(dt_s * self._rho_per_s)
        part *= 1.0 - np.exp(np.minimum(log_rest, 0.0))  # no rounding makes it negative
        kept = self._log_weight(aged) - belief.log_weight + self._fade * log_g
        keep = np.exp(np.minimum(kept, 0.0))
        part_mean = np.minimum(part / np.maximum(belief.part, TINY), 1.0)
        part_mean *= belief.part_mean
        part_mean *= keep
        moved = np.exp(log_weight) * shift
        part_mean += part * moved
        return belief._replace(
            at_ns=at_ns,
            log_total=log_total,
            log_weight=log_weight,
            mean=belief.mean * keep + moved,
            part=part,
            part_mean=part_mean,
            way=belief.way + since,
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
        part /= total
        history, way_then, value = (
            belief.history.copy(),
            belief.way_then.copy(),
            belief.value.copy(),
        )
        history[sensor] = self._history(belief, sensor)
        way_then[sensor] = belief.way
        value[sensor] = element.value
        return belief._replace(
            log_total=log_total,
            log_weight=log_weight,
            mean=carry * belief.mean + gain,
            part=part,
            part_mean=part_mean,
            newest=(*belief.newest[:sensor], element, *belief.newest[sensor + 1 :]),
            value=value,
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
        told = np.exp(_log_sigmoid(log_precision) - belief.log_weight) * belief.mean
        newest = np.zeros((1, self.sensors, self._p.value_weight.shape[2]), np.float32)
        known = [element is not None for element in belief.newest]
        ages_ns = [0 if e is None else belief.at_ns - e.stamp_ns for e in belief.newest]
        for sensor, element in enumerate(belief.newest):
            if element is not None:
                newest[0, sensor] = element.embedding
        age_ns = np.array(ages_ns, np.float64)[:, None]
        faded = np.exp(age_ns * self._fade_per_ns)
        weight = np.exp(np.maximum(age_ns - self._hold_ns, 0.0) * self._fade_per_ns) - faded
        history = belief.history * faded[:, None] + belief.value[:, :, None] * weight[:, None]
        since = belief.way - belief.way_then
        return {
            "log_precision": log_precision[None].astype(np.float32),
            "told": told[None].astype(np.float32),
            "newest": newest,
            "age_s": (age_ns.T * 1e-9).astype(np.float32),
            "way": since.reshape(1, self.sensors, -1).astype(np.float32),
            "history": history.reshape(1, -1).astype(np.float32),
            "known": np.array([known]),
        }

    def _log_weight(self, log_total: Array) -> Array:
        """Return log W."""
        found: Array = -np.logaddexp(0.0, log_total * self._slope)
        return found

    def _way(self, belief: Belief, at_ns: int) -> Array:
        """Return how much C (M, W) grows from a belief's moment to a later one."""
        held_ns = [
            0 if e is None else max(min(at_ns, e.stamp_ns + self._hold_ns) - belief.at_ns, 0)
            for e in belief.newest
        ]
        found: Array = belief.value * (np.array(held_ns)[:, None] * 1e-9)
        return found

    def _history(self, belief: Belief, sensor: int) -> Array:
        """Return S (W, K) of a sensor at the belief's moment."""
        element, history = belief.newest[sensor], belief.history[sensor]
        if element is None or element.stamp_ns == belief.at_ns:
            return history
        age_ns = belief.at_ns - element.stamp_ns
        faded = np.exp(age_ns * self._fade_per_ns)
        weight = np.exp(max(age_ns - self._hold_ns, 0) * self._fade_per_ns) - faded
        found: Array = history * faded + element.value[:, None] * weight
        return found


def _softplus(x: Array) -> Array:
    """Return log(1 + exp x): what `logaddexp` gives of 0 and x, in a third of its time."""
    found: Array = np.maximum(np.log1p(np.exp(np.minimum(x, 700.0))), x)
    return found


def _log_sigmoid(x: Array) -> Array:
    found: Array = -np.logaddexp(0.0, -x)
    return found
