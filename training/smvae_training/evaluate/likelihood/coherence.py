"""Do generated images show what the label says? Judged by a classifier of real images.

K samples, C classes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.errors import ConfigError
from smvae_core.model.distributions import likelihood_mean
from smvae_training.evaluate.likelihood.classifier import Classifier
from smvae_training.evaluate.likelihood.method import Method
from smvae_training.evaluate.likelihood.sampling import SamplingConfig, draw, prior_noise
from smvae_training.evaluate.likelihood.summary import mean_and_error
from smvae_training.evaluate.measures import is_described_image, is_exclusive


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

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the classes for one .npz."""
        keys = ("asked", "shown", "joint_label", "joint_shown")
        return {key: getattr(self, key) for key in keys}


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
