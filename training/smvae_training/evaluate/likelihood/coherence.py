"""Do generated images show what the label says? Judged by a classifier of real images.

The classifier is small, and trained in about a minute. K samples, N images, C classes.
"""

from __future__ import annotations

import io
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from smvae_core.errors import ConfigError
from smvae_core.files import write_bytes
from smvae_core.model.distributions import likelihood_mean
from smvae_training.evaluate.likelihood.method import Method
from smvae_training.evaluate.likelihood.sampling import SamplingConfig, draw, prior_noise
from smvae_training.evaluate.likelihood.summary import mean_and_error
from smvae_training.evaluate.measures import is_described_image, is_exclusive

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
        content = io.BytesIO()
        torch.save({"weights": self.network.state_dict(), **about, **scores}, content)
        write_bytes(path, content.getbuffer())

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


@dataclass(frozen=True, kw_only=True)
class Coherence:
    """Classes of generated images, and those that they should have."""

    method: str
    asked: NDArray[np.int64]
    """(K C,) the label that each image was generated from."""
    shown: NDArray[np.int64]
    """(K C,) its class, by the classifier."""
    joint_label: NDArray[np.int64]
    """(K C,) the likeliest label decoded from a draw of the prior."""
    joint_shown: NDArray[np.int64]
    """(K C,) the class, by the classifier, of the image decoded from the same draw."""
    classes: tuple[str, ...]
    classifier_accuracy: float
    """Share of real test images that it gets right: the ceiling, roughly."""
    samples: int
    seed: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the shares of coherent images from a label, and of pairs from the prior."""
        right = self.asked == self.shown
        pairs = self.joint_label == self.joint_shown
        return {
            "method": self.method,
            "samples_per_class": self.samples,
            "seed": self.seed,
            "seconds": self.seconds,
            "classifier_accuracy": self.classifier_accuracy,
            "label_to_image": mean_and_error(right.astype(np.float64)),
            "label_to_image_by_class": {
                name: float(right[self.asked == c].mean()) for c, name in enumerate(self.classes)
            },
            "joint_from_prior": mean_and_error(pairs.astype(np.float64)),
            "labels_from_prior": {
                name: float((self.joint_label == c).mean()) for c, name in enumerate(self.classes)
            },
        }


def measure_coherence(
    method: Method,
    classifier: Classifier,
    *,
    samples: int = 1000,
    seed: int = 0,
    chunk: int = 2000,
    device: torch.device | str = "cpu",
) -> Coherence:
    """Generate K images from the posterior of each label, and as many pairs from the prior.

    Images are means of p(image given z), not samples of their pixels.

    Args:
        method: An image and a label, in this order, on `device`, in evaluation mode.
        classifier: Judges, on `device`.
        samples: K, images per class.
        seed: Seed of all draws.
        chunk: Latents decoded at once.
        device: Where the method computes.

    Raises:
        ConfigError: If the method's modalities are not an image and a label, or their classes are
            not the classifier's.
        CannotEncode: If the method has no posterior given a label.
    """
    config = SamplingConfig(samples=samples, seed=seed, chunk=chunk)
    started = time.perf_counter()
    if not is_described_image(method.modalities) or not is_exclusive(method.modalities[1]):
        raise ConfigError(f"coherence needs an image and a label, {method.name} has {method.names}")
    label = method.modalities[1]
    count = label.shape[0]
    if count != classifier.classes:
        raise ConfigError(
            f"the classifier knows {classifier.classes} classes, {label.name} {count}"
        )
    with torch.inference_mode():
        labels = torch.eye(count, device=device)
        posterior = method.proposal({label.name: labels}, (label.name,))
        z, _ = draw(posterior, np.arange(count), config)
        generated = z.transpose(0, 1).reshape(-1, z.shape[-1])
        shown = _shown(method, classifier, generated, chunk)
        free = prior_noise(seed, len(generated), z.shape[-1]).to(z)
        joint_label = torch.cat(
            [
                likelihood_mean(label, method.decode(part, [label.name])[label.name]).argmax(1)
                for part in free.split(chunk)
            ]
        )
        joint_shown = _shown(method, classifier, free, chunk)
    return Coherence(
        method=method.name,
        asked=np.repeat(np.arange(count, dtype=np.int64), samples),
        shown=shown,
        joint_label=joint_label.cpu().numpy(),
        joint_shown=joint_shown,
        classes=label.fields or tuple(map(str, range(count))),
        classifier_accuracy=classifier.accuracy,
        samples=samples,
        seed=seed,
        seconds=time.perf_counter() - started,
    )


def _shown(method: Method, classifier: Classifier, z: Tensor, chunk: int) -> NDArray[np.int64]:
    """Return the class (N,) of the image decoded from each z (N, Z)."""
    image = method.modalities[0]
    found = []
    for part in z.split(chunk):
        output = method.decode(part, [image.name])[image.name]
        found.append(classifier.classify(likelihood_mean(image, output)))
    return torch.cat(found).cpu().numpy()
