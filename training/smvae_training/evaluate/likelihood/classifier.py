"""A small image classifier, trained in about a minute, that judges what methods generate.

N images, C classes.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smvae_core.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """Enough for 98 % on MNIST."""

    epochs: int = 3
    batch: int = 128
    learning_rate: float = 2e-3
    """Peak of a one-cycle schedule."""
    seed: int = 0
    """Of the weights and the order of images."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or not self.learning_rate > 0:
            raise ConfigError(f"epochs, batch and learning_rate must be positive, got {self}")


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A trained network and how often it is right on images that it never saw."""

    network: nn.Module
    channels: int
    classes: int
    accuracy: float
    """On the test images."""
    seconds: float
    """Of training."""

    @torch.inference_mode()
    def classify(self, images: Tensor) -> Tensor:
        """Return the likeliest class (N,) of images (N, channels, 28, 28) in [0, 1]."""
        return torch.cat([self.network(part.float()).argmax(1) for part in images.split(1000)])

    def save(self, path: Path) -> None:
        """Write weights and accuracy."""
        about = {"channels": self.channels, "classes": self.classes}
        scores = {"accuracy": self.accuracy, "seconds": self.seconds}
        torch.save({"weights": self.network.state_dict(), **about, **scores}, path)

    @classmethod
    def load(cls, path: Path, device: torch.device | str = "cpu") -> Classifier:
        """Read what `save` wrote; no code is loaded."""
        about: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        weights = about.pop("weights")
        net = network(about["channels"], about["classes"]).to(device).eval()
        net.load_state_dict(weights)
        return cls(network=net, **about)


def network(channels: int, classes: int) -> nn.Sequential:
    """Return Conv.16 - Conv.32 (4, 2, 1) - FC.128 - FC.C for 28x28 images."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 4, 2, 1),
        nn.SiLU(),
        nn.Conv2d(16, 32, 4, 2, 1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 128),
        nn.SiLU(),
        nn.Linear(128, classes),
    )


def train_classifier(
    images: Tensor,
    labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    config: ClassifierConfig | None = None,
    *,
    device: torch.device | str = "cpu",
) -> Classifier:
    """Train on images (N, channels, 28, 28) in [0, 1] with integer labels (N,).

    Grey images suit best: the means that methods generate are grey also where their data are
    binarised.

    Raises:
        ConfigError: If the images are not 28x28 in [0, 1].
    """
    config = config or ClassifierConfig()
    whole = images.ndim == 4 and images.shape[2:] == (28, 28)
    if not (whole and images.min() >= 0 and images.max() <= 1):  # NaN is not, either
        raise ConfigError(
            f"the classifier reads 28x28 images in [0, 1], got {tuple(images.shape)} from "
            f"{float(images.min()):.3g} to {float(images.max()):.3g}"
        )
    started = time.perf_counter()
    channels, classes = images.shape[1], int(torch.cat([labels, test_labels]).max()) + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = network(channels, classes).to(device)
    order = torch.Generator().manual_seed(config.seed)
    steps = config.epochs * -(-len(images) // config.batch)
    optimizer = torch.optim.Adam(net.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, steps)
    for _ in range(config.epochs):
        for rows in torch.randperm(len(images), generator=order).split(config.batch):
            logits = net(images[rows].to(device).float())
            loss = nn.functional.cross_entropy(logits, labels[rows].to(device).long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    trained = Classifier(
        network=net.eval(), channels=channels, classes=classes, accuracy=0.0, seconds=0.0
    )
    right = trained.classify(test_images.to(device)).cpu() == test_labels.cpu()
    seconds = time.perf_counter() - started
    accuracy = float(right.float().mean())
    logger.info("classifier: %.2f %% of test images right, %.0f s", 100 * accuracy, seconds)
    return Classifier(
        network=net, channels=channels, classes=classes, accuracy=accuracy, seconds=seconds
    )
