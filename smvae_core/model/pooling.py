"""Ways to pool the embeddings of the observed subset into one set feature.

PMA is the paper's. Its attention weights sum to one, so that a second, equal piece of evidence
changes nothing; the others give the head something that grows with the set. Each maps (embeddings,
present) to (B, width) and is invariant under permutations of the set.

B batch, M modality, D embedding, H heads, Q queries.
"""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smvae_core.model.config import ModelConfig


def observed_rows(
    embeddings: Float[Tensor, "#B M D"], present: Bool[Tensor, "B M"] | None
) -> Float[Tensor, "B M D"]:
    """Return the embeddings with zeros in absent rows, NaN there included (0 * NaN is NaN).

    Where `present` is None, none is absent.
    """
    if present is None:
        return embeddings
    return torch.where(present.unsqueeze(-1), embeddings, embeddings.new_zeros(()))


class SetFeature(nn.Module):
    """Pooling that reads every modality by itself, then combines what it read of a subset.

    So that several subsets of one set cost one reading.
    """

    width: int
    """Size of the set feature."""

    def read(self, embeddings: Float[Tensor, "B M D"], present: Bool[Tensor, "B M"] | None) -> Any:
        """Return what is needed of each modality by itself.

        Args:
            embeddings: See `forward`.
            present: See `forward`; None = all were observed.
        """
        raise NotImplementedError

    def combine(self, read: Any, present: Bool[Tensor, "B M"]) -> Float[Tensor, "B W"]:
        """Return the set feature from a reading of at least the modalities that are present.

        A reading of one set (1, M, ...) serves many subsets of it, the rows of `present`.
        """
        raise NotImplementedError

    def forward(
        self, embeddings: Float[Tensor, "B M D"], present: Bool[Tensor, "B M"]
    ) -> Float[Tensor, "B W"]:
        """Return the set feature.

        Args:
            embeddings: e_m of every modality; rows where `present` is False are never read, NaN
                included.
            present: True where the modality was observed; at least one per sample.
        """
        return self.combine(self.read(embeddings, present), present)


