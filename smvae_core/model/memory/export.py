"""Memory -> what a bundle holds of it: a graph and the parameters of the filter.

Z latent, D embedding, M modality.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np
import torch
from torch import Tensor, nn

from smvae_core.memory.belief import FilterParameters
from smvae_core.memory.recall import Recall
from smvae_core.model.distributions import Posterior
from smvae_core.model.memory.context import Elements
from smvae_core.model.memory.memory import PATH_UNIT_S, Memory, positive_times
from smvae_core.model.pooling import SetSum
from smvae_core.model.set_encoder import SetEncoder, marginals
from smvae_core.model.smvae import SMVAE

Pair = tuple[Tensor, np.ndarray]
#: Contexts over which torch and the runtime are compared, and samples of each.
CONTEXTS, SAMPLES = 8, 40
#: Where their stamps begin [ns].
_BEGIN_NS = 1_000_000_000_000


def filter_parameters(model: SMVAE) -> FilterParameters | None:
    """Return what the filter of a model's memory has learned; None where it has none."""
    memory, evidence = model.memory, model.set_encoder.evidence
    if memory is None or evidence is None:
        return None
    bend = {}
    if memory.bend is not None and evidence.log_spread is not None:
        deviation = np.exp(0.5 * _array(evidence.log_spread))
        bend = {
            "bend_state": _array(memory.bend.state.weight)
            / np.concatenate([deviation, np.ones_like(deviation)]),
            "bend_bias": _array(memory.bend.state.bias),
            "bend_way": _array(memory.bend.way.weight) / PATH_UNIT_S,
            "bend_out": _array(memory.bend.out.weight),
        }
    values = [v for n in memory.names if isinstance(v := memory.value[n], nn.Linear)]
    return FilterParameters(
        exponent=_array(evidence.exponent()),
        drift_s=_array(positive_times(memory.log_drift_s)),
        repeat_s=_array(positive_times(memory.log_repeat_s)),
        value_weight=np.stack([_array(v.weight) for v in values]),
        value_bias=np.stack([_array(v.bias) for v in values]),
        shift=_array(memory.shift.weight) / PATH_UNIT_S,
        hold_s=np.asarray(memory.hold_s),
        time_constants_s=_array(memory.time_constants_s),
        **bend,
    )


def memory_inputs(model: SMVAE, memory: Memory) -> dict[str, Tensor]:
    """Return an example of what the graph of a model's memory takes, see `Filter.inputs`."""
    count, path = len(model.names), memory.way.in_features
    return {
        "terms": torch.zeros(1, count, model.config.embedding_dim),
        "age_s": torch.zeros(1, count),
        "way": torch.zeros(1, count, path),
        "history": torch.zeros(1, path * len(memory.time_constants_s)),
        "log_precision": torch.zeros(1, model.config.latent_dim),
        "told": torch.zeros(1, model.config.latent_dim),
    }


