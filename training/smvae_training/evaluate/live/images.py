"""Published predicted images against the rendered truth, beside the same error computed offline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import SampleError
from smvae_core.modality import Modality
from smvae_core.preprocessing import prepare
from smvae_core.runtime import Runtime
from smvae_training.audit.reproduce import Checked
from smvae_training.evaluate.live.bag import LiveRun
from smvae_training.evaluate.measures import squared_error
from smvae_training.evaluate.records import in_si


@dataclass(frozen=True, kw_only=True)
class ImageErrors:
    """Mean squared errors of one image modality over the latents of one subset.

    Colour in [0, 1] squared, depth in m squared over the pixels with a return in the truth.
    """

    images: int
    live: float
    """Published image against truth."""
    offline: float
    """`Runtime`'s reconstruction from the recorded inputs against the same truth."""
    mean_image: float
    """Training mean image against the same truth; NaN where it is not known."""
    max_apart_s: float
    """Largest time between a predicted image and its truth."""

    @property
    def live_over_offline(self) -> float:
        return self.live / self.offline if self.offline > 0 else float("nan")

    def to_json(self) -> dict[str, Any]:
        return {k: getattr(self, k) for k in self.__dataclass_fields__} | {
            "live_over_offline": self.live_over_offline,
            "ratio_to_mean_image": self.live / self.mean_image,
        }


def as_network(modality: Modality, image: NDArray[Any]) -> NDArray[np.float32]:
    """Return a raw image as (1, *shape), colour in [0, 1], depth in m.

    Of a prediction, or of another image that is in the network's view, give `modality.uncut`.
    """
    try:
        prepared = prepare(modality, image)
    except SampleError as err:
        if err.reason != "empty":
            raise
        return np.zeros((1, *modality.shape), np.float32)  # no sample, but it may be predicted
    return in_si(modality, prepared)[None]


def image_errors(
    run: LiveRun,
    runtime: Runtime,
    modality: Modality,
    replayed: Sequence[Checked],
    mean_images: Mapping[str, NDArray[np.float32]],
) -> ImageErrors:
    """Score the predicted images of some latents.

    Args:
        run: The recorded run.
        runtime: Of the node's bundle.
        modality: An image.
        replayed: Latents with their offline means.
        mean_images: Modality -> (1, *shape), the training mean; may be empty.
    """
    predicted, truth = run.predicted[modality.name], run.truth[modality.name]
    rows: list[tuple[float, float, float]] = []
    apart_ns = 0
    turns: Counter[int] = Counter()
    for each in replayed:
        published = predicted.at(each.latent.answers_ns, turns[each.latent.answers_ns])
        turns[each.latent.answers_ns] += 1
        if published is None or each.mean is None or not len(truth):
            continue
        near = truth.nearest(each.latent.answers_ns)
        apart_ns = max(apart_ns, abs(int(truth.stamps_ns[near]) - each.latent.answers_ns))
        seen = modality.uncut
        real = as_network(seen, truth.samples[near])
        offline = as_network(seen, runtime.reconstruct(modality.name, each.mean))
        candidates = (as_network(seen, published), offline, mean_images.get(modality.name))
        a, b, c = (
            float("nan") if image is None else float(squared_error(modality, real, image)[0][0])
            for image in candidates
        )
        rows.append((a, b, c))
    mean = np.asarray(rows).mean(axis=0) if rows else np.full(3, np.nan)
    return ImageErrors(
        images=len(rows),
        live=float(mean[0]),
        offline=float(mean[1]),
        mean_image=float(mean[2]),
        max_apart_s=apart_ns * 1e-9,
    )
