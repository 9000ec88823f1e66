"""How a posterior is drawn towards one that knows more. B batch, Z latent."""

from jaxtyping import Float
from torch import Tensor

from smvae_core.model.distributions import Posterior


def matching(best: Posterior, posterior: Posterior) -> Float[Tensor, ""]:
    """Return a mean over samples whose minimum over q is that of KL(best || q).

    With best = N(m, v) and q = N(mu, s) of each latent dimension, and s fixed where it weighs:

        sum over z of s (1/2) (log s - log v + (v + (m - mu)^2) / s - 1)

    Without the weight s, the mean learns least where q is least sure, which is where a sensor was
    lost (beta-NLL with beta 1, Seitzer et al. 2022). How latent dimensions covary does not count.
    """
    variance = posterior.log_var.exp()
    distance = best.log_var.exp() + (best.mean - posterior.mean).square()
    kl = 0.5 * (posterior.log_var - best.log_var + distance / variance - 1.0)
    return (variance.detach() * kl).sum(1).mean()
