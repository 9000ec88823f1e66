"""The filter of a model's memory, one sample at a time: what `smvae_core/model/memory/` is whole.

The formulas of belief and path stand there, in `belief.py` and `memory.py`, with what they
promise. Here they are numpy, in double precision, and recursive. Over dt, of which v_s was held for
d_s:

    way since then    dC <- dC + v d                       of every sensor, since each one's newest
    mean              shift = sum over s of K_s v_s d_s    K_s v_s once for each sample
    histories         S <- S exp(-dt / tau) + v (exp(-(dt - d) / tau) - exp(-dt / tau))

An ageing and the sample that follows it are one step. With u = W / L after the sample times F(L)
before it, which is W itself where no sample follows:

    y <- u (exp(log t - log W(old)) y + shift) + what the sample changes

Such a step is 70 numpy calls on arrays of some hundred numbers, so that what costs is the call.
Constants are therefore as large as what they meet, and what lives within a step has its place.

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
#: log 0, and what stands for 0, as in `model/memory/belief.py`.
NOTHING, TINY = -1e6, 1e-30
#: A larger log precision counts as this one: its variance is 0 in the float32 of a latent.
LARGEST_LOG_PRECISION = 300.0


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
    pace: Array
    """K_s v (Z,), how fast it moves the mean while it is held."""
    term: NDArray[np.float32]
    """FC_term(e) (D,), of the correction"""

    @property
    def finite(self) -> bool:
        """Whether all of it are numbers; no belief recovers from what is none.

        Of an embedding that holds what is none, no number of v is one, whatever its term is.
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
    newest: tuple[Element | None, ...]
    """(M,) newest sample of each sensor."""
    value: Array
    """v (M, W) of each of them."""
    pace: Array
    """K_s v (M, Z) of each of them."""
    way: Array
    """dC (M, M, W): since each of them, of every sensor."""
    history: Array
    """S (M, W, K)"""


class _Scratch:
    """Places of what lives within one step."""

    def __init__(self, sensors: int, latent: int) -> None:
        self.drifting = np.empty((1 + sensors, latent))
        self.drifting_rest = self.drifting[1:]
        self.rest, self.kept = np.empty((sensors, latent)), np.empty((sensors, latent))


