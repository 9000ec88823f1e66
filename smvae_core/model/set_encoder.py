"""SetEncoder: {e_m : m in S} -> posterior parameters, paper Eq. 7-8 and Table 2.

B batch, M modality, D embedding, Z latent, H heads.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smvae_core.model.config import ModelConfig


class PMA(nn.Module):
    """Pool the observed embeddings by attention of one learned query.

    H = LN(I + MultiHead(I, E_S, E_S, h)),  g = H + Swish(FC(H))        (paper Eq. 8)

    Table 2's reading: K = Swish(FC(e)), V = Swish(FC(e)), the query I enters unprojected, heads are
    concatenated without W^O. This is Set Transformer's PMA with one seed (Lee et al. 2019), except
    that its logits are scaled by sqrt(D) and its feed-forward is a ReLU.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.embedding_dim
        self.num_heads = config.num_heads
        self.scale = math.sqrt(dim // config.num_heads if config.scale_by_head else dim)
        self.query = nn.Parameter(torch.empty(1, dim))
        nn.init.xavier_uniform_(self.query)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Linear(dim, dim)

    def forward(
        self, embeddings: Float[Tensor, "B M D"], present: Bool[Tensor, "B M"]
    ) -> Float[Tensor, "B D"]:
        """Return the set feature g.

        Args:
            embeddings: e_m of every modality; rows where `present` is False are never read, NaN
                included.
            present: True where the modality was observed; at least one per sample.
        """
        batch, count, dim = embeddings.shape
        heads = self.num_heads
        # Absent rows are replaced before the layers: 0 * NaN would be NaN.
        observed = torch.where(present.unsqueeze(-1), embeddings, embeddings.new_zeros(()))
        key = nn.functional.silu(self.key(observed)).view(batch, count, heads, dim // heads)
        value = nn.functional.silu(self.value(observed)).view(batch, count, heads, dim // heads)
        query = self.query.view(1, 1, heads, dim // heads)
        logits = (query * key).sum(-1) / self.scale
        logits = logits.masked_fill(~present.unsqueeze(-1), float("-inf"))
        weights = torch.softmax(logits, dim=1)
        pooled = (weights.unsqueeze(-1) * value).sum(1).reshape(batch, dim)
        hidden = self.norm(self.query + pooled)
        feature: Tensor = hidden + nn.functional.silu(self.feed_forward(hidden))
        return feature


class SetEncoder(nn.Module):
    """Pooled set feature -> mean and log variance of q(z given x_S), paper Eq. 7."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pool = PMA(config)
        self.head = nn.Linear(config.embedding_dim, 2 * config.latent_dim)

    def forward(
        self, embeddings: Float[Tensor, "B M D"], present: Bool[Tensor, "B M"]
    ) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        """Return (mean, log_var); see PMA for the arguments."""
        mean, log_var = self.head(self.pool(embeddings, present)).chunk(2, dim=-1)
        return mean, log_var
