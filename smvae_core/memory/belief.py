"""The filter of a model's memory, one sample at a time: what `smvae_core/model/memory/` is whole.

The formulas of belief and path stand there, in `belief.py` and `memory.py`, with what they
promise. Here they are numpy, in double precision, and recursive. A step is some 45 numpy calls on
arrays of some hundred numbers, so that what costs is the call. What is kept is therefore what most
of them treat alike. In place of L, and of U_s = L - r_s, which is L without what the next sample of
s would only repeat, that is n = L^(-1/a) = 1 / P, and U_s^(-1/a); in place of Q and R_s the means
that they speak of, m = Q / L and m_s = R_s / r_s. Ageing by dt, over which v_s was held for d_s, is
then one product and one sum:

    n <- G n + G - 1        G = exp(2 dt / T), of L and of every U_s
    m <- t m + shift        of all and of every sensor; shift = sum over s of K_s v_s d_s, and what
                            `model/memory/bend.py` adds of sum over s of B_s v_s d_s
    f_s = exp(-dt / c_s) (1 - (n / n_s)^a)             r_s / L, where n_s is that of U_s
    way since then    dC <- dC + v d                   of every sensor, since each one's newest
    histories         S <- S exp(-dt / tau) + v (exp(-(dt - d) / tau) - exp(-dt / tau))

and a sample (l, mu) of s, with k = p / L = (n lambda)^a, w = k / max(k, f_s) and
new = k - min(k, f_s):

    L <- L (1 + new)
    m <- (m + new mu + min(k, f_s) (mu - m_s)) / (1 + new)
    m_s <- (1 - w) m_s + w mu

While a sensor is silent its m_s grows with t, and f_s falls faster, with t^-2 or more where others
go on. f_s is known to 1e-16 of L, so that it counts as 0 below `FAINT`, and m_s no more.

M sensors, R = 1 + M (all of them together, each), Z latent, W width of a path, K histories, D
embedding.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError

Array = NDArray[np.float64]
#: Log precisions are taken within these: beyond, nothing is known, and a variance is 0 in float32.
LOG_PRECISIONS = (-200.0, 300.0)
#: Stands for 0 in a share of L, as in `model/memory/belief.py`; and where one divides by it.
TINY, TINIEST = 1e-30, 1e-300
#: Less of L than this is rounding: a sensor of which no more is left has said nothing.
FAINT = 1e-13
#: An ageing that would raise any n by more than exp(this) leaves nothing.
MOST_GROWTH = 100.0
#: Means are within this, which only the mean of what counts for nothing leaves.
LARGEST_MEAN = 1e100
#: log k is at most this: L is nothing beside p.
MOST_EVIDENCE = 600.0
#: Of the parameters, those that a file without a bend lacks.
BEND = ("bend_state", "bend_bias", "bend_way", "bend_out")


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
    bend_state: Array = field(default_factory=lambda: np.zeros(0))
    """A (R, 2 Z), of P / (1 + P) Q / L and P / (1 + P); without a bend this and the others lack."""
    bend_bias: Array = field(default_factory=lambda: np.zeros(0))
    """b (R,)"""
    bend_way: Array = field(default_factory=lambda: np.zeros(0))
    """B (R, M W)"""
    bend_out: Array = field(default_factory=lambda: np.zeros(0))
    """U (Z, R)"""

    @property
    def rank(self) -> int:
        """R, 0 without a bend."""
        return self.bend_bias.size

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        file = io.BytesIO()
        held = [f.name for f in fields(self) if self.rank or f.name not in BEND]
        np.savez(file, **{name: getattr(self, name) for name in held})
        return file.getvalue()

    @classmethod
    def parse(cls, content: bytes, path: Path) -> FilterParameters:
        """Return what the content of a file says; `path` is named in errors.

        Raises:
            ConfigError: If it is damaged, or its arrays do not fit each other.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                names = [f.name for f in fields(cls) if f.name not in BEND or f.name in arrays]
                found = cls(**{name: arrays[name].astype(np.float64) for name in names})
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
        if rank := self.rank:
            expected["bend_state"] = (rank, 2 * latent)
            expected["bend_way"] = (rank, sensors * width)
            expected["bend_out"] = (latent, rank)
        for name, shape in expected.items():
            if (got := getattr(self, name).shape) != shape:
                raise ValueError(f"{name} must have shape {shape}, got {got}")