class Recalling(nn.Module):
    """What a belief says, as `Memory.correct`: mean and log variance (1, Z).

    FC_term(e + A2 h + P dC) is FC_term(e), read once of each sample, and two small products, since
    what follows a layer without activation is folded into it; so is FC_total(u + H2 h).
    """

    def __init__(self, memory: Memory, encoder: SetEncoder) -> None:
        super().__init__()
        self.head, self.shear = encoder.head, encoder.shear
        pool, evidence = encoder.pool, encoder.evidence
        assert isinstance(pool, SetSum)
        assert evidence is not None
        self.log_spread: Tensor
        self.register_buffer("log_spread", evidence.log_spread)
        aged = [layer for n in memory.names if isinstance(layer := memory.aged[n], nn.Sequential)]
        read = [_weight(layer[0]).T for layer in aged]
        told = [_weight(pool.term, layer[2]).T for layer in aged]
        self.periods_s = memory.periods_s
        self.age_read = nn.Parameter(torch.stack(read))  # (M, periods, A)
        self.age_told = nn.Parameter(torch.stack(told))  # (M, A, D)
        self.way = nn.Parameter(_weight(pool.term, memory.way).T / PATH_UNIT_S)  # (M W, D)
        self.history = memory.history[0]
        total = torch.cat([_weight(pool.total), _weight(pool.total, memory.history[2])], dim=1)
        self.total = nn.Linear(total.shape[1], total.shape[0])
        self.total.weight, self.total.bias = nn.Parameter(total), pool.total.bias
        self.fade_s = nn.Parameter(positive_times(memory.log_fade_s))

    def forward(
        self,
        terms: Tensor,
        age_s: Tensor,
        way: Tensor,
        history: Tensor,
        log_precision: Tensor,
        told: Tensor,
    ) -> tuple[Tensor, Tensor]:
        silu = nn.functional.silu
        phi = 1.0 - torch.exp(-age_s.unsqueeze(-1) / self.periods_s)
        aged = silu(phi.transpose(0, 1) @ self.age_read) @ self.age_told
        fade = torch.exp(-age_s / self.fade_s)
        terms = silu(terms + aged.transpose(0, 1) + way @ self.way) * fade.unsqueeze(-1)
        feature = silu(self.total(torch.cat([terms.sum(1), silu(self.history(history))], dim=1)))
        weight = 1.0 - (1.0 - fade).prod(1, keepdim=True)
        mean = told + weight * self.head(feature)
        shear = None if self.shear is None else self.shear(feature, weight)
        log_var = self.log_spread - nn.functional.softplus(log_precision)
        return marginals(Posterior(mean, log_var, shear))


def _weight(*layers: nn.Module) -> Tensor:
    """Return the weight of the linear layers' product, the last one applied first."""
    weights = [layer.weight.detach().double() for layer in layers if isinstance(layer, nn.Linear)]
    return reduce(torch.matmul, weights).float()


def contexts(model: SMVAE, recall: Recall, embeddings: Tensor) -> Iterator[tuple[str, Pair, Pair]]:
    """Yield label, and mean and log variance (Z,) of torch and the runtime, of random contexts.

    Ages of up to twice a memory's horizon, so that some samples are folded; each sensor is lost
    for a while of its own.

    Args:
        model: Has a memory.
        recall: Of the runtime; it forgets.
        embeddings: (1, M, D) of one sample of each modality, from which others are drawn.
    """
    count, generator = len(model.names), np.random.default_rng(0)
    for number in range(CONTEXTS):
        horizon_s = 10.0 ** generator.uniform(-1.0, 1.0)
        sensor = generator.integers(count, size=SAMPLES)
        lost_s = generator.uniform(0.0, 0.5 * horizon_s, count) * generator.integers(2, size=count)
        age_s = lost_s[sensor] + generator.uniform(0.0, horizon_s, SAMPLES)
        stamps = _BEGIN_NS - np.round(age_s * 1e9).astype(np.int64)
        noise = generator.standard_normal((SAMPLES, embeddings.shape[-1])).astype(np.float32)
        drawn = embeddings[0, sensor] * torch.from_numpy(1.0 + 0.5 * noise)
        recall.forget()
        for row in np.argsort(stamps, kind="stable"):
            element = recall.read(int(sensor[row]), int(stamps[row]), drawn[row].numpy())
            reason = recall.memory.insert(element)
            assert not reason, reason
        rows = {n: np.flatnonzero(sensor == i) for i, n in enumerate(model.names)}
        elements = Elements(
            {n: drawn[r] for n, r in rows.items() if len(r)},
            {n: torch.zeros(len(r), dtype=torch.long) for n, r in rows.items() if len(r)},
            {
                n: torch.from_numpy((_BEGIN_NS - stamps[r]) * 1e-9).float()
                for n, r in rows.items()
                if len(r)
            },
        )
        nothing = torch.zeros(1, count, dtype=torch.bool)
        found = model.posterior(embeddings, nothing, elements)
        got = recall.at(_BEGIN_NS, np.inf)
        expected = found.mean[0], found.variance[0].log()
        yield f"memory, context {number}", (expected[0], got[0]), (expected[1], got[1])


def _array(tensor: Tensor) -> np.ndarray:
    found: np.ndarray = tensor.detach().double().numpy()
    return found
