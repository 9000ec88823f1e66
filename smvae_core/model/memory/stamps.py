"""A ragged set of stamped elements, laid out in the order of its stamps.

B batch, N element, T stamp, M modality, W width of a path, K time constant.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Stamps(NamedTuple):
    """Every stamp of every sample of the batch, oldest first; the last one is the reference time.

    Samples with fewer stamps than others repeat their oldest one in front, without an element.
    """

    age_s: Float[Tensor, "B T"]
    column: Int[Tensor, " N"]
    """T's index of each element."""

    @classmethod
    def of(cls, owner: Int[Tensor, " N"], age_s: Float[Tensor, " N"], size: int) -> "Stamps":
        """Lay out elements: `owner` is the sample of the batch, of `size`."""
        every = torch.arange(size, device=owner.device)
        owners = torch.cat([owner, every])
        ages = torch.cat([age_s.clamp(min=0), age_s.new_zeros(size)])
        order = ages.argsort(descending=True, stable=True)
        order = order[owners[order].argsort(stable=True)]
        owners_sorted, ages_sorted = owners[order], ages[order]
        new = torch.ones_like(owners_sorted, dtype=torch.bool)
        new[1:] = (owners_sorted.diff() != 0) | (ages_sorted.diff() != 0)
        number = new.cumsum(0) - 1
        last = torch.zeros_like(every).scatter_reduce(0, owners_sorted, number, "amax")
        count = torch.zeros_like(every).index_add(0, owners_sorted, new.long())
        length = int(count.max())
        column = torch.empty_like(order)
        column[order] = length - 1 - last[owners_sorted] + number
        oldest = torch.zeros_like(every, dtype=ages.dtype)
        oldest = oldest.scatter_reduce(0, owners, ages, "amax", include_self=True)
        grid = oldest.unsqueeze(1).repeat(1, length)
        grid[owners, column] = ages
        return cls(grid, column[: len(owner)])

    @property
    def elapsed_s(self) -> Float[Tensor, "B T"]:
        """Time since the stamp before; 0 of the first."""
        return torch.nn.functional.pad(-self.age_s.diff(dim=1), (1, 0))


class Newest(NamedTuple):
    """Of every stamp and sensor, the column of its newest element up to there; -1: none."""

    column: Int[Tensor, "B T M"]

    @classmethod
    def of(cls, filled: Bool[Tensor, "B T M"]) -> "Newest":
        every = torch.arange(filled.shape[1], device=filled.device).view(1, -1, 1)
        return cls(torch.where(filled, every, -1).cummax(dim=1).values)


class Held(NamedTuple):
    """What each sensor showed between a stamp and the next: its newest element, held for a while.

    Held until the next element of that sensor, and `hold_s` at most: the same way whatever the
    rate.
    """

    value: Float[Tensor, "B T1 M W"]
    start_s: Float[Tensor, "B T1 1"]
    """Age at which the piece begins."""
    span_s: Float[Tensor, "B T1 M"]
    """How long the value is held; T1 = T - 1."""

    @classmethod
    def of(
        cls,
        value: Float[Tensor, "B T M W"],
        newest: Int[Tensor, "B T M"],
        age_s: Float[Tensor, "B T"],
        hold_s: float,
    ) -> "Held":
        column = newest[:, :-1]
        known, at = column >= 0, column.clamp(min=0)
        start = age_s[:, :-1].unsqueeze(-1)
        since = age_s.unsqueeze(-1).expand(-1, -1, at.shape[2]).gather(1, at) - start
        span = torch.minimum(-age_s.diff(dim=1).unsqueeze(-1), hold_s - since).clamp(min=0)
        index = at.unsqueeze(-1).expand(*at.shape, value.shape[-1])
        return cls(value.gather(1, index), start, torch.where(known, span, 0.0))

    def way(self) -> Float[Tensor, "B T M W"]:
        """Return what came together between each stamp and the one before; 0 of the first."""
        pieces = self.value * self.span_s.unsqueeze(-1)
        return torch.nn.functional.pad(pieces, (0, 0, 0, 0, 1, 0))

    def histories(self, time_s: Float[Tensor, " K"]) -> Float[Tensor, "B M W K"]:
        """Return sum over pieces of value (exp(-end / time) - exp(-start / time))."""
        start = self.start_s.unsqueeze(-1)
        end = start - self.span_s.unsqueeze(-1)
        weight = torch.exp(-end / time_s) - torch.exp(-start / time_s)
        return torch.einsum("btmw,btmk->bmwk", self.value, weight)
