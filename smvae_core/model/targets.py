"""What the latent says of targets: a small network each, and its likelihood.

A target is a modality that is decoded and never embedded: recorded in the laboratory alone, such as
the pose of the hole. So it has a likelihood p(y given z) beside those of the sensors.

B batch, Z latent, K numbers of a target.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smvae_core.bundle import LARGEST_LOG_NOISE
from smvae_core.target import DecodedTarget

#: Units of the hidden layer.
HIDDEN = 256
#: Standard deviation where nothing is learned yet, in those of the training records.
INITIAL_DEVIATION = 0.3
#: See `TargetDecoder.log_likelihood`.
NOISE_POWER = 1.0


class TargetDecoder(nn.Module):
    """Z -> HIDDEN -> mean and log variance of each number, or the logit of a binary one.

    Numbers are in deviations of the training records. The decoded standard deviation is

        s = INITIAL_DEVIATION exp(L tanh(a / L)),  L = LARGEST_LOG_NOISE

    so it stays within a factor e^3 = 20 of where it starts, as decoded noise of sensors does.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, target: DecodedTarget, latent_dim: int) -> None:
        super().__init__()
        self.target = target
        outputs = target.size if target.binary else 2 * target.size
        self.hidden = nn.Linear(latent_dim, HIDDEN)
        self.head = nn.Linear(HIDDEN, outputs)
        self.register_buffer("mean", torch.tensor(target.mean), persistent=False)
        self.register_buffer("deviation", torch.tensor(target.deviation), persistent=False)

    def forward(self, z: Float[Tensor, "B Z"]) -> tuple[Tensor, Tensor]:
        """Return mean and log variance (B, K), in deviations; of a binary one logits and zeros."""
        with torch.autocast(z.device.type, enabled=False):
            found = self.head(nn.functional.silu(self.hidden(z.float())))
            if self.target.binary:
                return found, torch.zeros_like(found)
            mean, raw = found.chunk(2, dim=-1)
            bounded = LARGEST_LOG_NOISE * torch.tanh(raw / LARGEST_LOG_NOISE)
            return mean, 2.0 * (math.log(INITIAL_DEVIATION) + bounded)

    def log_likelihood(
        self, y: Float[Tensor, "B K"], z: Float[Tensor, "B Z"]
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """Return log p(y given z) in nats, and what is trained in its place.

        y is in the target's unit, its density in deviations. What is trained weighs each number by
        s to the power `NOISE_POWER` (the beta of Seitzer et al. 2022 is half of it), with no
        gradient: a likelihood alone explains by noise what is hard to learn, and then no longer
        learns it, since errors count over s^2.
        """
        return self.score(y, *self(z))

    def score(
        self, y: Float[Tensor, "B K"], mean: Float[Tensor, "B K"], log_var: Float[Tensor, "B K"]
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """Return `log_likelihood` of a mean and log variance as `forward` gives them."""
        if self.target.binary:
            found = (y * mean - nn.functional.softplus(mean)).sum(-1)
            return found, found
        distance = (y - self.mean) / self.deviation - mean
        terms = distance.square() * torch.exp(-log_var) + log_var + math.log(2.0 * math.pi)
        weight = torch.exp(0.5 * NOISE_POWER * log_var).detach()
        return -0.5 * terms.sum(-1), -0.5 * (weight * terms).sum(-1)


class EveryTarget(nn.Module):
    """All decoders side by side: z -> mean and log variance (B, V) of all numbers in their order.

    As `TargetDecoder.forward` of each; what a bundle's graph of the targets is.
    """

    def __init__(self, decoders: nn.ModuleDict) -> None:
        super().__init__()
        self.decoders = decoders

    def forward(self, z: Float[Tensor, "B Z"]) -> tuple[Tensor, Tensor]:
        found = [decoder(z) for decoder in self.decoders.values()]
        means, log_vars = zip(*found, strict=True)
        return torch.cat(means, dim=-1), torch.cat(log_vars, dim=-1)


def target_decoders(targets: Sequence[DecodedTarget], latent_dim: int) -> nn.ModuleDict:
    """Return the decoder of every target.

    Its first weights come from random numbers of their own, so that those of the networks before
    and of what is drawn after stay what they are without targets.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed((torch.initial_seed() + 1) % 2**63)
        return nn.ModuleDict({t.name: TargetDecoder(t, latent_dim) for t in targets})
