"""How much of an image-set run is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from smvae_core.errors import ConfigError, option
from smvae_core.modality import Modality
from smvae_core.subsets import evaluated_subsets
from smvae_training.evaluate.measures import images

#: Images up to this side are cheap enough for many items.
SMALL_SIDE = 28


@dataclass(frozen=True, kw_only=True)
class ImageEvaluateConfig:
    """What is scored; the defaults take two to three minutes on two cores for MNIST."""

    samples: int = 1000
    """K importance samples per item and proposal, as in the paper."""
    prior_samples: int = 5000
    """Draws of the prior for log p(y)."""
    items: int = 0
    """Held-out items whose likelihoods are estimated, evenly spaced; 0 for 500, or 50 of images
    larger than 28 x 28."""
    quick_items: int = 0
    """Held-out items for accuracy, calibration, entropies and errors; 0 for 2000, or 200 of images
    larger than 28 x 28."""
    label_samples: int = 50
    """Draws of q(z given image) per item for p(label given image)."""
    coherence_samples: int = 100
    """Images generated from each class."""
    classifier_epochs: int = 1
    """Passes over the training images of the classifier that judges generated ones."""
    subsets: Literal["few", "all"] = "few"
    """More than two modalities: 'few' scores each alone and all together, 'all' every subset
    (63 of six)."""
    subset_samples: int = 50
    """More than two modalities: K per item and subset."""
    tsne_items: int = 500
    """Points of each t-SNE picture."""
    seed: int = 0
    """Seed of all draws."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value, least = getattr(self, name), 1
            if name in ("seed", "items", "quick_items"):
                least = 0
            if isinstance(value, int) and value < least:
                name = option(f"images.{name}")
                raise ConfigError(f"{name} must be at least {least}, got {value}")

    def likelihood_items(self, modalities: Sequence[Modality]) -> int:
        """Return `items`, or what it stands for."""
        return self.items or (500 if are_small(modalities) else 50)

    def many_items(self, modalities: Sequence[Modality]) -> int:
        """Return `quick_items`, or what it stands for."""
        return self.quick_items or (2000 if are_small(modalities) else 200)

    def chosen_subsets(self, names: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Return the subsets that are scored, smallest first."""
        every = evaluated_subsets(names)
        return every if self.subsets == "all" else [s for s in every if len(s) in (1, len(names))]


def are_small(modalities: Sequence[Modality]) -> bool:
    """Return whether decoding a thousand latents takes a fraction of a second."""
    return all(m.shape[-1] <= SMALL_SIDE for m in images(modalities))
