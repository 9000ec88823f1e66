"""SetEncoder: {e_m : m in S} -> posterior parameters, paper Eq. 7-8 and Table 2.

B batch, M modality, D embedding, Z latent.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smvae_core.model.config import ModelConfig
from smvae_core.model.distributions import Posterior
from smvae_core.model.evidence import Evidence
from smvae_core.model.pooling import (
    PMA,
    CountedPMA,
    HirtSum,
    SelfAttentionPMA,
    SetFeature,
    SetSum,
    SummedPMA,
)

#: Set feature of a `ModelConfig.pooling` whose head gives mean and log variance.
POOLINGS: dict[str, Callable[[ModelConfig], SetFeature | SelfAttentionPMA | HirtSum]] = {
    "paper": PMA,
    "sum": SummedPMA,
    "count": CountedPMA,
    "self_attention": SelfAttentionPMA,
    "queries": lambda config: PMA(config, num_queries=4),
    "hirt": HirtSum,
}
#: Set feature of a `ModelConfig.pooling` by evidence, whose head only corrects the mean.
CORRECTIONS: dict[str, Callable[[ModelConfig], SetFeature]] = {
    "evidence": SetSum,
    "evidence_attention": PMA,
}


class SetEncoder(nn.Module):
    """Pooled set feature -> parameters of q(z given x_S), paper Eq. 7.

    With pooling `evidence` and `evidence_attention` the log variance and the mean come from
    `Evidence`, and the set feature only corrects the mean, by a linear head that starts at zero.
    Without that correction the posterior would be a product of one factor per modality; with it, it
    is not. The feature is a sum over the set, or the paper's attention.

    With other poolings the head gives the mean and a log variance l of each dimension; with a limit
    L, `ModelConfig.log_var_limit`, the log variance is l - log(1 + e^(l - L)), which is below L.

    With covariance `full` a second linear head, which starts at zero too, gives the elements of
    `Posterior.shear` below its diagonal.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.evidence: Evidence | None = None
        if config.pooling in CORRECTIONS:
            self.pool: SetFeature | SelfAttentionPMA | HirtSum = CORRECTIONS[config.pooling](config)
            self.evidence = Evidence(config)
            self.head = nn.Linear(self.pool.width, config.latent_dim)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        else:
            self.pool = POOLINGS[config.pooling](config)
            self.head = nn.Linear(self.pool.width, 2 * config.latent_dim)
        self.log_var_limit = config.log_var_limit
        self.shear = (
            Shear(self.pool.width, config.latent_dim) if config.covariance == "full" else None
        )

    def forward(
        self, embeddings: Float[Tensor, "B M D"], present: Bool[Tensor, "B M"]
    ) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        """Return mean and log variance of each latent dimension by itself.

        Args:
            embeddings: e_m of every modality; rows where `present` is False are never read, NaN
                included.
            present: True where the modality was observed; at least one per sample.
        """
        return marginals(self.nested(embeddings, (present,))[0])

    def nested(
        self, embeddings: Float[Tensor, "B M D"], sets: Sequence[Bool[Tensor, "B M"]]
    ) -> list[Posterior]:
        """Return the posteriors of several subsets of one set.

        What the pooling reads of each modality by itself is computed once for all.
        """
        read = self.read(embeddings, reduce(torch.logical_or, sets))
        return [self.combine(read, present) for present in sets]

    def read(self, embeddings: Float[Tensor, "B M D"], present: Bool[Tensor, "B M"] | None) -> Any:
        """Return what `combine` needs of each modality by itself, in tensors (B, M, ...).

        Where `present` is None, all were observed.
        """
        if not isinstance(self.pool, SetFeature):
            return embeddings
        feature = self.pool.read(embeddings, present)
        return (
            feature if self.evidence is None else (feature, self.evidence.read(embeddings, present))
        )

    def combine(self, read: Any, present: Bool[Tensor, "B M"]) -> Posterior:
        """Return the posteriors from a reading of at least the modalities that are present.

        A reading of one set (1, M, ...) serves many subsets of it, the rows of `present`.
        """
        pool = self.pool.combine if isinstance(self.pool, SetFeature) else self.pool
        if self.evidence is None:
            feature = pool(read, present)
            mean, log_var = self.head(feature).chunk(2, dim=-1)
            if self.log_var_limit:
                log_var = log_var - nn.functional.softplus(log_var - self.log_var_limit)
        else:
            terms, evidence = read
            mean, log_var = self.evidence.combine(evidence, present)
            feature = pool(terms, present)
            mean = mean + self.head(feature)
        return Posterior(mean, log_var, None if self.shear is None else self.shear(feature))


def marginals(posterior: Posterior) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
    """Return mean and log variance of each latent dimension by itself."""
    log_var = posterior.log_var if posterior.shear is None else posterior.variance.log()
    return posterior.mean, log_var


class Shear(nn.Module):
    """Linear head whose output fills a unit lower triangular matrix; the identity at the start."""

    def __init__(self, width: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        count = latent_dim * (latent_dim - 1) // 2
        self.elements = nn.Linear(width, count)
        nn.init.zeros_(self.elements.weight)
        nn.init.zeros_(self.elements.bias)
        index = torch.full((latent_dim, latent_dim), count)  # of a 0 behind the elements
        rows, columns = torch.tril_indices(latent_dim, latent_dim, -1)
        index[rows, columns] = torch.arange(count)
        index.fill_diagonal_(count + 1)  # of a 1
        self.index: Tensor
        self.register_buffer("index", index.flatten(), persistent=False)

    def forward(
        self, feature: Float[Tensor, "B W"], weight: Float[Tensor, "B 1"] | None = None
    ) -> Float[Tensor, "B Z Z"]:
        """Return U of `Posterior.shear`; `weight` scales its elements below the diagonal."""
        constants = feature.new_tensor([0.0, 1.0]).expand(feature.shape[0], 2)
        elements = self.elements(feature)
        elements = elements if weight is None else weight * elements
        values = torch.cat([elements, constants], dim=1)
        return values[:, self.index].unflatten(1, (self.latent_dim, self.latent_dim))
