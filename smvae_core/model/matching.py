"""How a posterior is drawn towards one that knows more. B batch, M modality, Z latent."""

from collections.abc import Mapping

from jaxtyping import Bool, Float
from torch import Tensor

from smvae_core.model.bounds import Bound, Part
from smvae_core.model.distributions import Posterior
from smvae_core.model.memory.context import Embedded
from smvae_core.model.objective import ElboTerms, explain
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.model.smvae import SMVAE


def matching(best: Posterior, posterior: Posterior) -> Float[Tensor, " B"]:
    """Return of each sample what is smallest over q where KL(best || q) is.

    With best = N(m, v) and q = N(mu, s) of each latent dimension, and s fixed where it weighs:

        sum over z of s (1/2) (log s - log v + (v + (m - mu)^2) / s - 1)

    Without the weight s, the mean learns least where q is least sure, which is where a sensor was
    lost (beta-NLL with beta 1, Seitzer et al. 2022). How latent dimensions covary does not count.
    """
    variance = posterior.log_var.exp()
    distance = best.log_var.exp() + (best.mean - posterior.mean).square()
    kl = 0.5 * (posterior.log_var - best.log_var + distance / variance - 1.0)
    return (variance.detach() * kl).sum(1)


def matched(
    model: SMVAE,
    batch: Mapping[str, Tensor],
    recorded: Bool[Tensor, "B M"],
    present: Bool[Tensor, "B M"],
    config: ObjectiveConfig,
    embedded: Embedded,
    best: Posterior,
    weight: float,
    targets: Mapping[str, Tensor] | None = None,
) -> ElboTerms:
    """Return how well means of posteriors with memory are decoded, and how well they match.

        sum over X of lambda_m log p(x_m | mean of q_S) - weight matching(best, q_S)

    X is all that was recorded. The expected log likelihood of latents that are drawn is largest
    where q_S is as narrow as q_X, however far from it. Nothing is drawn here, so that no image asks
    for a narrow posterior (docs/decisions/training-contexts.md); `elbo` of the terms is no bound.

    Args:
        model: The model.
        batch: What is decoded, network inputs (B, *shape) by name.
        recorded: What each record holds.
        present: What is observed of it at the reference time.
        config: Weights lambda; the target is not read.
        embedded: The records and what they remember.
        best: What all that the records hold says, of the model without memory.
        weight: Of matching, in nats.
        targets: As of `elbo`.

    Raises:
        EmptySubset: If a sample has no observed modality, and nothing that it remembers.
        UnknownModality: As in `elbo`.
    """
    posterior = model.posterior(embedded.embeddings, present, embedded.elements)
    divergence = weight * matching(best, posterior)
    bound = Bound((posterior,), posterior.kl(), divergence, (Part(recorded, posterior.mean),))
    return explain(model, bound, batch, present, 1.0, config, targets)