class PMA(SetFeature):
    """Pool the observed embeddings by attention of one learned query, or of several.

    H = LN(I + MultiHead(I, E_S, E_S, h)),  g = H + Swish(FC(H))        (paper Eq. 8)

    Table 2's reading: K = Swish(FC(e)), V = Swish(FC(e)), the query I enters unprojected, heads are
    concatenated without W^O. This is Set Transformer's PMA with one seed (Lee et al. 2019), except
    that its logits are scaled by sqrt(D) and its feed-forward is a ReLU.
    """

    def __init__(self, config: ModelConfig, num_queries: int = 1) -> None:
        super().__init__()
        dim = config.embedding_dim
        self.width = num_queries * dim
        self.num_heads = config.num_heads
        self.scale = math.sqrt(dim // config.num_heads if config.scale_by_head else dim)
        self.query = nn.Parameter(torch.empty(num_queries, dim))
        nn.init.xavier_uniform_(self.query)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Linear(dim, dim)

    def read(
        self, embeddings: Float[Tensor, "B M D"], present: Bool[Tensor, "B M"] | None
    ) -> tuple[Float[Tensor, "B M Q H"], Float[Tensor, "B M D"]]:
        """Return what attention needs of each modality by itself: its logits and its value."""
        batch, count, dim = embeddings.shape
        heads, width = self.num_heads, dim // self.num_heads
        observed = observed_rows(embeddings, present)
        key = nn.functional.silu(self.key(observed)).view(batch, count, 1, heads, width)
        query = self.query.view(1, 1, -1, heads, width)
        logits = (query * key).sum(-1) / self.scale
        return logits, nn.functional.silu(self.value(observed))

    def attend(
        self,
        read: tuple[Float[Tensor, "#B M Q H"], Float[Tensor, "#B M D"]],
        present: Bool[Tensor, "B M"],
    ) -> Float[Tensor, "B Q D"]:
        """Return H of every query, the normalised sum of the query and its attended values."""
        logits, value = read
        count, dim = value.shape[1:]
        logits = logits.masked_fill(~present[:, :, None, None], float("-inf"))
        weights = torch.softmax(logits, dim=1)
        split = observed_rows(value, present).view(
            -1, count, 1, self.num_heads, dim // self.num_heads
        )
        pooled = (weights.unsqueeze(-1) * split).sum(1).flatten(2)
        hidden: Tensor = self.norm(self.query + pooled)
        return hidden

    def combine(
        self,
        read: tuple[Float[Tensor, "#B M Q H"], Float[Tensor, "#B M D"]],
        present: Bool[Tensor, "B M"],
    ) -> Float[Tensor, "B QD"]:
        """Return the set feature g, side by side where there are several queries."""
        return self.transform(self.attend(read, present))

    def transform(self, hidden: Float[Tensor, "B Q D"]) -> Float[Tensor, "B QD"]:
        """Return g = H + Swish(FC(H))."""
        return (hidden + nn.functional.silu(self.feed_forward(hidden))).flatten(1)


class SetSum(SetFeature):
    """g = Swish(FC(sum over S of Swish(FC(e_m)))), DeepSets (Zaheer et al. 2017) by itself."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.width = config.embedding_dim
        self.term = nn.Linear(self.width, self.width)
        self.total = nn.Linear(self.width, self.width)

    def read(
        self, embeddings: Float[Tensor, "B M D"], present: Bool[Tensor, "B M"] | None
    ) -> Float[Tensor, "B M D"]:
        """Return FC(e) of each modality by itself, to which a memory adds what time changes."""
        term: Tensor = self.term(observed_rows(embeddings, present))
        return term

    def combine(
        self, read: Float[Tensor, "#B M D"], present: Bool[Tensor, "B M"]
    ) -> Float[Tensor, "B D"]:
        """Return the set feature from the terms."""
        terms = observed_rows(nn.functional.silu(read), present)
        return nn.functional.silu(self.total(terms.sum(1)))


class SummedPMA(PMA):
    """g + Swish(FC(sum over S of Swish(FC(e_m)))): a sum that reaches the head past the LayerNorm.

    DeepSets (Zaheer et al. 2017) beside the paper's attention.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.sum = SetSum(config)

    def read(self, embeddings: Float[Tensor, "B M D"], present: Bool[Tensor, "B M"] | None) -> Any:
        """Return what attention needs of each modality, and its term of the sum."""
        return super().read(embeddings, present), self.sum.read(embeddings, present)

    def combine(self, read: Any, present: Bool[Tensor, "B M"]) -> Float[Tensor, "B D"]:
        """Return the set feature."""
        attention, terms = read
        return super().combine(attention, present) + self.sum.combine(terms, present)


class CountedPMA(PMA):
    """H + FC(log |S|) takes the place of H in the paper's g: the head knows how many there are."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.count = nn.Linear(1, self.width)

    def combine(
        self,
        read: tuple[Float[Tensor, "#B M Q H"], Float[Tensor, "#B M D"]],
        present: Bool[Tensor, "B M"],
    ) -> Float[Tensor, "B D"]:
        """Return the set feature."""
        log_count = present.to(read[1].dtype).sum(1, keepdim=True).log()
        counted = self.attend(read, present) + self.count(log_count).unsqueeze(1)
        return self.transform(counted)


class SelfAttention(nn.Module):
    """Pre-LN transformer layer among the observed embeddings.

    E' = E + MultiHead(LN(E)),  E'' = E' + FC(Swish(FC(LN(E'))))      (Xiong et al. 2020)
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.embedding_dim
        self.num_heads = config.num_heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(
        self, embeddings: Float[Tensor, "#B M D"], present: Bool[Tensor, "B M"]
    ) -> Float[Tensor, "B M D"]:
        """Return every observed modality's embedding in the light of the others; zeros elsewhere.

        Args:
            embeddings: As SetFeature's.
            present: As SetFeature's.
        """
        observed = observed_rows(embeddings, present)
        batch, count, dim = observed.shape
        heads, width = self.num_heads, dim // self.num_heads
        projected = self.query_key_value(self.attention_norm(observed))
        query, key, value = (
            x.view(batch, count, heads, width).transpose(1, 2) for x in projected.chunk(3, dim=-1)
        )
        logits = query @ key.transpose(2, 3) / math.sqrt(width)
        logits = logits.masked_fill(~present[:, None, None, :], float("-inf"))
        attended = torch.softmax(logits, dim=-1) @ value
        attended = attended.transpose(1, 2).reshape(batch, count, dim)
        hidden = observed + self.output(attended)
        return observed_rows(hidden + self.feed_forward(self.feed_forward_norm(hidden)), present)


class SelfAttentionPMA(nn.Module):
    """The paper's PMA after one layer of self-attention, which reads no modality by itself."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layer = SelfAttention(config)
        self.attention = PMA(config)
        self.width = self.attention.width

    def forward(
        self, embeddings: Float[Tensor, "#B M D"], present: Bool[Tensor, "B M"]
    ) -> Float[Tensor, "B D"]:
        """Return the set feature; see SetFeature for the arguments."""
        feature: Tensor = self.attention(self.layer(embeddings, present), present)
        return feature


class HirtSum(nn.Module):
    """Hirt et al. (TMLR 2024): two layers of self-attention, sum over the set, FC with Swish."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.width = config.embedding_dim
        self.layers = nn.ModuleList([SelfAttention(config), SelfAttention(config)])
        self.feed_forward = nn.Linear(self.width, self.width)

    def forward(
        self, embeddings: Float[Tensor, "#B M D"], present: Bool[Tensor, "B M"]
    ) -> Float[Tensor, "B D"]:
        """Return the set feature; see SetFeature for the arguments."""
        for layer in self.layers:
            embeddings = layer(embeddings, present)
        return nn.functional.silu(self.feed_forward(embeddings.sum(1)))
