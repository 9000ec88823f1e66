"""Which figures each kind of run has; the report embeds them, `smvae figures` writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from smvae_core.errors import ConfigError, did_you_mean
from smvae_core.modality import Modality
from smvae_core.model.smvae import SMVAE
from smvae_datasets.dataset import Dataset
from smvae_training.evaluate.images import generation
from smvae_training.evaluate.images.items import Items, read_items
from smvae_training.evaluate.images.settings import ImageEvaluateConfig
from smvae_training.evaluate.images.tsne import tsne_figure
from smvae_training.evaluate.measures import blind, is_described_image, is_exclusive
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Records, spread
from smvae_training.evaluate.report.figures import MOMENTS, choose_moments, figure_7
from smvae_training.run import Run, RunError

#: Families of figures, as `smvae figures --only` names them.
FIGURES = ("tsne", "generation", "figure7")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One figure, drawn when it is asked for."""

    name: str
    """Name of its file."""
    family: str
    """One of FIGURES."""
    caption: str
    draw: Callable[[], Figure]


def pictures(
    run: Run,
    records: Dataset,
    *,
    count: int | None = None,
    points: int | None = None,
    seed: int = 0,
) -> list[Picture]:
    """Return the figures of a run, not drawn yet.

    Args:
        run: Of any kind.
        records: What it was trained on.
        count: Samples, held-out images or moments of a grid; None for each figure's own number.
        points: Points of a t-SNE; None for the default.
        seed: Of samples and of t-SNE.

    Raises:
        RunError: If these are other data.
    """
    held_out = run.split(records).held_out
    if run.config.data.source == "episodes":
        return [_figure_7(run, records, held_out, count or MOMENTS)]
    modalities = run.model_config.modalities
    limit = points or ImageEvaluateConfig().tsne_items
    items = read_items(modalities, run.statistics, records, spread(held_out, limit))
    if is_described_image(modalities):
        return _of_described_images(run.model, modalities, items, count, seed)
    return [_translations(run.model, items, count or generation.SCENES)]


def _translations(model: SMVAE, items: Items, scenes: int) -> Picture:
    """Return the one figure of modalities that are drawn from each other."""
    return Picture(
        name="translations",
        family="generation",
        caption="As Figure 6 of the paper: columns are what is drawn, rows what was observed. "
        f"{min(scenes, len(items))} held-out items, evenly spaced; decoded posterior means.",
        draw=lambda: generation.translations(model, items, scenes),
    )


def _of_described_images(
    model: SMVAE, modalities: tuple[Modality, ...], items: Items, count: int | None, seed: int
) -> list[Picture]:
    """Return the figures of images with a label or attributes."""
    image, label = (m.name for m in modalities)
    chosen = items.one_of_each_class(count or generation.COLUMNS)
    rows = count or generation.ROWS
    is_label = is_exclusive(modalities[1])
    first = "the first of each class among " if is_label else ""
    shown = f"Not chosen: {first}evenly spaced held-out items. Decoded posterior means."
    return [
        Picture(
            name="tsne",
            family="tsne",
            caption=f"As Figure 2 of the paper: t-SNE of {len(items)} held-out latents, each panel "
            f"on its own. Given the {label} alone, items of one class share one posterior; the "
            "points are then samples of it, one per item, elsewhere they are posterior means. "
            "Below: how often the 10 nearest latents (before t-SNE) tell the class.",
            draw=lambda: tsne_figure(model, items, seed),
        ),
        Picture(
            name=f"{label}_to_image",
            family="generation",
            caption=f"As Figures 3 to 5 of the paper: each {image} decoded from a sample of "
            f"q(z given {label})" + (", the first row from its mean." if is_label else "."),
            draw=lambda: (
                generation.label_to_image(model, rows, seed)
                if is_label
                else generation.attributes_to_image(model, items, rows, seed)
            ),
        ),
        Picture(
            name="reconstruction",
            family="generation",
            caption=shown,
            draw=lambda: generation.reconstructions(model, chosen),
        ),
        Picture(
            name=f"{label}_probabilities",
            family="generation",
            caption=f"The same items: p({label} given {image}), the mean over 100 samples of "
            f"q(z given {image}).",
            draw=lambda: generation.label_probabilities(model, chosen, seed),
        ),
        Picture(
            name="prior",
            family="generation",
            caption=f"Samples z of the prior N(0, I), {image} and {label} decoded from the same z.",
            draw=lambda: generation.prior_samples(model, count or generation.PRIOR_ROWS, seed),
        ),
    ]


def check_names(run: Run, only: Sequence[str]) -> None:
    """Check names of FIGURES before anything is loaded.

    Raises:
        ConfigError: If there is no figure of a name.
        RunError: If this kind of run does not have it.
    """
    source = run.config.data.source
    have: tuple[str, ...] = ("figure7",)
    if source != "episodes":
        described = is_described_image(run.model_config.modalities)
        have = ("tsne", "generation") if described else ("generation",)
    for name in only:
        if name not in FIGURES:
            hint = did_you_mean(name, FIGURES)
            raise ConfigError(f"unknown figure '{name}': have {', '.join(FIGURES)}.{hint}")
        if name not in have:
            found = " and ".join(have)
            raise RunError(run.path, f"a run on {source} has no '{name}', it has {found}")


def _figure_7(run: Run, episodes: Dataset, held_out: np.ndarray, count: int) -> Picture:
    modalities, names = run.model_config.modalities, run.model.names
    index = choose_moments(episodes, held_out, count)
    without = blind(modalities)

    def draw() -> Figure:
        predictor = Predictor(run.model, run.statistics, Records.of(episodes, index, len(index)))
        subsets = [s for s in (without, names) if s]
        return figure_7(predictor, episodes, index, modalities, subsets)

    return Picture(
        name="figure7",
        family="figure7",
        caption=f"As Figure 7 of the paper: {len(index)} moments of the first held-out trajectory.",
        draw=draw,
    )
