"""How the way bends: what goes on moves the mean of a belief by what is believed.

B batch, T stamp, Z latent, R rank, M W size of a way.

Between two stamps the mean moves by K dC (`memory.py`), the same wherever a robot is. Beside it

    U (tanh(A z + b) * B dC),   z = (P / (1 + P) Q / L / sqrt(s), P / (1 + P))

of the belief at the earlier stamp. It is 0 where nothing went on and where no time passed, and no
precision is touched: what `belief.py` promises of the entropy holds. U starts at zero. It is a step
from stamp to stamp, so that a stamp between two others changes it a little.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

#: (step, log P, P / (1 + P) Q / L) of the belief before a stamp -> what its mean moves beside K dC.
Bending = Callable[[int, Tensor, Tensor], Tensor]


class Bend(nn.Module):
    """A, b, B and U."""

    def __init__(self, path: int, latent_dim: int, rank: int) -> None:
        super().__init__()
        self.state = nn.Linear(2 * latent_dim, rank)
        self.way = nn.Linear(path, rank, bias=False)
        self.out = nn.Linear(rank, latent_dim, bias=False)
        nn.init.zeros_(self.out.weight)

    def along(self, way: Float[Tensor, "B T MW"], log_spread: Float[Tensor, " Z"]) -> Bending:
        """Return what moves the mean before each stamp.

        Args:
            way: dC between a stamp and the one before it, in units of PATH_UNIT_S.
            log_spread: log s.
        """
        moved = self.way(way).unbind(1)
        deviation = torch.exp(0.5 * log_spread)

        def bending(step: int, log_precision: Tensor, told: Tensor) -> Tensor:
            weight = torch.sigmoid(log_precision)
            z = torch.cat([told / deviation, weight], dim=1).to(moved[step])
            return self.out(torch.tanh(self.state(z)) * moved[step])

        return bending
