"""The paper's Figure 2: latents given the image, the label and both, coloured by class.

N items, Z latent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from sklearn.neighbors import KNeighborsClassifier

from smvae_core.errors import ConfigError
from smvae_core.model.smvae import SMVAE
from smvae_training.evaluate.images.generation import posterior, samples
from smvae_training.evaluate.images.items import Items
from smvae_training.evaluate.measures import descriptions
from smvae_training.evaluate.report.draw import new_figure

PERPLEXITY = 30.0
#: Nearest others that vote on the class of an item.
NEIGHBOURS = 10


def tsne_figure(model: SMVAE, items: Items, seed: int = 0) -> Figure:
    """Draw one t-SNE per subset of an image and its label or attributes.

    Given the image, an item's point is its posterior mean. Given the label alone all items of a
    class share one posterior, so a point is then a sample of it, one per item; so for attributes.

    Args:
        model: Of an image and a label or attributes.
        items: What is embedded.
        seed: Of samples and of t-SNE.

    Raises:
        ConfigError: If there are fewer than five items, or no label and no attributes.
    """
    if len(items) < 5:
        raise ConfigError(f"t-SNE needs at least 5 held-out items, got {len(items)}")
    member, names = items.classes()
    first, second = items.names[:2]
    panels = (((first,), first), ((second,), second), ((first, second), f"{first} and {second}"))
    figure, (axes,) = new_figure(1, 3, size=(13.5, 4.9), layout="constrained")
    for axis, (subset, given) in zip(axes, panels, strict=True):
        z = latents(model, items, subset, seed)
        drawn = "samples" if is_sampled(items, subset) else "means"
        share = neighbour_accuracy(z, member)
        axis.set_title(f"given {given} ({drawn})", fontsize=12)
        axis.set_xlabel(f"class of the {NEIGHBOURS} nearest is right for {100 * share:.0f} %")
        _scatter(axis, embed(z, seed), member, names)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=len(names),
        frameon=False,
        markerscale=3.0,
        handletextpad=0.1,
        columnspacing=1.2,
    )
    return figure


def is_sampled(items: Items, subset: tuple[str, ...]) -> bool:
    """Return whether points are samples of q(z given x_S), nothing continuous being observed."""
    return set(subset) <= {m.name for m in descriptions(items.modalities)}


def latents(
    model: SMVAE, items: Items, subset: tuple[str, ...], seed: int = 0
) -> NDArray[np.float32]:
    """Return (N, Z) posterior means, or samples where `is_sampled`."""
    found = posterior(model, items.inputs, subset)
    z = samples(found, 1, seed)[0] if is_sampled(items, subset) else found.mean
    return z.numpy()


def embed(z: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """Return the two-dimensional t-SNE (N, 2) of latents (N, Z), started from their PCA."""
    perplexity = min(PERPLEXITY, (len(z) - 1) / 3)
    start = "pca" if min(z.shape) >= 2 else "random"
    tsne = TSNE(n_components=2, perplexity=perplexity, init=start, random_state=seed)
    return np.asarray(tsne.fit_transform(z), np.float32)


def neighbour_accuracy(z: NDArray[np.float32], member: NDArray[np.int64]) -> float:
    """Return the share of items whose class is the commonest of their nearest others'.

    Measured in the latent space itself, where distances mean something, not in its picture.
    """
    count = min(NEIGHBOURS, len(z) - 1)
    voters = KNeighborsClassifier(count).fit(z, member)
    others = voters.kneighbors(return_distance=False)  # an item is not its own neighbour
    classes = int(member.max()) + 1
    votes = np.stack([(member[others] == c).sum(axis=1) for c in range(classes)], axis=1)
    return float((votes.argmax(axis=1) == member).mean())


def _scatter(
    axis: Any, points: NDArray[np.float32], member: NDArray[np.int64], names: tuple[str, ...]
) -> None:
    colours = colormaps["tab10" if len(names) <= 10 else "tab20"]
    for c, name in enumerate(names):
        rows = member == c
        axis.scatter(*points[rows].T, s=6, color=colours(c), label=name, linewidths=0)
    axis.set_xticks([])
    axis.set_yticks([])
