"""Other memories in place of ours, for `benchmarks.outage`: what else a set over time is pooled by.

B batch, N element, T stamp, M modality, D embedding, Z latent, R stamp with an element, L token.

All stand on one trained model of single instants, hear the same contexts, and learn in the same
stages. RSSM and transformer begin as that model, by layers that are zero at the start. The GRU
learns the posterior anew: each as it learns faster (docs/decisions/memory-peers.md). Their states
are half as wide as an embedding. None is bound by anything that `Memory` promises.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from smvae_core.model.config import ModelConfig
from smvae_core.model.distributions import Posterior
from smvae_core.model.evidence import Evidence
from smvae_core.model.memory.belief import NOTHING
from smvae_core.model.memory.context import Elements
from smvae_core.model.memory.memory import PERIODS_S, Memory, Reading, positive_times
from smvae_core.model.pooling import PMA, SelfAttention, SetSum
from smvae_core.model.set_encoder import SetEncoder
from smvae_core.model.smvae import SMVAE

#: Of log(1 + elapsed / TICK_S), by which recurrent networks read a time.
TICK_S = 0.01
#: Time in which a hidden state fades, at the start.
FADE_S = 20.0
#: Width of the layers that read an age, and layers of self-attention, as in the trial.
AGE_WIDTH, LAYERS = 128, 2


class Seen(NamedTuple):
    """What a context shows, in time; two elements of one sensor and stamp count as one."""

    embedding: Float[Tensor, "N D"]
    share: Float[Tensor, "N 1"]
    """1, or less of what came twice."""
    cell: Int[Tensor, " N"]
    """Where each element lies in what `filled` marks."""
    filled: Bool[Tensor, "B T M"]
    age_s: Float[Tensor, "B T"]
    log_elapsed: Float[Tensor, "B T 1"]
    elapsed_s: Float[Tensor, "B T 1"]
    feature: Float[Tensor, "B T D"]
    """The set feature of each stamp by itself; zeros where it has no element."""
    experts: tuple[Float[Tensor, "B T Z"], Float[Tensor, "B T Z"]]
    """log P of the sensors of each stamp, and their mean; nearly -infinity and 0 of none."""
    evidence: Evidence
    correction: Float[Tensor, "B T Z"]
    """What the set encoder's head adds to the mean."""

    @classmethod
    def of(cls, encoder: SetEncoder, reading: Reading, present: Bool[Tensor, "B M"]) -> Seen:
        """Lay out what is remembered, and what `present` marks of the rest."""
        pool, evidence = encoder.pool, encoder.evidence
        assert isinstance(pool, SetSum)
        assert evidence is not None
        assert encoder.shear is None
        reading, stamps, grid = reading.laid_out(present)
        (size, length, count), cell = grid.shape, grid.cell
        some = grid.filled.any(2)
        share = (1.0 / grid.count[cell]).unsqueeze(1)
        terms = share * nn.functional.silu(pool.read(reading.embedding[None], None)[0])
        total = terms.new_zeros(size * length, pool.width).index_add(0, cell // count, terms)
        found = nn.functional.silu(pool.total(total.view(size, length, -1)[some]))
        feature = found.new_zeros(size, length, pool.width)
        feature[some] = found
        correction = torch.where(some.unsqueeze(2), encoder.head(feature), 0.0)
        exponent = evidence.exponent()
        powers, means = grid.strongest(exponent * reading.log_precision, reading.mean)
        powers = powers.clamp(min=NOTHING)
        log_precision = torch.logsumexp(powers, 2) / exponent
        mean = (torch.softmax(powers, 2) * means).sum(2)
        elapsed_s = stamps.elapsed_s.unsqueeze(2)
        return cls(
            embedding=reading.embedding,
            share=share,
            cell=cell,
            filled=grid.filled,
            age_s=stamps.age_s,
            log_elapsed=torch.log1p(elapsed_s / TICK_S),
            elapsed_s=elapsed_s,
            feature=feature,
            experts=(log_precision, mean),
            evidence=evidence,
            correction=correction,
        )

    @property
    def stamped(self) -> tuple[Float[Tensor, "B T Z"], Float[Tensor, "B T Z"]]:
        """Mean and log variance of each stamp by itself; the prior's of none."""
        log_precision, told = self.experts
        mean = torch.sigmoid(log_precision) * told + self.correction
        return mean, self.evidence.log_var(log_precision)

    @property
    def active(self) -> Bool[Tensor, "B T 1"]:
        """Stamps with an element, and the reference time."""
        some = self.filled.any(2, keepdim=True)
        some[:, -1] = True
        return some


class PeerMemory(Memory):
    """Answers as `Memory` does, by none of its weights."""

    def __init__(self, config: ModelConfig) -> None:
        nn.Module.__init__(self)
        self.names = tuple(m.name for m in config.modalities)

    def times(self) -> list[nn.Parameter]:
        return []

    def widen(self, log_spread: Float[Tensor, " Z"]) -> None:
        """Change nothing: nothing drifts."""

    def values(
        self, embedding: Float[Tensor, "N D"], sensor: Int[Tensor, " N"]
    ) -> Float[Tensor, "N W"]:
        return embedding.new_zeros(len(sensor), 0)

    def combine(
        self, encoder: SetEncoder, reading: Reading, present: Bool[Tensor, "B M"]
    ) -> Posterior:
        return self.told(Seen.of(encoder, reading, present))

    def told(self, seen: Seen) -> Posterior:
        """Return the posteriors at the reference times."""
        raise NotImplementedError


class GRUMemory(PeerMemory):
    """A GRU over what the model of one instant says of each stamp, with its set feature.

    Its state fades between stamps, h exp(-elapsed / f), as in GRU-D (Che et al. 2018).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        width, latent_dim = config.embedding_dim // 2, config.latent_dim
        self.cell = nn.GRUCell(config.embedding_dim + 2 * latent_dim + 1, width)
        self.head = nn.Linear(width, 2 * latent_dim)
        self.log_fade_s = nn.Parameter(torch.full((width,), math.log(FADE_S)))

    def times(self) -> list[nn.Parameter]:
        return [self.log_fade_s]

    def told(self, seen: Seen) -> Posterior:
        inputs = torch.cat([seen.feature, *seen.stamped, seen.log_elapsed], 2)
        fade = torch.exp(-seen.elapsed_s / positive_times(self.log_fade_s))
        hidden = inputs.new_zeros(len(inputs), self.cell.hidden_size)
        driven = nn.functional.linear(inputs, self.cell.weight_ih, self.cell.bias_ih)
        steps = zip(driven.unbind(1), fade.unbind(1), seen.active.unbind(1), strict=True)
        for x, faded, active in steps:
            hidden = torch.where(active, _gated(self.cell, x, hidden * faded), hidden)
        return Posterior(*self.head(hidden).chunk(2, 1))


def _gated(
    cell: nn.GRUCell, driven: Float[Tensor, "B W3"], hidden: Float[Tensor, "B W"]
) -> Float[Tensor, "B W"]:
    """Return what the cell makes of a projected input: all stamps are projected at once."""
    reset, update, new = driven.chunk(3, 1)
    own = nn.functional.linear(hidden, cell.weight_hh, cell.bias_hh).chunk(3, 1)
    kept = torch.sigmoid(update + own[1])
    return torch.lerp(torch.tanh(new + torch.sigmoid(reset + own[0]) * own[2]), hidden, kept)


class RSSMMemory(PeerMemory):
    """Latent dynamics whose prior is one more expert beside the sensors of each stamp.

        h <- GRU((z, g, log elapsed), h),  (m, log v) = head(h)
        P' = P + 1 / v,  z = (P mu + m / v) / P' + the set encoder's correction + H h

    g is the set feature of the stamp before, as an RSSM is told the action (Hafner et al. 2019); P
    and mu are the experts' of this stamp, z is the mean of the posterior, and s / P' its variance.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        width, latent_dim = config.embedding_dim // 2, config.latent_dim
        self.cell = nn.GRUCell(latent_dim + config.embedding_dim + 1, width)
        self.prior = _zero(width, 2 * latent_dim)
        self.correction = _zero(width, latent_dim)

    def told(self, seen: Seen) -> Posterior:
        shown = nn.functional.pad(seen.feature, (0, 0, 1, 0))[:, :-1]
        latent_dim = seen.correction.shape[2]
        from_z, from_rest = self.cell.weight_ih.tensor_split([latent_dim], 1)
        rest = torch.cat([shown, seen.log_elapsed], 2)
        driven = nn.functional.linear(rest, from_rest, self.cell.bias_ih)
        z = log_precision = torch.zeros_like(seen.correction[:, 0])
        hidden = z.new_zeros(len(z), self.cell.hidden_size)
        columns = (driven, seen.active, *seen.experts, seen.correction)
        for x, active, log_p, mu, correction in zip(*(x.unbind(1) for x in columns), strict=True):
            now = _gated(self.cell, x + nn.functional.linear(z, from_z), hidden)
            m, log_v = self.prior(now).chunk(2, 1)
            log_precision = torch.logaddexp(log_p, -log_v)
            weight = torch.exp(log_p - log_precision)
            mean = weight * mu + (1.0 - weight) * m + correction + self.correction(now)
            hidden, z = torch.where(active, now, hidden), torch.where(active, mean, z)
        spread = seen.evidence.log_spread
        assert spread is not None
        return Posterior(z, spread - log_precision)


class TransformerMemory(PeerMemory):
    """Self-attention among all elements, then the paper's pooling: the form of the first trial.

    Its head adds to what the model of one instant says of the reference time.
    A token is a projected embedding, its sensor's code, and its age by log-spaced sinusoids.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        inside = replace(config, embedding_dim=config.embedding_dim // 2)
        width = inside.embedding_dim
        self.token = nn.Linear(config.embedding_dim, width)
        self.sensor = nn.Parameter(0.02 * torch.randn(len(self.names), width))
        self.age = nn.Sequential(
            nn.Linear(2 * len(PERIODS_S), AGE_WIDTH), nn.SiLU(), nn.Linear(AGE_WIDTH, width)
        )
        self.layers = nn.ModuleList([SelfAttention(inside) for _ in range(LAYERS)])
        self.pool = PMA(inside)
        self.head = _zero(self.pool.width, 2 * config.latent_dim)
        self.frequency: Tensor
        frequency = 2.0 * math.pi / torch.tensor(PERIODS_S)
        self.register_buffer("frequency", frequency, persistent=False)

    def told(self, seen: Seen) -> Posterior:
        owner, column, sensor = seen.filled.nonzero(as_tuple=True)
        angle = seen.age_s[owner, column].unsqueeze(1) * self.frequency
        number = seen.filled.flatten().cumsum(0) - 1
        shown = seen.share * self.token(seen.embedding)
        shown = shown.new_zeros(len(owner), shown.shape[1]).index_add(0, number[seen.cell], shown)
        token = shown + self.sensor[sensor] + self.age(torch.cat([angle.sin(), angle.cos()], 1))
        tokens, there = _padded(token, owner, len(seen.filled))
        for layer in self.layers:
            tokens = layer(tokens, there)
        stamped = [parameter[:, -1] for parameter in seen.stamped]
        added = self.head(self.pool(tokens, there)).chunk(2, 1)
        return Posterior(*(x + y for x, y in zip(stamped, added, strict=True)))


def _padded(
    token: Float[Tensor, "N D"], owner: Int[Tensor, " N"], size: int
) -> tuple[Float[Tensor, "B L D"], Bool[Tensor, "B L"]]:
    """Return the tokens of each owner, whose numbers are sorted, side by side."""
    count = owner.bincount(minlength=size)
    place = torch.arange(len(owner), device=owner.device) - (count.cumsum(0) - count)[owner]
    longest = int(count.max())
    there = torch.arange(longest, device=owner.device) < count.unsqueeze(1)
    tokens = token.new_zeros(size * longest, token.shape[1])
    tokens = tokens.index_copy(0, owner * longest + place, token)
    return tokens.view(size, longest, -1), there


def _zero(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


#: Memories by the name of their row.
PEERS: dict[str, Callable[[ModelConfig], PeerMemory]] = {
    "gru": GRUMemory,
    "rssm": RSSMMemory,
    "transformer": TransformerMemory,
}


class Peer(SMVAE):
    """Our networks and set encoder with another memory, which single instants pass through too."""

    def __init__(self, config: ModelConfig, kind: str) -> None:
        super().__init__(config)
        self.memory = PEERS[kind](config)

    def read(
        self,
        embeddings: Float[Tensor, "B M D"],
        present: Bool[Tensor, "B M"],
        elements: Elements | None = None,
    ) -> Any:
        return super().read(embeddings, present, elements or Elements({}, {}, {}))
