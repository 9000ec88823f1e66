"""Networks from any subset of sensors to the targets, without a latent, and their loss.

B batch, M modality, D embedding, K numbers of a target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smvae_core.model.config import ModelConfig
from smvae_core.model.networks import embedding
from smvae_core.model.objective import ElboTerms
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.model.targets import TargetDecoder, target_decoders
from smvae_core.target import DecodedTarget

Told = dict[str, tuple[Tensor, Tensor]]
"""By target: mean and log variance (B, K), as `TargetDecoder.forward` gives them."""


class Supervised(nn.Module, ABC):
    """The embedding networks of all sensors, and a way from a subset of them to the targets."""

    memory = None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.names = tuple(m.name for m in config.modalities)
        self.embeddings = nn.ModuleDict({m.name: embedding(m, config) for m in config.modalities})
        self.log_scale = nn.ParameterDict()  # the trainer asks: sensors have no likelihood here

    def noise_scale(self) -> dict[str, float]:
        """Return none: no sensor is decoded."""
        return {}

    def embed(
        self, batch: Mapping[str, Tensor], present: Bool[Tensor, "B M"]
    ) -> Float[Tensor, "B M D"]:
        """Return e_m of every observed modality, zeros elsewhere.

        Args:
            batch: Network inputs (B, *shape) by name; may lack modalities that nobody observed.
            present: True where observed.
        """
        nothing = torch.zeros(len(present), self.config.embedding_dim, device=present.device)
        columns = [
            nothing.where(~seen.unsqueeze(1), self.embeddings[name](batch[name]).float())
            if seen.any()
            else nothing
            for name, seen in zip(self.names, present.unbind(1), strict=True)
        ]
        return torch.stack(columns, dim=1)

    @abstractmethod
    def tell(self, embeddings: Float[Tensor, "B M D"], present: Bool[Tensor, "B M"]) -> Told:
        """Return the targets from embeddings that are zero where nothing was observed."""

    @abstractmethod
    def decoder(self, target: str) -> TargetDecoder:
        """Return what scores a target."""


class Concatenation(Supervised):
    """e = Swish of all embeddings side by side; Swish(FC(e)) -> the heads of our targets."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        width = config.embedding_dim
        self.join = nn.Sequential(nn.SiLU(), nn.Linear(len(self.names) * width, width), nn.SiLU())
        self.targets = target_decoders(config.targets, width)

    def tell(self, embeddings: Float[Tensor, "B M D"], present: Bool[Tensor, "B M"]) -> Told:
        with torch.autocast(embeddings.device.type, enabled=False):
            feature = self.join(embeddings.flatten(1))
            return {name: decoder(feature) for name, decoder in self.targets.items()}

    def decoder(self, target: str) -> TargetDecoder:
        found = self.targets[target]
        assert isinstance(found, TargetDecoder)
        return found


class Router(Supervised):
    """An expert per sensor: Swish(FC(Swish(e_m))) -> heads of the targets, and their mixture.

    mean = sum over S of w_m mean_m,  variance = sum over S of w_m (variance_m + (mean_m - mean)^2)

    The weights w are a softmax over S, for each target, of a network on all embeddings side by
    side (zeros for what is absent) and `present` (Jacobs et al. 1991). Of a yes or no the
    probabilities are mixed.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        width, count = config.embedding_dim, len(self.names)
        self.tokens = nn.ModuleDict(
            {n: nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU()) for n in self.names}
        )
        self.experts = nn.ModuleDict(
            {n: target_decoders(config.targets, width) for n in self.names}
        )
        self.route = nn.Sequential(
            nn.Linear((width + 1) * count, width),
            nn.SiLU(),
            nn.Linear(width, count * len(config.targets)),
        )

    def tell(self, embeddings: Float[Tensor, "B M D"], present: Bool[Tensor, "B M"]) -> Told:
        with torch.autocast(embeddings.device.type, enabled=False):
            known = torch.cat([nn.functional.silu(embeddings).flatten(1), present.float()], dim=1)
            logits = self.route(known).unflatten(1, (-1, len(self.names)))
            weights = torch.softmax(logits.masked_fill(~present.unsqueeze(1), -torch.inf), dim=2)
            tokens = [
                token(e)
                for token, e in zip(self.tokens.values(), embeddings.unbind(1), strict=True)
            ]
            found = {}
            for index, target in enumerate(self.config.targets):
                pairs = [
                    self._expert(name, target.name)(token)
                    for name, token in zip(self.names, tokens, strict=True)
                ]
                means, log_vars = (torch.stack(part, dim=1) for part in zip(*pairs, strict=True))
                found[target.name] = mixture(target, weights[:, index, :, None], means, log_vars)
            return found

    def decoder(self, target: str) -> TargetDecoder:
        return self._expert(self.names[0], target)

    def _expert(self, name: str, target: str) -> TargetDecoder:
        experts = self.experts[name]
        assert isinstance(experts, nn.ModuleDict)
        found = experts[target]
        assert isinstance(found, TargetDecoder)
        return found


def mixture(
    target: DecodedTarget, weights: Tensor, means: Tensor, log_vars: Tensor
) -> tuple[Tensor, Tensor]:
    """Return mean and log variance (B, K) of a mixture of M experts (B, M, K)."""
    if target.binary:
        probability = (weights * torch.sigmoid(means)).sum(1)
        return torch.logit(probability, eps=1e-6), torch.zeros_like(probability)
    mean = (weights * means).sum(1)
    apart = means - mean.unsqueeze(1)
    return mean, (weights * (log_vars.exp() + apart.square())).sum(1).log()


def objective(
    model: Supervised,
    batch: Mapping[str, Tensor],
    recorded: Bool[Tensor, "B M"],
    present: Bool[Tensor, "B M"],
    beta: float,
    config: ObjectiveConfig,
    generator: torch.Generator | None = None,
    observed: Mapping[str, Tensor] | None = None,
    targets: Mapping[str, Tensor] | None = None,
    only: tuple[str, ...] | None = None,
) -> ElboTerms:
    """Return the loss of one batch, in the form of `smvae_core.model.objective.elbo`.

    Minus what `elbo` adds for its targets: the same likelihoods, weights and weighing by noise.

    Args:
        model: What is trained.
        batch: Network inputs (B, *shape) by name.
        recorded: What each record holds.
        present: The drawn subset, within `recorded`.
        beta: Not read: there is no latent.
        config: Its weights are read.
        generator: Not read: nothing is drawn.
        observed: What is embedded in place of `batch`.
        targets: (B, K) by name, in their units; a row with a NaN tells nothing.
        only: The subset that an oracle knows, in place of `present`.
    """
    if only is not None:
        present = recorded & torch.tensor([n in only for n in model.names], device=recorded.device)
    found = model.tell(model.embed(batch if observed is None else observed, present), present)
    total = torch.zeros(len(present), device=present.device)
    log_likelihood: dict[str, Any] = {}
    for name, y in (targets or {}).items():
        told = y.isfinite().all(1)
        if not told.any():
            continue
        decoder = model.decoder(name)
        mean, log_var = found[name]
        likelihood, learned = decoder.score(y[told].float(), mean[told], log_var[told])
        log_likelihood[name] = likelihood.detach().mean()
        weight = config.target_weight(decoder.target, model.config.modalities)
        total = total.index_add(0, told.nonzero().squeeze(1), weight * learned)
    nothing = torch.zeros(())
    elbo = torch.stack([*log_likelihood.values()]).sum() if log_likelihood else nothing
    return ElboTerms(loss=-total.mean(), elbo=elbo, kl=nothing, log_likelihood=log_likelihood)
