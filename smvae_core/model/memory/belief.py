"""Evidence over time: a filter of precisions whose drift leads back to the prior N(0, 1).

B batch, T stamp, M modality, Z latent. Precisions and variances are in units of the spread s of
each latent dimension, see `Evidence`.

State per latent dimension: L, the a-th power of the pooled precision P (a as in `Evidence`);
Q = L m, m being the mean that L speaks of; per sensor r, the part of L that its next sample would
only repeat, and R, its part of Q. All are 0 at the start. In order of the stamps:

    age by dt      g = exp(-2 dt / T),  P = L^(1/a),  kappa = g / (1 + (1 - g) P),
                   t = exp(min(1, a) dt / T),  F(L) = L kappa^a
                   L <- F(L),  r_s <- exp(-dt / c_s) (F(L) - F(L - r_s))
                   m = Q / L and R_s / r_s <- t m + shift and t R_s / r_s + shift
    sample (l, mu) of sensor s
                   p = exp(a l) = lambda^a,  w = p / max(p, r_s)
                   L <- L + p - w r_s,        Q <- Q + p mu - w R_s
                   r_s <- r_s + p - w r_s,    R_s <- R_s + p mu - w R_s
    posterior      P = L^(1/a),  variance = 1 / (1 + P),  mean = P / (1 + P) Q / L

Samples of one stamp belong to different sensors, so that their order does not matter.

Drift. 1 / (1 + P) goes back to 1 as the variance of an Ornstein-Uhlenbeck process of variance 1 and
correlation time T does. At a = 1 and c -> 0 this is its Kalman filter: each ageing shrinks the
posterior's mean by exp(-dt / T). For a < 1 it shrinks faster, by exp(-(2 - a) dt / T), so that Q
fades with L whatever a is.

Samples that repeat. A sensor's error does not come anew with every sample. What its sample says
beyond r_s counts, the rest replaces what it repeats; c_s says how soon its errors are new ones. The
same sample twice changes nothing: r_s = p, w = 1, R_s = p mu.

A sensor that is alone and whose errors never change (c -> infinity) stays at its last sample's p.

Entropy. Order states by 1 >= 2: d = L1 - L2 >= 0 and d >= sum over s of max(0, r1_s - r2_s). A
sample keeps the order, since L - r_s stays and max(p, .) neither turns an order round nor widens a
distance. Ageing keeps it: with u = L - r, F increases and is concave, so that its chord over
[u2_s, u1_s] is no flatter than that over [L2, L1], which lies to the right: F(u1_s) - F(u2_s) >=
(u1_s - u2_s) / d (F(L1) - F(L2)), hence no r1_s - r2_s takes a larger part of d than before. When a
sample comes, the state with it is >= the one without it, and so it stays: no sample ever raises the
entropy, at whatever place it is inserted. kappa <= 1: age never lowers it.

Computed are log L, r_s / L, y = W Q / L and y_s = W R_s / L, with W = L^c / (1 + L^c), c =
min(1, 1 / a); at a >= 1 y is the posterior's mean. Nothing that y is multiplied by is above 1, so
that neither values nor gradients overflow, whatever ages and precisions are.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from smvae_core.model.memory.bend import Bending

#: Stands for 0 where one divides by it or takes its logarithm.
TINY = 1e-30
#: log 0, of what nobody has told; a smaller power is none.
NOTHING = -1e6


def believe(
    log_power: Float[Tensor, "B T M Z"],
    mean: Float[Tensor, "B T M Z"],
    shift: Float[Tensor, "B T Z"],
    elapsed_s: Float[Tensor, "B T"],
    exponent: Float[Tensor, " Z"],
    time_s: Float[Tensor, " Z"],
    repeat_s: Float[Tensor, "M Z"],
    bending: Bending | None = None,
) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
    """Return (log P, the mean P / (1 + P) Q / L) after the last stamp, in the precision of log p.

    Args:
        log_power: log p of every stamp and sensor, -infinity where there is no sample.
        mean: mu; anything finite where there is no sample.
        shift: What the mean moves between a stamp and the one before it.
        elapsed_s: Time between a stamp and the one before it; the first is not read.
        exponent: a.
        time_s: T.
        repeat_s: c.
        bending: What the mean moves beside `shift`, by the belief before; None = nothing.
    """
    mean, shift, elapsed, a, time, repeat = (
        x.to(log_power) for x in (mean, shift, elapsed_s.unsqueeze(-1), exponent, time_s, repeat_s)
    )
    log_g = -2.0 * elapsed / time
    log_t = -0.5 * a.clamp(max=1.0) * log_g
    log_spread = (-torch.expm1(log_g)).clamp(min=TINY).log()
    log_rho = -elapsed.unsqueeze(-1) / repeat
    # unbind: the gradient of x[:, step] would fill all of x at every step
    drifts = [x.unbind(1) for x in (log_g, log_t, log_spread, log_rho, shift)]
    samples = zip(log_power.unbind(1), mean.unbind(1), strict=True)
    belief = _Belief.nothing(log_power[:, 0], a)
    for step, (sample, drift) in enumerate(zip(samples, zip(*drifts, strict=True), strict=True)):
        if step:
            if bending is not None:
                bent = bending(step, *belief.said(a)).to(drift[-1])
                drift = (*drift[:-1], drift[-1] + bent)
            belief = belief.aged(a, *drift)
        belief = belief.told(a, *sample)
    return belief.said(a)


class _Belief(NamedTuple):
    """State after a stamp."""

    log_total: Float[Tensor, "B Z"]
    """log L."""
    log_weight: Float[Tensor, "B Z"]
    """log W."""
    mean: Float[Tensor, "B Z"]
    """y."""
    part: Float[Tensor, "B M Z"]
    """r / L."""
    part_mean: Float[Tensor, "B M Z"]
    """y_s."""

    @classmethod
    def nothing(cls, like: Float[Tensor, "B M Z"], a: Float[Tensor, " Z"]) -> _Belief:
        zero = torch.zeros_like(like)
        log_total = torch.full_like(like[:, 0], NOTHING)
        return cls(log_total, _log_weight(log_total, a), zero[:, 0], zero, zero)

    def said(self, a: Float[Tensor, " Z"]) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        """Return (log P, the mean P / (1 + P) Q / L)."""
        log_precision = self.log_total / a
        return log_precision, (logsigmoid(log_precision) - self.log_weight).exp() * self.mean

    def aged(
        self,
        a: Float[Tensor, " Z"],
        log_g: Float[Tensor, "B Z"],
        log_t: Float[Tensor, "B Z"],
        log_spread: Float[Tensor, "B Z"],
        log_rho: Float[Tensor, "B M Z"],
        shift: Float[Tensor, "B Z"],
    ) -> _Belief:
        drift = log_spread + self.log_total / a
        slowed = softplus(drift, threshold=40.0)
        aged = self.log_total + a * (log_g - slowed)
        log_total = aged.clamp(min=NOTHING)
        log_weight = _log_weight(log_total, a)
        log_rest = (1.0 - self.part).clamp(min=TINY).log()  # of L - r over L
        slowed_rest = softplus(drift.unsqueeze(1) + log_rest / a, threshold=40.0)
        log_rest = log_rest + a * (slowed.unsqueeze(1) - slowed_rest)
        # rounding differs between the two softplus: what is 0 must not turn negative, see `kept`
        part = -torch.expm1(log_rest.clamp(max=0.0)) * log_rho.exp()
        keep = (_log_weight(aged, a) - self.log_weight + log_t).clamp(max=0.0).exp()
        kept = (part / self.part.clamp(min=TINY)).clamp(max=1.0)
        moved = log_weight.exp() * shift
        mean = self.mean * keep + moved
        part_mean = self.part_mean * kept * keep.unsqueeze(1) + part * moved.unsqueeze(1)
        return _Belief(log_total, log_weight, mean, part, part_mean)

    def told(
        self, a: Float[Tensor, " Z"], log_p: Float[Tensor, "B M Z"], mu: Float[Tensor, "B M Z"]
    ) -> _Belief:
        scale = torch.maximum(self.log_total, log_p.amax(1)).detach()
        known, p = (self.log_total - scale).exp(), (log_p - scale.unsqueeze(1)).exp()
        part = known.unsqueeze(1) * self.part
        total = known + (p - part).relu().sum(1)
        log_total = scale + total.log()
        log_weight = _log_weight(log_total, a)
        per_power = log_weight - log_total
        carry = (per_power - self.log_weight + self.log_total).exp()
        gain = (per_power.unsqueeze(1) + log_p).exp() * mu
        largest = torch.maximum(p, part)
        replaced = p / largest.clamp(min=TINY)
        part_mean = carry.unsqueeze(1) * self.part_mean
        change = gain - replaced * part_mean
        mean = carry * self.mean + change.sum(1)
        part = largest / total.unsqueeze(1)
        return _Belief(log_total, log_weight, mean, part, part_mean + change)


def _log_weight(log_total: Float[Tensor, "B Z"], a: Float[Tensor, " Z"]) -> Float[Tensor, "B Z"]:
    return logsigmoid(log_total / a.clamp(min=1.0))
