"""Models whose likelihoods are known exactly, as methods of the evaluator.

K samples, B items, Z latent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from smvae_core.modality import Modality
from smvae_core.model.distributions import log_likelihood
from smvae_core.presets import MNIST
from smvae_training.evaluate.likelihood.method import CannotEncode
from smvae_training.evaluate.likelihood.mixture import Mixture

Q = Callable[["LinearGaussian", Mapping[str, Tensor], tuple[str, ...]], Mixture]


def vector(name: str, size: int) -> Modality:
    return Modality(name=name, kind="vector", shape=(size,), unit="1")


class LinearGaussian:
    """z ~ N(0, I); x_m = A_m z + b_m + s_m noise, columns of every A_m orthogonal.

    The posterior of every subset is then Gaussian with a diagonal covariance, as a method's is.
    """

    name = "toy"

    def __init__(
        self,
        sizes: Mapping[str, int],
        latent_dim: int = 2,
        q: Q | None = None,
        scale: float = 0.5,
        encodes: Callable[[tuple[str, ...]], bool] = lambda subset: True,
    ) -> None:
        rng = torch.Generator().manual_seed(1)
        self.modalities = tuple(vector(name, size) for name, size in sizes.items())
        self.names = tuple(sizes)
        self.latent_dim, self.encodes = latent_dim, encodes
        self.q: Q = q or (lambda toy, batch, subset: toy.exact(batch, subset))
        self.a, self.b, self.scale = {}, {}, {}
        for name, size in sizes.items():
            columns = torch.linalg.qr(torch.randn(size, latent_dim, generator=rng)).Q
            self.a[name] = columns * (0.5 + torch.rand(latent_dim, generator=rng))
            self.b[name] = torch.randn(size, generator=rng)
            self.scale[name] = scale

    def noise_scale(self) -> dict[str, float]:
        return dict(self.scale)

    def draw(self, items: int, seed: int = 0) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(seed)
        z = torch.randn(items, self.latent_dim, generator=rng)
        found = {}
        for name, mean in self.decode(z, self.names).items():
            noise = torch.randn(mean.shape, generator=rng)
            found[name] = mean + self.scale[name] * noise
        return found

    def exact(self, batch: Mapping[str, Tensor], subset: Sequence[str]) -> Mixture:
        """Return the true posterior p(z given x_S)."""
        precision = torch.ones(self.latent_dim)
        pull = torch.zeros(len(batch[subset[0]]), self.latent_dim)
        for name in subset:
            a, variance = self.a[name], self.scale[name] ** 2
            precision = precision + a.square().sum(0) / variance
            pull = pull + (batch[name] - self.b[name]) @ a / variance
        mean = pull / precision
        return Mixture(mean[None], -precision.log().expand_as(mean)[None])

    def proposal(self, batch: Mapping[str, Tensor], subset: Sequence[str]) -> Mixture:
        if not self.encodes(tuple(subset)):
            raise CannotEncode(self.name, subset)
        return self.q(self, batch, tuple(subset))

    def decode(self, z: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        return {name: z @ self.a[name].T + self.b[name] for name in names}

    def log_likelihood(self, name: str, x: Tensor, output: Tensor) -> Tensor:
        modality = self.modalities[self.names.index(name)]
        return log_likelihood(modality, x, output, torch.tensor(self.scale[name]).log())

    def log_evidence(self, inputs: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
        """Return the true log p(x_names), (N,) float64: a Gaussian with A A^T + s^2 I."""
        a = torch.cat([self.a[n] for n in names]).double()
        mean = torch.cat([self.b[n] for n in names]).double()
        noise = torch.cat([torch.full((len(self.b[n]),), self.scale[n] ** 2) for n in names])
        covariance = a @ a.T + torch.diag(noise.double())
        x = torch.cat([inputs[n] for n in names], dim=1).double()
        return torch.distributions.MultivariateNormal(mean, covariance).log_prob(x)


class Labelled(LinearGaussian):
    """x is linear-Gaussian in z, the label depends on z alone: p(label given x) is an integral."""

    def __init__(self, q: Q | None = None, sharpness: float = 3.0) -> None:
        super().__init__({"x": 3}, q=q or (lambda toy, batch, subset: toy.exact(batch, ("x",))))
        label = Modality(name="label", kind="label", shape=(3,), unit="1", likelihood="categorical")
        self.modalities, self.names = (*self.modalities, label), ("x", "label")
        self.sharpness = sharpness

    def draw(self, items: int, seed: int = 0) -> dict[str, Tensor]:
        rng = torch.Generator().manual_seed(seed)
        z = torch.randn(items, 2, generator=rng)
        outputs = self.decode(z, self.names)
        x = outputs["x"] + self.scale["x"] * torch.randn(items, 3, generator=rng)
        chosen = torch.multinomial(outputs["label"].softmax(1), 1, generator=rng).squeeze(1)
        return {"x": x, "label": torch.eye(3)[chosen]}

    def decode(self, z: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        logits = self.sharpness * torch.cat([z, -z.sum(1, keepdim=True)], dim=1)
        found = super().decode(z, [n for n in names if n == "x"])
        return found | ({"label": logits} if "label" in names else {})

    def log_likelihood(self, name: str, x: Tensor, output: Tensor) -> Tensor:
        if name == "label":
            return log_likelihood(self.modalities[1], x, output)
        return super().log_likelihood(name, x, output)


class Painter:
    """Latents close to 4 times a class's unit vector draw a bar whose row is the class."""

    name = "painter"
    modalities = MNIST
    names = ("image", "label")

    def __init__(self, wrong: int | None = None) -> None:
        """`wrong` is a class that is painted as the next one."""
        self.painted = torch.arange(10)
        if wrong is not None:
            self.painted[wrong] = (wrong + 1) % 10

    def proposal(self, batch: Mapping[str, Tensor], subset: Sequence[str]) -> Mixture:
        assert tuple(subset) == ("label",)
        return Mixture(4.0 * batch["label"][None], torch.full((1, len(batch["label"]), 10), -4.0))

    def decode(self, z: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        logits = 20.0 * bars(self.painted[z.argmax(1)]) - 10.0
        return {name: {"image": logits, "label": 5.0 * z}[name] for name in names}

    def log_likelihood(self, name: str, x: Tensor, output: Tensor) -> Tensor:
        raise NotImplementedError


def bars(classes: Tensor) -> Tensor:
    """Return images (N, 1, 28, 28) with a bar of two rows at the height of the class."""
    rows = torch.arange(28)[None] // 2 - 2 == classes[:, None]
    return rows[:, None, :, None].expand(-1, 1, 28, 28).float()


def shifted(toy: LinearGaussian, batch: Mapping[str, Tensor], subset: tuple[str, ...]) -> Mixture:
    """Return a poor proposal: the true posterior, off by half a deviation and 1.5 times as wide."""
    q = toy.exact(batch, subset)
    return Mixture(q.mean + 0.5 * torch.exp(0.5 * q.log_var), q.log_var + 0.8)


def true_and_far(
    toy: LinearGaussian, batch: Mapping[str, Tensor], subset: tuple[str, ...]
) -> Mixture:
    """Return a mixture of the true posterior and a component where the posterior has no mass."""
    q = toy.exact(batch, subset)
    return Mixture(torch.cat([q.mean, q.mean + 30.0]), torch.cat([q.log_var, q.log_var]))
