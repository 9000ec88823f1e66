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
    SetSum,
    SummedPMA,
)

#: Set feature of every `ModelConfig.pooling`.
POOLINGS: dict[str, Callable[[ModelConfig], PMA | HirtSum | SetSum]] = {
    "paper": PMA,
    "sum": SummedPMA,
    "count": CountedPMA,
    "self_attention": SelfAttentionPMA,
    "queries": lambda config: PMA(config, num_queries=4),
    "hirt": HirtSum,
    "evidence": SetSum,
}


class SetEncoder(nn.Module):
    """Pooled set feature -> mean and log variance of q(z given x_S), paper Eq. 7.

    With pooling `evidence` the log variance and the mean come from `Evidence`, and the set feature
    only corrects the mean, by a linear head that starts at zero. Without that correction the
    posterior would be a product of one factor per modality; with it, it is not.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pool = POOLINGS[config.pooling](config)
        self.evidence = Evidence(config) if config.pooling == "evidence" else None
        if self.evidence is None:
            self.head = nn.Linear(self.pool.width, 2 * config.latent_dim)
        else:
            self.head = nn.Linear(self.pool.width, config.latent_dim)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

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
        if self.evidence is None or not isinstance(self.pool, SetSum):
            heads = [self.head(self.pool(embeddings, present)) for present in sets]
            return [(mean, log_var) for mean, log_var in (h.chunk(2, dim=-1) for h in heads)]
        union = reduce(torch.logical_or, sets)
        terms = self.pool.read(embeddings, union)
        evidence = self.evidence.read(embeddings, union)
        found = []
        for present in sets:
            mean, log_var = self.evidence.combine(evidence, present)
            found.append((mean + self.head(self.pool.combine(terms, present)), log_var))
        return found