class Element(NamedTuple):
    """A sample as memory keeps it."""

    stamp_ns: int
    """When it happened."""
    sensor: int
    precision: Array
    """lambda (Z,)"""
    mean: Array
    """mu (Z,)"""
    path: Array
    """v (W,), and K_s v (Z,), how fast it moves the mean while it is held, and B_s v (R,)."""
    term: NDArray[np.float32]
    """FC_term(e) (D,), of the correction"""
    finite: bool
    """Whether all of it are numbers; no belief recovers from what is none. Of an embedding that
    holds what is none, no number of v is one, whatever its term is."""


class Belief(NamedTuple):
    """All that some samples say of one moment."""

    at_ns: int
    """The moment; of no sample: 0."""
    state: Array
    """n, then m (2 R, Z)"""
    grown: float
    """By what exponent n can have grown, at most, since the means were bounded."""
    newest: tuple[Element | None, ...]
    """(M,) newest sample of each sensor."""
    path: Array
    """v, K_s v and B_s v (M, W + Z + R) of each of them that is held, 0 of others."""
    held_ns: float
    """Until when all those are held, at least."""
    sums: Array
    """Of v (M, M + K, W): dC since each sensor's newest, and S."""


class _Scratch:
    """Places of what lives within one step."""

    def __init__(self, sensors: int, latent: int, histories: int) -> None:
        rows = 1 + sensors
        self.growth = np.empty((2 * rows + sensors, latent))
        self.grown, self.grown_n = self.growth[: 2 * rows], self.growth[:rows]
        self.repeated = self.growth[2 * rows :]
        self.added = np.empty((2 * rows, latent))
        self.added_n, self.shift = self.added[:rows], self.added[rows:]
        self.dt_s = np.empty((rows, sensors))
        self.fade, self.weight = np.ones((2, sensors + histories))
        self.fade_history, self.weight_history = self.fade[sensors:], self.weight[sensors:]
        self.weight_way = self.weight[:sensors]
        self.fades, self.weights = self.fade[:, None], self.weight[:, None]
        self.part = np.empty((sensors, latent))
        self.total = np.empty((rows, latent))
        self.rest = self.total[1:]
        self.is_faint = np.empty(latent, bool)
        self.base, self.k, self.gain, self.change, self.moved, self.largest = np.empty((6, latent))


