"""Memory: the posterior of a set of stamped samples, of any sensors and any number of each.

B batch, N element, T stamp, M modality, D embedding, Z latent, W width of a path, K time constant.

An element is an embedding e, its sensor s and its age a >= 0 at the reference time. Each is read by
itself and without a clock, so once: (l, mu) by `Evidence.read`, and v = V_s e, (W,).

Path. v_s is held from each element of s to its next one, `hold_s` at most. Its integral between two
times is the way dC = (of every sensor, M W), in units of PATH_UNIT_S; its fading averages are

    S_{s,k} = sum over held pieces of v (exp(-end_age / tau_k) - exp(-start_age / tau_k))

Belief. `belief.py`: precisions of one instant add, age with T (one per latent
dimension) and count anew with c (per sensor and latent dimension); between two stamps the mean
moves by shift = K dC, and by what `bend.py` adds where the model has it.

Correction of the mean, as `SetEncoder`'s, from the newest element of every sensor that has one:

    phi_k(a) = 1 - exp(-a / tau_k),  tau_k of PERIODS_S
    x_s = e + A_s(phi(a)) + P dC(since its stamp),  A_s(phi) = A2 Swish(A1 phi)
    u_s = Swish(FC_term(x_s)) fade_s,  fade_s = exp(-a / f_s)
    g = Swish(FC_total(sum over s of u_s + H(S))),  H(S) = H2 Swish(H1 S)
    mean = P / (1 + P) Q / L + (1 - prod over s of (1 - fade_s)) head(g)

V has a bias, and no limit: tanh(V e) saturated within 600 steps and knew little of a command but
its signs (docs/decisions/training-contexts.md). A1, A2, P, H1, H2, K have no bias, and A2, P, H2, K
start at zero. Every term of time is 0 for a set of one instant, whose posterior is therefore
pooling `evidence`'s; `Evidence`, FC_term, FC_total and head are its own. Only ages enter: shifting
all stamps changes nothing.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from smvae_core.model.config import MemoryConfig, ModelConfig
from smvae_core.model.distributions import Posterior
from smvae_core.model.evidence import Evidence
from smvae_core.model.memory.belief import believe
from smvae_core.model.memory.bend import Bend
from smvae_core.model.memory.context import Elements
from smvae_core.model.memory.stamps import Held, Newest, Stamps
from smvae_core.model.pooling import SetSum
from smvae_core.model.set_encoder import SetEncoder

#: tau of phi, by which an age is read: 2 ms to 20 s.
PERIODS_S = tuple(2e-3 * 1e4 ** (k / 15) for k in range(16))
#: Of the way in K dC and P dC: what half a second brings is of the size of an embedding, without
#: which K and P, zero at the start, learn slowly.
PATH_UNIT_S = 0.1
#: Width of A1 and H1.
AGE_WIDTH, HISTORY_WIDTH = 64, 128
#: T, c and f at the start, s.
DRIFT_S, REPEAT_S, FADE_S = 20.0, 0.5, 5.0
#: Smallest and largest T, c and f, s.
TIMES_S = (1e-4, 1e4)


class Reading(NamedTuple):
    """What is read of every element by itself; the elements of the reference time come last."""

    embedding: Float[Tensor, "N D"]
    log_precision: Float[Tensor, "N Z"]
    mean: Float[Tensor, "N Z"]
    value: Float[Tensor, "N W"]
    sensor: Int[Tensor, " N"]
    owner: Int[Tensor, " N"]
    age_s: Float[Tensor, " N"]
    remembered: Bool[Tensor, " N"]
    """False for what is present at the reference time."""

    def laid_out(self, present: Bool[Tensor, "B M"]) -> tuple["Reading", Stamps, "Grid"]:
        """Return what is remembered and what `present` marks of the rest, and where it lies.

        The grid is of samples, stamps and sensors (B, T, M).
        """
        keep = self.remembered | present[self.owner, self.sensor]
        kept = self if keep.all() else Reading(*(x[keep] for x in self))
        size, count = present.shape
        stamps = Stamps.of(kept.owner, kept.age_s, size)
        length = stamps.age_s.shape[1]
        cell = (kept.owner * length + stamps.column) * count + kept.sensor
        return kept, stamps, Grid(cell, (size, length, count))


class Memory(nn.Module):
    """What pooling `evidence` needs beside for sets over time; see above for the formulas."""

    def __init__(self, config: ModelConfig, memory: MemoryConfig) -> None:
        super().__init__()
        self.names = tuple(m.name for m in config.modalities)
        self.hold_s = memory.hold_s
        count, dim, latent_dim = len(self.names), config.embedding_dim, config.latent_dim
        path = count * memory.width
        self.value = nn.ModuleDict({n: nn.Linear(dim, memory.width) for n in self.names})
        self.shift = nn.Linear(path, latent_dim, bias=False)
        self.way = nn.Linear(path, dim, bias=False)
        self.aged = nn.ModuleDict({n: _layers(len(PERIODS_S), AGE_WIDTH, dim) for n in self.names})
        self.history = _layers(path * len(memory.time_constants_s), HISTORY_WIDTH, dim)
        self.log_drift_s = nn.Parameter(torch.full((latent_dim,), math.log(DRIFT_S)))
        self.log_repeat_s = nn.Parameter(torch.full((count, latent_dim), math.log(REPEAT_S)))
        self.log_fade_s = nn.Parameter(torch.full((count,), math.log(FADE_S)))
        self.periods_s: Tensor
        self.register_buffer("periods_s", torch.tensor(PERIODS_S), persistent=False)
        self.time_constants_s: Tensor
        constants = torch.tensor(memory.time_constants_s)
        self.register_buffer("time_constants_s", constants, persistent=False)
        nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.way.weight)
        self.bend = Bend(path, latent_dim, memory.bend) if memory.bend else None

    def times(self) -> list[nn.Parameter]:
        """Return the logarithms of T, c and f, whose way is long as a noise scale's is."""
        return [self.log_drift_s, self.log_repeat_s, self.log_fade_s]

    @torch.no_grad()
    def widen(self, log_spread: Float[Tensor, " Z"]) -> None:
        """Let variances grow as fast as before when latents spread by s and not 1, see `Evidence`.

        A variance that is small beside s grows by 2 s tau / T, so T grows with s: else what is
        remembered would be drowned by fresh samples that say little.
        """
        self.log_drift_s.add_(log_spread)

    def read(
        self,
        evidence: Evidence,
        embeddings: Float[Tensor, "B M D"],
        present: Bool[Tensor, "B M"],
        elements: Elements,
    ) -> Reading:
        """Return what is read of every element, those that are present being of age 0."""
        owner, sensor = present.nonzero(as_tuple=True)
        every = [(embeddings[present], sensor, owner, embeddings.new_zeros(len(owner)))]
        for i, name in enumerate(self.names):
            if name in elements.embeddings:
                e, whose = elements.embeddings[name].to(embeddings), elements.owner[name]
                every.insert(
                    0, (e, torch.full_like(whose, i), whose, elements.age_s[name].to(embeddings))
                )
        embedding, sensor, owner, age = (torch.cat(x) for x in zip(*every, strict=True))
        log_precision, mean = evidence.read(embedding[None], present.new_ones(1, len(owner)))
        value = self.values(embedding, sensor)
        remembered = torch.ones_like(owner, dtype=torch.bool)
        remembered[len(owner) - len(every[-1][0]) :] = False
        return Reading(embedding, log_precision[0], mean[0], value, sensor, owner, age, remembered)

    def values(
        self, embedding: Float[Tensor, "N D"], sensor: Int[Tensor, " N"]
    ) -> Float[Tensor, "N W"]:
        """Return v of every element."""
        value = embedding.new_zeros(len(sensor), self.shift.in_features // len(self.names))
        for i, name in enumerate(self.names):
            rows = (sensor == i).nonzero().squeeze(1)
            value = value.index_copy(0, rows, self.value[name](embedding[rows]))
        return value

    def combine(
        self, encoder: SetEncoder, reading: Reading, present: Bool[Tensor, "B M"]
    ) -> Posterior:
        """Return the posteriors of what is remembered and what `present` marks of the rest."""
        evidence = encoder.evidence
        assert isinstance(evidence, Evidence)
        reading, stamps, grid = reading.laid_out(present)
        size, count = present.shape
        newest = Newest.of(grid.filled).column
        held = Held.of(grid.mean(reading.value), newest, stamps.age_s, self.hold_s)
        way = held.way().flatten(2)

        exponent = evidence.exponent()
        log_power = exponent * reading.log_precision
        if not self.training:  # as a robot's filter is; a step of training need not be
            log_power = log_power.double()
        log_power, mean = grid.strongest(log_power, reading.mean)
        gone, log_spread = way / PATH_UNIT_S, evidence.log_spread
        assert log_spread is not None
        log_precision, told = believe(
            log_power,
            mean,
            self.shift(gone),
            stamps.elapsed_s,
            exponent,
            positive_times(self.log_drift_s),
            positive_times(self.log_repeat_s),
            None if self.bend is None else self.bend.along(gone, log_spread),
        )

        last = newest[:, -1]
        known, at = last >= 0, last.clamp(min=0)
        age = torch.where(known, stamps.age_s.gather(1, at), 0.0)
        done = way.cumsum(1)
        since = done[:, -1:] - done.gather(1, at.unsqueeze(-1).expand(-1, -1, done.shape[2]))
        chosen = stamps.column == last[reading.owner, reading.sensor]
        of = (reading.owner * count + reading.sensor)[chosen]
        shown = Grid(of, (size, count)).mean(reading.embedding[chosen])
        return self.correct(
            encoder,
            newest=shown,
            known=known,
            age_s=age,
            way=since,
            history=held.histories(self.time_constants_s).flatten(1),
            log_precision=log_precision.to(shown),
            told=told.to(shown),
        )

    def correct(
        self,
        encoder: SetEncoder,
        *,
        newest: Float[Tensor, "B M D"],
        known: Bool[Tensor, "B M"],
        age_s: Float[Tensor, "B M"],
        way: Float[Tensor, "B M MW"],
        history: Float[Tensor, "B MWK"],
        log_precision: Float[Tensor, "B Z"],
        told: Float[Tensor, "B Z"],
    ) -> Posterior:
        """Return the posteriors of beliefs, their means corrected.

        Args:
            encoder: Whose sum, head and shear correct.
            newest: Embedding of the newest element of each sensor.
            known: Whether there is one.
            age_s: Its age.
            way: The integral since its stamp, in s.
            history: S.
            log_precision: log P of the belief.
            told: P / (1 + P) Q / L of it.
        """
        pool = encoder.pool
        assert isinstance(pool, SetSum)
        phi = 1.0 - torch.exp(-age_s.unsqueeze(-1) / self.periods_s)  # ONNX has no expm1
        aged = torch.stack([self.aged[n](phi[:, i]) for i, n in enumerate(self.names)], dim=1)
        fade = torch.where(known, torch.exp(-age_s / positive_times(self.log_fade_s)), 0.0)
        terms = pool.read(newest + aged + self.way(way / PATH_UNIT_S), known)
        terms = nn.functional.silu(terms) * fade.unsqueeze(-1)
        feature = nn.functional.silu(pool.total(terms.sum(1) + self.history(history)))
        weight = 1.0 - (1.0 - fade).prod(1, keepdim=True)
        corrected = told + weight * encoder.head(feature)
        assert encoder.evidence is not None
        log_var = encoder.evidence.log_var(log_precision)
        shear = None if encoder.shear is None else encoder.shear(feature, weight)
        return Posterior(corrected, log_var, shear)


class Grid:
    """Cells of a grid and the elements in them: one each, unless a sample came twice."""

    def __init__(self, cell: Int[Tensor, " N"], shape: tuple[int, ...]) -> None:
        self.cell, self.shape = cell, shape
        self.count = cell.new_zeros(math.prod(shape)).index_add(0, cell, torch.ones_like(cell))

    @property
    def filled(self) -> Bool[Tensor, "B T M"]:
        return (self.count > 0).view(self.shape)

    def total(self, values: Float[Tensor, "N X"]) -> Float[Tensor, "C X"]:
        return values.new_zeros(len(self.count), values.shape[1]).index_add(0, self.cell, values)

    def mean(self, values: Float[Tensor, "N X"]) -> Float[Tensor, "*C X"]:
        """Return the mean of each cell's elements; 0 where there is none."""
        found = self.total(values) / self.count.clamp(min=1).unsqueeze(1)
        return found.view(*self.shape, -1)

    def strongest(
        self, log_power: Float[Tensor, "N Z"], mean: Float[Tensor, "N Z"]
    ) -> tuple[Float[Tensor, "*C Z"], Float[Tensor, "*C Z"]]:
        """Return each cell's largest power (-infinity: it is empty) and its mean by power."""
        index = self.cell.unsqueeze(1).expand_as(log_power)
        empty = log_power.new_full((len(self.count), log_power.shape[1]), -math.inf)
        largest = empty.scatter_reduce(0, index, log_power, "amax")
        if int(self.count.max()) > 1:
            weight = (log_power - largest[self.cell]).exp()
            mean = weight / self.total(weight)[self.cell] * mean
        return largest.view(*self.shape, -1), self.total(mean).view(*self.shape, -1)


def positive_times(log_s: Tensor) -> Tensor:
    """Return a learned time, within TIMES_S, from its logarithm."""
    smallest, largest = TIMES_S
    return log_s.clamp(math.log(smallest), math.log(largest)).exp()


def _layers(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Return two layers without biases that are 0 at 0, and everywhere at the start."""
    last = nn.Linear(width, outputs, bias=False)
    nn.init.zeros_(last.weight)
    return nn.Sequential(nn.Linear(inputs, width, bias=False), nn.SiLU(), last)
