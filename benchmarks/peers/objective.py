"""What our trainer minimises for a peer: MultiVae's own loss, weighted and annealed as ours.

B batch, M modality.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributions import Distribution

from benchmarks.peers.model import PeerModel
from smvae_core.errors import ConfigError, UnknownModality
from smvae_core.model.objective import ElboTerms
from smvae_core.model.objective_config import ObjectiveConfig


def objective(
    model: PeerModel,
    batch: Mapping[str, Tensor],
    recorded: Tensor,
    present: Tensor,
    beta: float,
    config: ObjectiveConfig,
    generator: torch.Generator | None = None,
) -> ElboTerms:
    """Return the loss of one batch in the form of `smvae_core.model.objective.elbo`.

    `elbo` of the result is a one-sample estimate of the unweighted bound at beta 1 with all
    modalities observed.

    Args:
        model: A peer.
        batch: Network inputs (B, *shape) by name, of all modalities.
        recorded: (B, M) bool, all True.
        present: Not read: a peer chooses the subsets that it trains on.
        beta: Annealing coefficient in [0, 1] of the divergences.
        config: Its weights are read, its target is not.
        generator: Seeds the latent samples; otherwise torch's global generator gives them.

    Raises:
        ConfigError: If a record is incomplete, or the settings ask for our regulariser.
        UnknownModality: If a weight names none of the modalities.
    """
    for name in config.weights:
        if name not in model.names:
            raise UnknownModality(name, model.names)
    if config.regulariser:
        raise ConfigError(f"{model.name}: objective.regulariser is ours, the peers have none")
    if not bool(recorded.all()):
        raise ConfigError(f"{model.name}: the peers are trained on complete records only")
    model.set_weights({m.name: config.weight(m, model.modalities) for m in model.modalities})
    data = model.data(batch, model.names)
    with _seeded(generator), _unchecked_distributions(), model.one_step():
        result = model.training_loss(data, beta)
    elbo = sum(result.log_likelihood.values(), -result.kl)
    return ElboTerms(
        loss=result.loss,
        elbo=elbo,
        kl=result.kl,
        log_likelihood=dict(result.log_likelihood),
    )


@contextmanager
def _unchecked_distributions() -> Iterator[None]:
    """Let a NaN reach the trainer, whose message names the step and what to do.

    torch.distributions would raise its own error, and spends time on looking.
    """
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


@contextmanager
def _seeded(generator: torch.Generator | None) -> Iterator[None]:
    """Draw from torch's global generator as `generator` says, and leave it as it was."""
    if generator is None:
        yield
        return
    device = generator.device
    seed = int(torch.randint(2**62, (), generator=generator, device=device))
    on_gpu = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=on_gpu):
        torch.manual_seed(seed)
        yield
