"""The two distributions of the model: diagonal Gaussian posterior, Gaussian likelihood.

B batch, Z latent.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Posterior:
    """q(z given x_S) = N(mean, diag(exp(log_var))), paper Eq. 5."""

    mean: Float[Tensor, "B Z"]
    log_var: Float[Tensor, "B Z"]

    def rsample(self, generator: torch.Generator | None = None) -> Float[Tensor, "B Z"]:
        """Draw z = mean + sigma * epsilon, paper Eq. 6."""
        epsilon = torch.randn(
            self.mean.shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype
        )
        return self.mean + torch.exp(0.5 * self.log_var) * epsilon

    def kl(self) -> Float[Tensor, " B"]:
        """Return KL(q || N(0, I)) in nats, summed over latent dimensions."""
        variance = self.log_var.exp()
        return 0.5 * (self.mean.square() + variance - 1.0 - self.log_var).sum(-1)

    def regulariser(self) -> Float[Tensor, " B"]:
        """Return ||mean||^2 + ||sigma - 1||^2, our reading of the paper's "L2-normalization"."""
        sigma = torch.exp(0.5 * self.log_var)
        return (self.mean.square() + (sigma - 1.0).square()).sum(-1)


def gaussian_log_likelihood(
    x: Float[Tensor, "B ..."], mean: Float[Tensor, "B ..."], log_scale: Tensor
) -> Float[Tensor, " B"]:
    """Return log N(x; mean, exp(log_scale)^2) in nats, summed over all dimensions but the first."""
    squared = (x - mean).square().flatten(1).sum(-1)
    dims = x[0].numel()
    return -0.5 * squared * torch.exp(-2.0 * log_scale) - dims * (
        log_scale + 0.5 * math.log(2.0 * math.pi)
    )