class Filter:
    """How beliefs age, and what a sample adds; for one thread at a time."""

    def __init__(self, parameters: FilterParameters) -> None:
        p = self._p = parameters
        a = self._a = p.exponent
        self.sensors, self.width = p.value_bias.shape
        rows = (self.sensors, a.size)
        self._hold_ns = round(float(p.hold_s) * 1e9)
        self._largest = LARGEST_LOG_PRECISION * a
        self._slope = -1.0 / np.maximum(a, 1.0)
        self._fade = -0.5 * np.minimum(a, 1.0)  # log t over log g
        self._per_a = 1.0 / a
        self._g_per_s, self._rho_per_s = -2.0 / p.drift_s, -1.0 / p.repeat_s
        self._fade_per_s = -1.0 / p.time_constants_s
        self._a_rows = np.broadcast_to(a, rows).copy()
        self._per_a_rows = np.broadcast_to(self._per_a, (1 + self.sensors, a.size)).copy()
        self._tiny, self._tiny_rows = np.full(a.size, TINY), np.full(rows, TINY)
        self._zero, self._one_rows = np.zeros(a.size), np.ones(rows)
        self._value_weight = p.value_weight.astype(np.float32)
        self._shift = p.shift.reshape(a.size, self.sensors, self.width).transpose(1, 0, 2).copy()
        self._scratch = _Scratch(*rows)

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
            newest=(None,) * count,
            value=np.zeros((count, width)),
            pace=np.zeros((count, latent)),
            way=np.zeros((count, count, width)),
            history=np.zeros((count, width, constants)),
        )

    def element(
        self,
        sensor: int,
        stamp_ns: int,
        embedding: NDArray[np.float32],
        term: NDArray[np.float32],
        log_precision: NDArray[np.float32],
        mean: NDArray[np.float32],
    ) -> Element:
        """Return a sample as memory keeps it, from its embedding (D,) and what is read of it."""
        value = self._value_weight[sensor] @ embedding + self._p.value_bias[sensor]
        return Element(
            stamp_ns,
            sensor,
            np.minimum(self._a * log_precision, self._largest),
            mean.astype(float),
            value,
            self._shift[sensor] @ value,
            term.copy(),
        )

    def aged(self, belief: Belief, at_ns: int) -> Belief:
        """Return a belief at a later moment; at one that is not later: the same."""
        if at_ns <= belief.at_ns:
            return belief
        return self._step(belief, at_ns) if belief.at_ns else belief._replace(at_ns=at_ns)

    def added(self, belief: Belief, element: Element) -> Belief:
        """Return a belief with one sample more, at the time of the later of the two."""
        return self._step(belief, max(belief.at_ns, element.stamp_ns), element)

    def _step(self, belief: Belief, at_ns: int, element: Element | None = None) -> Belief:
        """Return a belief at a moment that is not earlier, with one sample more at that moment."""
        log_total, part, part_mean = belief.log_total, belief.part, belief.part_mean
        value, pace, way, history = belief.value, belief.pace, belief.way, belief.history
        log_moved, shift = -belief.log_weight, None  # of y, so that it is a mean; of that mean
        if 0 < belief.at_ns < at_ns:
            dt_s, held_s = (at_ns - belief.at_ns) * 1e-9, self._held_s(belief, at_ns)
            log_g = self._g_per_s * dt_s
            log_moved += self._fade * log_g
            log_total, part, kept = self._drifted(log_total, part, log_g, dt_s)
            part_mean = part_mean * kept
            shift = held_s @ pace
            way = way + value * held_s[:, None]
            history = self._faded(history, value, dt_s, held_s)
        if element is None:
            log_total = np.maximum(log_total, NOTHING)
            log_weight = log_keep = self._log_weight(log_total)
        else:
            sensor = element.sensor
            scale = np.maximum(log_total, element.log_power)
            known, p = np.exp(log_total - scale), np.exp(element.log_power - scale)
            repeated = known * part[sensor]
            largest = np.maximum(p, repeated)
            total = known + (largest - repeated)
            before, log_total = log_total, scale + np.log(total)
            log_weight = self._log_weight(log_total)
            per_power = log_weight - log_total
            log_keep = per_power + before
        log_moved += log_keep
        keep = np.exp(log_moved)
        mean = keep * belief.mean
        part_mean = keep * part_mean
        if shift is not None:
            shift *= np.exp(log_keep)
            mean += shift
            part_mean += part * shift
        if element is None:
            return belief._replace(
                at_ns=at_ns, log_total=log_total, log_weight=log_weight, mean=mean, part=part,
                part_mean=part_mean, way=way, history=history,
            )  # fmt: skip
        per_power += element.log_power
        change = np.exp(per_power) * element.mean
        change -= p / np.maximum(largest, self._tiny) * part_mean[sensor]
        mean += change
        part_mean[sensor] += change
        part = part * (known / total)
        part[sensor] = largest / total
        value, pace, way = value.copy(), pace.copy(), way.copy()
        value[sensor], pace[sensor], way[sensor] = element.value, element.pace, 0.0
        newest = (*belief.newest[:sensor], element, *belief.newest[sensor + 1 :])
        return Belief(
            at_ns, log_total, log_weight, mean, part, part_mean, newest, value, pace, way, history
        )

    def _drifted(
        self, log_total: Array, part: Array, log_g: Array, dt_s: float
    ) -> tuple[Array, Array, Array]:
        """Return log F(L), r / L of it, and what r / L is of itself before, at most 1."""
        s = self._scratch
        rest = np.subtract(self._one_rows, part, out=s.rest)
        np.log(np.maximum(rest, self._tiny_rows, out=rest), out=rest)  # of L - r over L
        drifting = s.drifting  # log(1 + (1 - g) P), of L and of L - r of each sensor
        drifting[0] = log_total
        np.add(rest, log_total, out=s.drifting_rest)
        np.exp(np.multiply(drifting, self._per_a_rows, out=drifting), out=drifting)
        drifting *= -np.expm1(log_g)
        np.log1p(drifting, out=drifting)
        slowed = drifting[0]
        change = np.subtract(slowed, s.drifting_rest, out=s.kept)
        change *= self._a_rows
        rest += change
        np.expm1(np.minimum(rest, 0.0, out=rest), out=rest)  # no rounding makes a part negative
        aged = self._rho_per_s * dt_s
        np.exp(aged, out=aged)
        aged *= rest
        np.negative(aged, out=aged)
        kept = np.divide(aged, np.maximum(part, self._tiny_rows, out=s.kept), out=s.kept)
        return log_total + self._a * (log_g - slowed), aged, np.minimum(kept, 1.0, out=kept)

    def _held_s(self, belief: Belief, at_ns: int) -> Array:
        """Return for how long (M,) the newest values are held between a belief and a moment."""
        since_ns, hold_ns = belief.at_ns, self._hold_ns
        return np.array(
            [
                0.0 if e is None else max(min(at_ns, e.stamp_ns + hold_ns) - since_ns, 0) * 1e-9
                for e in belief.newest
            ]
        )

    def _faded(self, history: Array, value: Array, dt_s: float, held_s: Array) -> Array:
        """Return S (M, W, K) after a time."""
        faded = np.exp(self._fade_per_s * dt_s)
        weight = np.exp((dt_s - held_s)[:, None] * self._fade_per_s) - faded
        found: Array = history * faded
        found += value[:, :, None] * weight[:, None]
        return found

    def log_precision(self, belief: Belief) -> Array:
        """Return log P (Z,)."""
        found: Array = belief.log_total * self._per_a
        return found

    def inputs(self, belief: Belief) -> dict[str, NDArray[Any]]:
        """Return what the graph that makes the posterior of a belief takes."""
        log_precision = self.log_precision(belief)
        told = np.exp(-np.logaddexp(0.0, -log_precision) - belief.log_weight) * belief.mean
        terms = np.zeros((1, self.sensors, self._p.value_weight.shape[2]), np.float32)
        age_s = np.full((1, self.sensors), np.inf, np.float32)  # what never came has faded
        for sensor, element in enumerate(belief.newest):
            if element is not None:
                terms[0, sensor] = element.term
                age_s[0, sensor] = (belief.at_ns - element.stamp_ns) * 1e-9
        return {
            "terms": terms,
            "age_s": age_s,
            "way": belief.way.reshape(1, self.sensors, -1).astype(np.float32),
            "history": belief.history.reshape(1, -1).astype(np.float32),
            "log_precision": log_precision[None].astype(np.float32),
            "told": told[None].astype(np.float32),
        }

    def _log_weight(self, log_total: Array) -> Array:
        """Return log W."""
        found: Array = -np.logaddexp(self._zero, log_total * self._slope)
        return found
