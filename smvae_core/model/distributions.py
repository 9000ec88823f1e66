"""The distributions of the model: Gaussian posterior, likelihood of each modality.

B batch, Z latent.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smvae_core.modality import Modality


class Share(NamedTuple):
    """Which rows of a larger batch a batch is: `first`, `first + stride`, ...

    Noise is drawn for every row of the larger one, so that a row gets the same noise whoever
    computes it, as where several devices share the batch of a training step.
    """

    first: int
    stride: int
    total: int
    """Rows of the larger batch."""

    @property
    def rows(self) -> int:
        return len(range(self.first, self.total, self.stride))

    def normal(self, like: Float[Tensor, "B Z"]) -> Float[Tensor, "B Z"]:
        """Return standard normal noise of the rows, from torch's own generator."""
        shape = (self.total, *like.shape[1:])
        every = torch.randn(shape, device=like.device, dtype=like.dtype)
        return every[self.first :: self.stride]


#: Where noise comes from: torch's own generator where None.
Noise = torch.Generator | Share | None


@dataclass(frozen=True)
class Posterior:
    """q(z given x_S) = N(mean, U diag(exp(log_var)) U^T); paper Eq. 5 where U is the identity.

    U is unit lower triangular: latent dimensions covary, and the determinant, so the entropy, is
    that of the diagonal alone. Every Gaussian has this form (the LDL decomposition).
    """

    mean: Float[Tensor, "B Z"]
    log_var: Float[Tensor, "B Z"]
    """Of each dimension given those before it; of the dimension itself where U is the identity."""
    shear: Float[Tensor, "B Z Z"] | None = None
    """U; None: the identity."""

    @property
    def variance(self) -> Float[Tensor, "B Z"]:
        """Variance of each latent dimension by itself, the diagonal of the covariance."""
        variance = self.log_var.exp()
        return variance if self.shear is None else _times(self.shear.square(), variance)

    def place(self, epsilon: Float[Tensor, "*K B Z"]) -> Float[Tensor, "*K B Z"]:
        """Return z = mean + U sigma * epsilon of standard normal noise, paper Eq. 6."""
        scaled = torch.exp(0.5 * self.log_var) * epsilon
        return self.mean + (scaled if self.shear is None else _times(self.shear, scaled))

    def distance(self, z: Float[Tensor, "*K B Z"]) -> Float[Tensor, "*K B"]:
        """Return the squared Mahalanobis distance of z from the mean."""
        return (_solve(self.shear, z - self.mean).square() * torch.exp(-self.log_var)).sum(-1)

    def rsample(self, generator: Noise = None) -> Float[Tensor, "B Z"]:
        """Draw a latent, with the gradient of the parameters."""
        mean = self.mean
        if isinstance(generator, Share):
            return self.place(generator.normal(mean))
        return self.place(
            torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        )

    def rsamples(self, count: int, generator: Noise = None) -> list[Float[Tensor, "B Z"]]:
        """Draw `count` independent latents."""
        return [self.rsample(generator) for _ in range(count)]

    def antithetic(self, count: int, generator: Noise = None) -> list[Float[Tensor, "B Z"]]:
        """Draw `count` latents, the second half mirrored at the mean: noise -epsilon.

        Each has the distribution of `rsample`; what is odd in epsilon cancels in a pair's mean.
        """
        drawn = self.rsamples((count + 1) // 2, generator)
        return [*drawn, *(2.0 * self.mean - z for z in drawn)][:count]

    def kl(self) -> Float[Tensor, " B"]:
        """Return KL(q || N(0, I)) in nats, summed over latent dimensions."""
        return 0.5 * (self.mean.square() + self.variance - 1.0 - self.log_var).sum(-1)

    def detach(self) -> "Posterior":
        """Return the same posterior without gradient."""
        shear = None if self.shear is None else self.shear.detach()
        return Posterior(self.mean.detach(), self.log_var.detach(), shear)

    def kl_to(self, other: "Posterior") -> Float[Tensor, " B"]:
        """Return KL(self || other) in nats; either both have U or neither has."""
        difference = self.log_var - other.log_var
        spread = difference.exp()
        if self.shear is not None and other.shear is not None:
            relative = _solve_matrix(other.shear, self.shear).square()
            ratio = torch.exp(self.log_var.unsqueeze(-2) - other.log_var.unsqueeze(-1))
            spread = (relative * ratio).sum(-1)
        return 0.5 * ((spread - 1.0 - difference).sum(-1) + other.distance(self.mean))

    def log_ratio(self, z: Float[Tensor, "*K B Z"]) -> Float[Tensor, "*K B"]:
        """Return log p(z) - log q(z) in nats, p = N(0, I)."""
        return 0.5 * ((self.log_var - z.square()).sum(-1) + self.distance(z))

    def regulariser(self) -> Float[Tensor, " B"]:
        """Return ||mean||^2 + ||sigma - 1||^2, our reading of the paper's "L2-normalization"."""
        return (self.mean.square() + (self.variance.sqrt() - 1.0).square()).sum(-1)


def _times(matrix: Float[Tensor, "B Z Z"], x: Float[Tensor, "*K B Z"]) -> Float[Tensor, "*K B Z"]:
    with torch.autocast(x.device.type, enabled=False):  # bf16 has no place in a density
        return torch.einsum("bij,...bj->...bi", matrix, x)


def _solve(
    shear: Float[Tensor, "B Z Z"] | None, x: Float[Tensor, "*K B Z"]
) -> Float[Tensor, "*K B Z"]:
    """Return U^-1 x; all of K as columns of one system per item."""
    if shear is None:
        return x
    columns = x.reshape(-1, *x.shape[-2:]).permute(1, 2, 0)
    return _solve_matrix(shear, columns).permute(2, 0, 1).reshape(x.shape)


def _solve_matrix(shear: Float[Tensor, "B Z Z"], x: Float[Tensor, "B Z K"]) -> Tensor:
    return torch.linalg.solve_triangular(shear, x, upper=False, unitriangular=True)


def log_likelihood(
    modality: Modality, x: Tensor, output: Tensor, log_scale: Tensor | None = None
) -> Tensor:
    """Return log p(x_m given z) in nats, summed over the modality's dimensions.

    | likelihood | `output` | log p |
    |---|---|---|
    | gaussian | mean m, perhaps log s as one channel more | log N(x; m, (s exp(log_scale))^2) |
    | bernoulli | logits l | x l - log(1 + e^l) per element, also for levels x between 0 and 1 |
    | categorical | logits l | x . log_softmax(l), x one-hot |
    | hurdle | mean m, logit l, perhaps log s | log Bernoulli(r; l) + r log N(d; m, .) |

    Of a hurdle x is (2, B): d and r, which is 1 where d was measured; else d is not read.

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
    if modality.likelihood == "hurdle":
        returned, logit = x[..., 1, :], mean[..., 1, :]
        distance = torch.where(returned > 0, x[..., 0, :] - mean[..., 0, :], 0.0)
        constant = returned.sum(-1) * (log_scale + 0.5 * math.log(2.0 * math.pi))
        density = -0.5 * distance.square().sum(-1) * torch.exp(-2.0 * log_scale) - constant
        return density + (returned * logit - nn.functional.softplus(logit)).sum(-1)
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
    mean = _taken_apart(modality, output)[0]
    if modality.likelihood == "hurdle":
        ranges, logit = mean.split(1, dim=-2)
        return torch.cat([ranges, torch.sigmoid(logit)], dim=-2)
    return mean
