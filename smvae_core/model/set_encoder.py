"""SetEncoder: {e_m : m in S} -> posterior parameters, paper Eq. 7-8 and Table 2.

B batch, M modality, D embedding, Z latent.
"""

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smvae_core.model.config import ModelConfig
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
POOLINGS: dict[str, Callable[[ModelConfig], PMA | HirtSum]] = {
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
    """Pooled set feature -> mean and log variance of q(z given x_S), paper Eq. 7.

    With pooling `evidence` and `evidence_attention` the log variance and the mean come from
    `Evidence`, and the set feature only corrects the mean, by a linear head that starts at zero.
    Without that correction the posterior would be a product of one factor per modality; with it, it
    is not. The feature is a sum over the set, or the paper's attention.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.evidence: Evidence | None = None
        if config.pooling in CORRECTIONS:
            self.pool: SetFeature | HirtSum = CORRECTIONS[config.pooling](config)
            self.evidence = Evidence(config)
            self.head = nn.Linear(self.pool.width, config.latent_dim)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        else:
            self.pool = POOLINGS[config.pooling](config)
            self.head = nn.Linear(self.pool.width, 2 * config.latent_dim)

    def forward(
        self, embeddings: Float[Tensor, "B M D"], present: Bool[Tensor, "B M"]
    ) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        """Return (mean, log_var).

        Args:
            embeddings: e_m of every modality; rows where `present` is False are never read, NaN
                included.
            present: True where the modality was observed; at least one per sample.
        """
        return self.nested(embeddings, (present,))[0]

    def nested(
        self, embeddings: Float[Tensor, "B M D"], sets: Sequence[Bool[Tensor, "B M"]]
    ) -> list[tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]]:
        """Return (mean, log_var) of several subsets of one set.

        What the pooling reads of each modality by itself is computed once for all.
        """
        if self.evidence is None or isinstance(self.pool, HirtSum):
            heads = [self.head(self.pool(embeddings, present)) for present in sets]
            return [(mean, log_var) for mean, log_var in (h.chunk(2, dim=-1) for h in heads)]
        union = reduce(torch.logical_or, sets)
        read, evidence = self.pool.read(embeddings, union), self.evidence.read(embeddings, union)
        found = []
        for present in sets:
            mean, log_var = self.evidence.combine(evidence, present)
            found.append((mean + self.head(self.pool.combine(read, present)), log_var))
        return found
