"""How right, and how rightly sure, a method is about labels or attributes it sees only in x.

p(y|x) = mean over z ~ q(z|x) of p(y|z). The paper calls log p(x|y) a measure of classification;
this one is.

K samples, B items of a block, N items, C classes or attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from smvae_core.errors import ConfigError
from smvae_core.modality import Modality, find, subset_name
from smvae_core.model.distributions import likelihood_mean
from smvae_training.evaluate.likelihood.method import CannotEncode, Method
from smvae_training.evaluate.likelihood.mixture import Mixture
from smvae_training.evaluate.likelihood.sampling import Measurement, SamplingConfig, draw, measure
from smvae_training.evaluate.likelihood.summary import mean_and_error
from smvae_training.evaluate.measures import descriptions, is_exclusive

BINS = 15


@dataclass(frozen=True, kw_only=True)
class CalibrationConfig(SamplingConfig):
    """Labels are cheap to decode, so the defaults score every item."""

    samples: int = 100
    """K draws of q(z given x) per item."""


@dataclass(frozen=True, kw_only=True)
class Calibration(Measurement):
    """p(y given x) of one method beside the true y."""

    modality: Modality
    """y."""
    given: tuple[str, ...]
    """x."""
    probability: NDArray[np.float32]
    """(N, C) of each class, or of each attribute being present."""
    truth: NDArray[np.int64]
    """(N,) the class, or (N, C) attributes 0 or 1."""

    def correct(self) -> NDArray[np.bool_]:
        """Return whether the likeliest class (N,), or each attribute (N, C), is the true one."""
        if is_exclusive(self.modality):
            return self.probability.argmax(axis=1) == self.truth
        return (self.probability > 0.5) == (self.truth == 1)

    def log_score(self) -> NDArray[np.float64]:
        """Return log p(y_true given x) (N,) in nats; of attributes, their sum."""
        p = self.probability.astype(np.float64)
        if is_exclusive(self.modality):
            chosen = np.take_along_axis(p, self.truth[:, None], axis=1)
        else:
            chosen = np.where(self.truth == 1, p, 1.0 - p)
        return np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).sum(axis=1)

    def to_json(self) -> dict[str, Any]:
        """Return accuracy, expected calibration error and log score, by attribute as well."""
        correct = self.correct()
        found = self.about() | {
            "y": self.modality.name,
            "x": subset_name(self.given),
            "bins": BINS,
            "accuracy": mean_and_error(correct.reshape(len(correct), -1).mean(axis=1)),
            "calibration_error": calibration_error(self.modality, self.probability, self.truth),
            "log_score": mean_and_error(self.log_score()),
        }
        if not is_exclusive(self.modality):
            found["by_attribute"] = {
                field: {
                    "accuracy": float(correct[:, c].mean()),
                    "calibration_error": calibration_error(
                        self.modality, self.probability[:, c], self.truth[:, c]
                    ),
                }
                for c, field in enumerate(self.modality.fields)
            }
        return found


def calibration_error(
    modality: Modality, probability: NDArray[np.float32], truth: NDArray[np.int64]
) -> float:
    """Return the expected calibration error, 15 equal bins of confidence, in [0, 1].

    Of labels, the likeliest class's probability against how often it is right (Guo et al. 2017);
    of attributes, the probability of presence against how often present, pooled.
    """
    p = torch.from_numpy(np.ascontiguousarray(probability))
    y = torch.from_numpy(np.ascontiguousarray(truth))
    if is_exclusive(modality):
        classes = modality.shape[0]
        return float(multiclass_calibration_error(p, y, classes, n_bins=BINS, norm="l1"))
    return float(binary_calibration_error(p.flatten(), y.flatten(), n_bins=BINS, norm="l1"))


def calibrate(
    method: Method,
    inputs: Mapping[str, Tensor],
    config: SamplingConfig | None = None,
    *,
    target: str | None = None,
    given: Sequence[str] | None = None,
    device: torch.device | str = "cpu",
) -> Calibration:
    """Predict y of every item from x.

    Args:
        method: On `device`, in evaluation mode.
        inputs: Network inputs (N, *shape) by name, all modalities of every item, on any device.
        config: Samples, items, seed, memory.
        target: y, a label or attributes; the second modality by default.
        given: x; the first modality by default.
        device: Where the method computes.

    Raises:
        ConfigError: If y is neither a label nor attributes, or the inputs are incomplete.
        CannotEncode: If the method has no posterior given x.
    """
    config = config or CalibrationConfig()
    modality = find(method.modalities, target or method.names[1])
    name, subset = modality.name, tuple(given or method.names[:1])
    if not descriptions([modality]):
        raise ConfigError(f"calibration needs a label or attributes, '{name}' is {modality.kind}")

    def score(
        _: tuple[str, ...], q: Mixture, __: dict[str, Tensor], items: NDArray[np.int64]
    ) -> dict[str, Tensor]:
        z, log_share = draw(q, items, config)
        output = method.decode(z.reshape(-1, z.shape[-1]), [name])[name]
        p = likelihood_mean(modality, output).reshape(*z.shape[:2], -1).double()
        return {"p": (log_share.exp()[..., None] * p).sum(0)}

    about, found = measure(method, inputs, config, [subset], device, score)
    if about["refused"]:
        raise CannotEncode(method.name, subset)
    truth = inputs[name][torch.from_numpy(about["index"])].cpu()
    return Calibration(
        modality=modality,
        given=subset,
        probability=found[subset]["p"].astype(np.float32),
        truth=(truth.argmax(1) if is_exclusive(modality) else truth.round().long()).numpy(),
        **about,
    )
