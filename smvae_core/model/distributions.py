"""The distributions of the model: diagonal Gaussian posterior, likelihood of each modality.

B batch, Z latent.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smvae_core.modality import Modality


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

    def rsamples(
        self, count: int, generator: torch.Generator | None = None
    ) -> list[Float[Tensor, "B Z"]]:
        """Draw `count` independent latents."""
        return [self.rsample(generator) for _ in range(count)]

    def antithetic(
        self, count: int, generator: torch.Generator | None = None
    ) -> list[Float[Tensor, "B Z"]]:
        """Draw `count` latents, the second half mirrored at the mean: mean - sigma * epsilon.

        Each has the distribution of `rsample`; what is odd in epsilon cancels in a pair's mean.
        """
        drawn = self.rsamples((count + 1) // 2, generator)
        return [*drawn, *(2.0 * self.mean - z for z in drawn)][:count]

    def kl(self) -> Float[Tensor, " B"]:
        """Return KL(q || N(0, I)) in nats, summed over latent dimensions."""
        variance = self.log_var.exp()
        return 0.5 * (self.mean.square() + variance - 1.0 - self.log_var).sum(-1)

    def detach(self) -> "Posterior":
        """Return the same posterior without gradient."""
        return Posterior(self.mean.detach(), self.log_var.detach())

    def kl_to(self, other: "Posterior") -> Float[Tensor, " B"]:
        """Return KL(self || other) in nats, summed over latent dimensions."""
        difference = self.log_var - other.log_var
        distance = (self.mean - other.mean).square() * torch.exp(-other.log_var)
        return 0.5 * (difference.exp() + distance - 1.0 - difference).sum(-1)

    def log_ratio(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, " B"]:
        """Return log p(z) - log q(z) in nats, p = N(0, I)."""
        distance = (z - self.mean).square() * torch.exp(-self.log_var)
        return 0.5 * (self.log_var + distance - z.square()).sum(-1)

    def regulariser(self) -> Float[Tensor, " B"]:
        """Return ||mean||^2 + ||sigma - 1||^2, our reading of the paper's "L2-normalization"."""
        sigma = torch.exp(0.5 * self.log_var)
        return (self.mean.square() + (sigma - 1.0).square()).sum(-1)


def log_likelihood(
    modality: Modality, x: Tensor, output: Tensor, log_scale: Tensor | None = None
) -> Tensor:
    """Return log p(x_m given z) in nats, summed over the modality's dimensions.

    | likelihood | `output` | log p |
    |---|---|---|
    | gaussian | mean m, perhaps log s as one channel more | log N(x; m, (s exp(log_scale))^2) |
    | bernoulli | logits l | x l - log(1 + e^l) per element, also for levels x between 0 and 1 |
    | categorical | logits l | x . log_softmax(l), x one-hot |

    Args:
        modality: Says which likelihood.
        x: Network input (..., *shape).
        output: Decoder output (..., *shape); leading dimensions are broadcast with those of `x`.
        log_scale: Log standard deviation of a Gaussian; not read by the others.
    """
    event = tuple(range(-len(modality.shape), 0))
    if modality.likelihood == "bernoulli":
        return (x * output - nn.functional.softplus(output)).sum(event)
    if modality.likelihood == "categorical":
        return (x * nn.functional.log_softmax(output, dim=-1)).sum(event)
    assert log_scale is not None
    mean, log_noise = _taken_apart(modality, output)
    if log_noise is not None:
        log_scale = log_scale + log_noise
    squared = (x - mean).square().sum(event)
    constant = modality.size * (log_scale + 0.5 * math.log(2.0 * math.pi))
    return -0.5 * squared * torch.exp(-2.0 * log_scale) - constant


def _taken_apart(modality: Modality, output: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the mean (..., *shape) of a Gaussian and, where it is decoded, its log noise (...)."""
    channels, dims = modality.shape[0], len(modality.shape)
    if output.shape[-dims] == channels:
        return output, None
    mean, log_noise = output.split([channels, 1], dim=-dims)
    return mean, log_noise.flatten(-dims)[..., 0]


def likelihood_mean(modality: Modality, output: Tensor) -> Tensor:
    """Return the mean of p(x_m given z), (..., *shape), from the decoder's output."""
    if modality.likelihood == "bernoulli":
        return torch.sigmoid(output)
    if modality.likelihood == "categorical":
        return torch.softmax(output, dim=-1)
    return _taken_apart(modality, output)[0]