class Filter:
    """How beliefs age, and what a sample adds; for one thread at a time."""

    def __init__(self, parameters: FilterParameters) -> None:
        p = self._p = parameters
        a = p.exponent
        self.sensors, self.width = p.value_bias.shape
        count = self.sensors
        n, m = 2.0 / p.drift_s, np.minimum(a, 1.0) / p.drift_s  # log G and log t, of a second
        each = np.ones((1 + count, 1))
        self._rates = np.concatenate([each * n, each * m, -1.0 / p.repeat_s])
        self._fastest = float(n.max())
        self._most_growth = MOST_GROWTH * np.maximum(self._rates / n, 0.0)
        self._fade_per_s = -1.0 / p.time_constants_s
        self._a, self._a_rows = a, np.ones((count, 1)) * a
        self._root_rows = each * (-1.0 / a)
        self._most = np.exp(np.minimum(MOST_EVIDENCE / a, MOST_EVIDENCE))
        self._hold_ns = round(float(p.hold_s) * 1e9)
        # constants as large as what they meet: to spread them would cost as much as a call
        self._one, self._tiniest = np.ones(a.size), np.full(a.size, TINIEST)
        self._one_parts, self._one_rows = np.ones((count, a.size)), np.ones((1 + count, a.size))
        self._one_histories = np.ones(p.time_constants_s.size)
        self._faint, self._nothing = np.full(a.size, FAINT), np.zeros(a.size)
        self._tiny = np.full(a.size, TINY)
        self._each = np.ones(3 * a.size + self.width + p.rank)
        self._moves = slice(self.width, self.width + a.size)
        self._least, self._largest = (np.full(a.size, limit) for limit in LOG_PRECISIONS)
        self._value_weight = list(p.value_weight.astype(np.float32))
        self._value_bias = list(p.value_bias)
        shift = np.concatenate([p.shift, p.bend_way.reshape(p.rank, p.shift.shape[1])])
        shift = shift.reshape(a.size + p.rank, count, self.width).transpose(1, 0, 2)
        self._shift = list(np.ascontiguousarray(shift))
        self._scratch = _Scratch(count, a.size, p.time_constants_s.size)
        self._into = _Into(p)
        self.inputs = self._into.inputs
        """What the graph that makes a posterior takes, by name; see `put`."""

    def blank(self) -> Belief:
        """Return the belief of no sample: the prior."""
        count, width, latent = self.sensors, self.width, self._a.size
        state = np.zeros((2 * (1 + count), latent))
        state[: 1 + count] = np.exp(-LOG_PRECISIONS[0])
        return Belief(
            at_ns=0,
            state=state,
            grown=0.0,
            newest=(None,) * count,
            path=np.zeros((count, width + latent + self._p.rank)),
            held_ns=math.inf,
            sums=np.zeros((count, count + self._p.time_constants_s.size, width)),
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
        latent = self._a.size
        numbers = np.empty(self._each.size)
        precision, read = numbers[:latent], numbers[latent : 2 * latent]
        path = numbers[2 * latent :]
        value = path[: self.width]
        value[:] = np.dot(self._value_weight[sensor], embedding)
        value += self._value_bias[sensor]
        np.dot(self._shift[sensor], value, out=path[self.width :])
        precision[:], read[:] = log_precision, mean
        np.maximum(precision, self._least, out=precision)
        np.exp(np.minimum(precision, self._largest, out=precision), out=precision)
        finite = math.isfinite(np.dot(numbers, self._each))
        return Element(stamp_ns, sensor, precision, read, path, term.copy(), finite)

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
        s, rows = self._scratch, 1 + self.sensors
        if ages := 0 < belief.at_ns < at_ns:
            belief = self._drifted(belief, at_ns)
        _, state, grown, newest, path, held_ns, sums = belief
        if not ages:
            state, sums = state.copy(), sums.copy()
        n, m = state[:rows], state[rows:]
        all_n, part, total = n[0], s.part, s.total
        np.divide(all_n, n[1:], out=part)
        np.power(part, self._a_rows, out=part)
        np.subtract(self._one_parts, part, out=part)
        if ages:
            part *= s.repeated
        if element is None:
            total[0] = 1.0
            np.subtract(self._one_parts, part, out=s.rest)
        else:
            sensor = element.sensor
            all_n = self._told(all_n, m[0], m[1 + sensor], part, element)
            path = path.copy()
            path[sensor], sums[:, sensor] = element.path, 0.0
            held_ns = min(held_ns, element.stamp_ns + self._hold_ns)
            newest = (*newest[:sensor], element, *newest[sensor + 1 :])
        np.maximum(total, np.multiply(total[0], self._tiny, out=s.k), out=total)
        np.power(total, self._root_rows, out=total)
        np.multiply(total, all_n, out=n)
        return Belief(at_ns, state, grown, newest, path, held_ns, sums)

    def _drifted(self, belief: Belief, at_ns: int) -> Belief:
        """Return a belief at a later moment but for what repeats less, exp(-dt / c) in its place.

        Its arrays are new where they differ.
        """
        s, count, width = self._scratch, self.sensors, self.width
        dt_s = (at_ns - belief.at_ns) * 1e-9
        np.multiply(self._rates, dt_s, out=s.growth)
        grown = belief.grown + self._fastest * dt_s
        if bound := grown > MOST_GROWTH:
            np.minimum(s.growth, self._most_growth, out=s.growth)
        np.exp(s.growth, out=s.growth)
        np.exp(np.multiply(self._fade_per_s, dt_s, out=s.fade_history), out=s.fade_history)
        np.subtract(self._one_histories, s.fade_history, out=s.weight_history)
        s.weight_way.fill(dt_s)
        sums: Array = belief.sums * s.fades
        path, held_ns = belief.path, belief.held_ns
        if ended := at_ns > held_ns:  # on the way: as if they were less, but held to the end
            held_s = self._held_s(belief, at_ns)[:, None]
            share = held_s / dt_s
            other = np.exp((dt_s - held_s) * self._fade_per_s) - s.fade_history
            other -= share * s.weight_history
            sums[:, count:] += path[:, None, :width] * other[:, :, None]
            path = path * share
        s.dt_s.fill(dt_s)
        np.dot(s.dt_s, path[:, self._moves], out=s.shift)
        if self._p.rank:
            s.shift += self._bent(belief, dt_s * path[:, self._moves.stop :].sum(axis=0))
        sums += path[:, None, :width] * s.weights
        np.subtract(s.grown_n, self._one_rows, out=s.added_n)
        state: Array = belief.state * s.grown
        state += s.added
        if bound:
            means, grown = state[1 + count :], 0.0
            np.clip(means, -LARGEST_MEAN, LARGEST_MEAN, out=means)
        path = belief.path
        if ended:
            ends_ns = [0 if e is None else e.stamp_ns + self._hold_ns for e in belief.newest]
            held_ns = min((end for end in ends_ns if end > at_ns), default=math.inf)
            path = path * [[end > at_ns] for end in ends_ns]
        return Belief(at_ns, state, grown, belief.newest, path, held_ns, sums)

    def _bent(self, belief: Belief, way: Array) -> Array:
        """Return what the mean moves (Z,) beside K dC, by B dC (R,) since a belief."""
        p, state = self._p, belief.state
        weight = 1.0 / (1.0 + state[0])
        read = np.dot(p.bend_state, np.concatenate([weight * state[1 + self.sensors], weight]))
        return np.asarray(np.dot(p.bend_out, np.tanh(read + p.bend_bias) * way))

    def _held_s(self, belief: Belief, at_ns: int) -> Array:
        """Return for how long (M,) the newest values are held between a belief and a moment."""
        since_ns, hold_ns = belief.at_ns, self._hold_ns
        return np.array(
            [
                0.0 if e is None else max(min(at_ns, e.stamp_ns + hold_ns) - since_ns, 0) * 1e-9
                for e in belief.newest
            ]
        )

    def _told(self, n: Array, m: Array, m_s: Array, part: Array, element: Element) -> Array:
        """Change m and m_s by a sample, leave what all and each know of L, and return n of L."""
        s = self._scratch
        total, k, gain, change = s.total, s.k, s.gain, s.change
        own = part[element.sensor]
        faint = np.less(own, self._faint, out=s.is_faint)
        np.putmask(own, faint, self._nothing)
        np.putmask(m_s, faint, self._nothing)
        np.minimum(np.multiply(n, element.precision, out=k), self._most, out=k)
        n = np.divide(k, element.precision, out=s.base)
        np.power(k, self._a, out=k)
        again = np.minimum(k, own, out=s.moved)
        largest = np.maximum(k, own, out=s.largest)
        np.subtract(k, again, out=gain)
        grown = np.add(gain, self._one, out=total[0])
        np.subtract(grown, part, out=s.rest)
        np.subtract(grown, largest, out=s.rest[element.sensor])  # rounded as that of the others
        np.subtract(element.mean, m_s, out=change)
        gain *= element.mean
        again *= change
        gain += again
        m += gain
        m /= grown
        k /= np.maximum(largest, self._tiniest, out=largest)
        m_s *= np.subtract(self._one, k, out=change)  # no sum where one is large and goes
        k *= element.mean
        m_s += k
        return n

    def log_precision(self, belief: Belief) -> Array:
        """Return log P (Z,)."""
        return -np.log(belief.state[0])

    def put(self, belief: Belief) -> None:
        """Write what the graph that makes the posterior of a belief takes into `inputs`."""
        into, count, state = self._into, self.sensors, belief.state
        n, scratch = state[0], self._scratch.k
        np.negative(np.log(n, out=scratch), out=scratch)
        into.log_precision[:] = scratch
        np.divide(state[1 + count], np.add(n, self._one, out=scratch), out=scratch)
        into.told[:] = scratch
        into.way[:] = belief.sums[:, :count]
        into.history[:] = belief.sums[:, count:]
        ages_s = []
        for row, element in zip(into.terms, belief.newest, strict=True):
            if element is None:
                row.fill(0.0)
                ages_s.append(math.inf)  # what never came has faded
            else:
                row[:] = element.term
                ages_s.append((belief.at_ns - element.stamp_ns) * 1e-9)
        into.age_s[:] = ages_s


class _Into:
    """What the graph takes, as the filter sees it."""

    def __init__(self, parameters: FilterParameters) -> None:
        p = parameters
        (count, width, embedding), (latent,) = p.value_weight.shape, p.exponent.shape
        constants = p.time_constants_s.size
        way = np.zeros((1, count, count * width), np.float32)  # since whose newest, of whom, W
        history = np.zeros((1, count * width * constants), np.float32)  # of whom, W, K
        terms, age_s = np.zeros((1, count, embedding), np.float32), np.zeros((1, count), np.float32)
        log_precision, told = np.zeros((2, 1, latent), np.float32)
        self.inputs = {
            "terms": terms,
            "age_s": age_s,
            "way": way,
            "history": history,
            "log_precision": log_precision,
            "told": told,
        }
        self.terms, self.age_s = list(terms[0]), age_s[0]
        self.way = way.reshape(count, count, width).swapaxes(0, 1)
        self.history = history.reshape(count, width, constants).swapaxes(1, 2)
        self.log_precision, self.told = log_precision[0], told[0]
