"""Cross-generation, as the paper's Figures 3 to 6: what a model draws of what it did not see.

Images are means of p(image given z), not samples of their pixels. N items, K samples, Z latent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.modality import subset_name
from smvae_core.model.distributions import Posterior
from smvae_core.model.smvae import SMVAE
from smvae_training.evaluate.images.grids import Array, draw_mosaic, grid_figure, rgb
from smvae_training.evaluate.images.items import Items, field_names
from smvae_training.evaluate.measures import images, is_exclusive
from smvae_training.evaluate.report.draw import new_figure

CHUNK = 128
#: Rows of samples in a grid, and images per row.
ROWS, COLUMNS = 8, 10
PRIOR_ROWS = 4
#: Held-out images of a translation picture.
SCENES = 3
#: Attributes of the paper's Figure 5; others follow where there are rows left.
PAPERS_ATTRIBUTES = ("Black_Hair", "Male", "Smiling")


@torch.inference_mode()
def posterior(model: SMVAE, inputs: Mapping[str, Tensor], subset: Sequence[str]) -> Posterior:
    """Return q(z given x_S) of every item."""
    present = torch.tensor([[name in subset for name in model.names]])
    parts = []
    for start in range(0, len(inputs[subset[0]]), CHUNK):
        chosen = {name: inputs[name][start : start + CHUNK] for name in subset}
        size = len(chosen[subset[0]])
        parts.append(model.encode(chosen, present.expand(size, -1)))
    shears = [p.shear for p in parts if p.shear is not None]
    return Posterior(
        torch.cat([p.mean for p in parts]),
        torch.cat([p.log_var for p in parts]),
        torch.cat(shears) if shears else None,
    )


@torch.inference_mode()
def reconstruct(model: SMVAE, name: str, z: Tensor) -> Tensor:
    """Return means (N, *shape) of p(x_m given z)."""
    return torch.cat([model.reconstruct(part, [name])[name] for part in z.split(CHUNK)])


def samples(found: Posterior, count: int, seed: int) -> Tensor:
    """Return (K, N, Z) draws of a posterior."""
    draws = torch.Generator().manual_seed(seed)
    return torch.stack([found.rsample(draws) for _ in range(count)])


def label_to_image(model: SMVAE, count: int = ROWS, seed: int = 0) -> Figure:
    """Draw `count` images from each class, one column per class; above them that of the mean."""
    image, label = model.config.modalities
    classes = {label.name: torch.eye(label.shape[0])}
    found = posterior(model, classes, (label.name,))
    z = torch.cat([found.mean[None], samples(found, count, seed)])
    drawn = rgb(reconstruct(model, image.name, z.flatten(0, 1))).reshape(
        *z.shape[:2], *image.shape[1:], 3
    )
    return grid_figure(
        drawn,
        title=f"{image.name}s drawn from the {label.name} alone",
        row_titles=["mean", *[f"sample {k + 1}" for k in range(count)]],
        column_titles=field_names(label),
    )


def attributes_to_image(model: SMVAE, items: Items, count: int = ROWS, seed: int = 0) -> Figure:
    """Draw a row per attribute: one sample from the attributes of each held-out item that has it.

    The paper's three come first, then the others that occur, `count` rows in all.
    """
    image, attributes = model.config.modalities
    values = items.inputs[attributes.name]
    fields = field_names(attributes)
    order = sorted(range(len(fields)), key=lambda c: fields[c] not in PAPERS_ATTRIBUTES)
    rows: list[Array] = []
    titles = []
    for c in order:
        having = (values[:, c] > 0.5).nonzero().squeeze(1)[:COLUMNS]
        if len(having) == 0 or len(rows) == count:
            continue
        row = having[torch.arange(COLUMNS) % len(having)]
        found = posterior(model, {attributes.name: values[row]}, (attributes.name,))
        rows.append(rgb(reconstruct(model, image.name, samples(found, 1, seed + c)[0])))
        titles.append(fields[c].replace("_", " "))
    title = f"{image.name}s drawn from the {attributes.name} of held-out items that have ..."
    return grid_figure(np.stack(rows), title=title, row_titles=titles)


def reconstructions(model: SMVAE, items: Items) -> Figure:
    """Draw held-out images, and what is decoded from the image, the label, and both."""
    image, label = model.config.modalities
    subsets = ((image.name,), (label.name,), (image.name, label.name))
    rows = [rgb(items.inputs[image.name])]
    for subset in subsets:
        mean = posterior(model, items.inputs, subset).mean
        rows.append(rgb(reconstruct(model, image.name, mean)))
    return grid_figure(
        np.stack(rows),
        title=f"held-out {image.name}s and what is decoded from posterior means",
        row_titles=["recorded", *(f"from {' + '.join(s)}" for s in subsets)],
        column_titles=_classes_of(items) if is_exclusive(label) else (),
    )


def _classes_of(items: Items) -> list[str]:
    member, names = items.classes()
    return [names[c] for c in member]


@torch.inference_mode()
def probabilities(
    model: SMVAE, items: Items, count: int = 100, seed: int = 0
) -> NDArray[np.float32]:
    """Return p(label given image) (N, C), the mean over `count` draws of q(z given image)."""
    image, label = model.config.modalities
    z = samples(posterior(model, items.inputs, (image.name,)), count, seed)
    p = reconstruct(model, label.name, z.flatten(0, 1))
    return p.reshape(count, len(items), -1).mean(0).numpy()


def label_probabilities(model: SMVAE, items: Items, seed: int = 0) -> Figure:
    """Draw held-out images over the probability of every class; the true ones are green."""
    image, label = model.config.modalities
    p, truth = probabilities(model, items, seed=seed), items.inputs[label.name].numpy() > 0.5
    fields = [f.replace("_", " ") for f in field_names(label)]
    height = 0.16 * len(fields)
    figure, axes = new_figure(
        2,
        len(items),
        size=(1.05 * len(items), 1.0 + height),
        height_ratios=(1.0, height),
        gridspec_kw={"hspace": 0.06, "wspace": 0.12},
    )
    pictures = rgb(items.inputs[image.name])
    places = np.arange(len(fields))
    for column, (above, below) in enumerate(axes.T):
        above.imshow(pictures[column], interpolation="nearest")
        above.set_axis_off()
        colours = np.where(truth[column], "tab:green", "tab:gray")
        below.barh(places, p[column], color=colours, height=0.8)
        below.set(xlim=(0, 1), ylim=(len(fields) - 0.4, -0.6), xticks=[], yticks=[])
        below.tick_params(labelsize=7, length=2)
        below.spines[["top", "right"]].set_visible(False)
    axes[1][0].set_yticks(places, fields, fontsize=7)
    axes[1][0].set_xticks([0, 1])
    axes[1][0].tick_params(axis="y", length=0)
    what = "class" if is_exclusive(label) else "attribute"
    figure.suptitle(
        f"probability of each {what} from the {image.name} alone (true: green)",
        fontsize=10,
        y=0.9 + 0.1 / (1.0 + height),
        va="bottom",
    )
    return figure


def prior_samples(model: SMVAE, rows: int = PRIOR_ROWS, seed: int = 0) -> Figure:
    """Draw image and label of latents from the prior; under each image its likeliest name."""
    image, label = model.config.modalities
    draws = torch.Generator().manual_seed(seed)
    z = torch.randn(rows * COLUMNS, model.config.latent_dim, generator=draws)
    pictures = rgb(reconstruct(model, image.name, z)).reshape(rows, COLUMNS, *image.shape[1:], 3)
    p = reconstruct(model, label.name, z).numpy()
    names = [_likeliest(row, field_names(label), is_exclusive(label)) for row in p]
    return grid_figure(
        pictures,
        title=f"drawn from the prior: {image.name} and, under it, {label.name}",
        cell_titles=[names[r * COLUMNS : (r + 1) * COLUMNS] for r in range(rows)],
    )


def _likeliest(p: NDArray[np.float32], fields: Sequence[str], exclusive: bool) -> str:
    """Return the likeliest class over its probability, or the two likeliest attributes."""
    best, second = np.argsort(-p)[:2]
    name = fields[best].replace("_", " ")
    below = f"{100 * p[best]:.0f} %" if exclusive else fields[second].replace("_", " ")
    return f"{name}\n{below}"


def translations(model: SMVAE, items: Items, count: int = SCENES) -> Figure:
    """Draw, for each held-out item, every modality (columns) from every modality alone and all.

    Args:
        model: Of more than two modalities; those that are no images are observed, not drawn.
        items: Of which the first `count` are drawn.
        count: Items side by side.
    """
    few = items.first(count)
    shown = images(model.config.modalities)
    subsets = [(name,) for name in model.names] + [model.names]
    side = shown[0].shape[-1]
    rows = [[few.inputs[m.name] for m in shown]]
    for subset in subsets:
        mean = posterior(model, few.inputs, subset).mean
        rows.append([reconstruct(model, m.name, mean) for m in shown])
    scenes = np.stack([np.stack([rgb(x) for x in row], axis=1) for row in rows], axis=1)
    width = 0.55 * side / 64 * len(shown)
    size = (width * len(few), 0.55 * side / 64 * (len(subsets) + 1))
    figure, (axes,) = new_figure(1, len(few), size=size)
    whole = [s if len(s) == 1 else ("all",) for s in subsets]
    titles = ["recorded", *(f"from {subset_name(s)}" for s in whole)]
    for item, axis in enumerate(axes):
        names = [m.name for m in shown]
        draw_mosaic(axis, scenes[item], titles if item == 0 else (), names, slanted=True)
    figure.subplots_adjust(wspace=0.06)
    return figure
