"""Calibrate what a model says of its targets, on held-out records.

N records, Z latent, K numbers of a target, R pairs of a record and a subset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smvae_core.estimate_calibration import Curve, EstimateCalibration
from smvae_core.estimates import Decode, Decoded, decode_targets
from smvae_core.modality import all_subsets, subset_name
from smvae_core.model.distributions import Posterior
from smvae_core.model.smvae import SMVAE
from smvae_core.model.targets import EveryTarget
from smvae_core.presence import features, fit_linear
from smvae_core.subsets import FEW_SENSORS
from smvae_core.target import DecodedTarget
from smvae_datasets.dataset import Target
from smvae_training.calibrate.remembering import Recalled
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Records
from smvae_training.steps.subsets import subset_rows

Array = NDArray[np.float64]
#: Records used at most, every k-th, and pairs of a record and a subset of many sensors.
MAX_RECORDS, ROWS = 3000, 6000
#: Share of errors that an interval holds, and its half width in standard deviations.
COVERED, HALF_WIDTH = 0.9, 1.645
#: A subset whose squared error is at least this share of the training mean's tells nothing.
NOTHING_TOLD = 0.95
#: Fewest records that a factor is fitted to.
LEAST_RECORDS = 20
#: Knots of a curve, each fitted to at least so many posteriors.
KNOTS, LEAST_AT_KNOT = 8, 60


def model_decoder(model: SMVAE) -> Decode:
    """Return what decodes a model's targets by torch, as a bundle's graph does."""
    every = EveryTarget(model.targets)

    @torch.inference_mode()
    def decode(z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        mean, log_var = every(torch.from_numpy(z))
        return mean.numpy(), log_var.numpy()

    return decode


def calibrate_estimates(
    predictor: Predictor,
    records: Records,
    data: Mapping[str, Any] | None = None,
    recalled: Iterable[Recalled] = (),
) -> EstimateCalibration:
    """Return the calibration of a model's targets.

    A factor per subset and number up to `FEW_SENSORS`, beyond a function of the presence vector.

    Args:
        predictor: Of the model and these records.
        records: Held out.
        data: What they are, for the file.
        recalled: Posteriors with memory of held-out records, up to `FEW_SENSORS`.
    """
    model, names = predictor.model, predictor.model.names
    fitted = {"records": len(records), "groups": len(np.unique(records.group))} | dict(data or {})
    if len(names) > FEW_SENSORS:
        return EstimateCalibration(
            names=names, any_subset=_of_any_subset(predictor, records), fitted=fitted
        )
    subsets = {}
    for subset in all_subsets(names):
        decoded = decoded_targets(model, predictor.posterior(subset))
        subsets[subset_name(subset)] = {
            t.name: factors(t, decoded[t.name], records.targets[t.name])
            for t in model.config.targets
        }
    remembering = {subset_name(r.subset): _curves(model, r) for r in recalled}
    return EstimateCalibration(subsets=subsets, names=names, remembering=remembering, fitted=fitted)


def _curves(model: SMVAE, recalled: Recalled) -> dict[str, Curve]:
    """Return the factors of every target that is not binary, by its deviation."""
    decoded = decoded_targets(model, recalled.posterior)
    targets = [t for t in model.config.targets if not t.binary]
    found = {t.name: curve(t, decoded[t.name], recalled.targets[t.name]) for t in targets}
    return {name: fitted for name, fitted in found.items() if fitted is not None}


def curve(target: DecodedTarget, decoded: Decoded, truth: Target) -> Curve | None:
    """Return `factors` of the smallest deviations, the next ones, and so on; None if too few.

    A knot is the median deviation of those that it is fitted to.
    """
    rows = np.flatnonzero(truth.known & np.isfinite(decoded.value).all(axis=1))
    count = min(KNOTS, len(rows) // LEAST_AT_KNOT)
    if count == 0:
        return None
    deviation = np.sqrt(np.diagonal(decoded.covariance, axis1=1, axis2=2))
    knots, fitted = np.empty((count, target.size)), np.empty((count, target.size))
    for k in range(target.size):
        for q, part in enumerate(np.array_split(rows[np.argsort(deviation[rows, k])], count)):
            knots[q, k] = np.median(deviation[part, k])
            fitted[q, k] = factors(target, decoded.take(part), truth.take(part))[k]
    return Curve(knots, fitted)


def decoded_targets(model: SMVAE, posterior: Posterior) -> dict[str, Decoded]:
    """Return each target of N posteriors, before calibration; NaN where a posterior is."""
    mean, variance = (part.double().numpy() for part in (posterior.mean, posterior.variance))
    return decode_targets(model.config.targets, model_decoder(model), mean, variance)


def factors(target: DecodedTarget, decoded: Decoded, truth: Target) -> Array:
    """Return the factors (K,) by which errors ask to scale deviations; NaN where nothing is told.

    Of a binary target 1, or NaN where its squared error is no less than that of the share of yes.
    Numbers that never change are told by their mean: they keep the decoded deviation at least.
    """
    rows = truth.known & np.isfinite(decoded.value).all(axis=1)
    if rows.sum() < LEAST_RECORDS:
        return np.full(target.size, np.nan)
    values, predicted = truth.values[rows].astype(np.float64), decoded.value[rows]
    error = np.abs(predicted - values)
    constant = np.square(values - np.array(target.mean)).mean(axis=0)
    mute = np.square(error).mean(axis=0) >= NOTHING_TOLD * constant
    if target.binary:
        return np.where(mute, np.nan, 1.0)
    deviation = np.sqrt(np.diagonal(decoded.covariance[rows], axis1=1, axis2=2))
    found = np.quantile(error / deviation, COVERED, axis=0) / HALF_WIDTH
    still = values.std(axis=0) <= 1e-3 * np.array(target.deviation)
    return np.where(still, np.maximum(found, 1.0), np.where(mute, np.nan, found))


def _of_any_subset(predictor: Predictor, records: Records) -> dict[str, Array]:
    """Return the weights (F, K) of each target's log factor."""
    model, names = predictor.model, predictor.model.names
    recorded = np.stack([records.holding([name]) for name in names], axis=1)
    rows = subset_rows(recorded, names, ROWS, seed=2)
    decoded = decoded_targets(model, predictor.posterior_of_rows(*rows))
    found = {}
    for target in model.config.targets:
        truth = records.targets[target.name].take(rows.record)
        kept = truth.known
        count = features(rows.present[:1]).shape[1]
        weights = np.zeros((count, target.size))
        if not target.binary and kept.sum() >= LEAST_RECORDS:
            spread = np.diagonal(decoded[target.name].covariance[kept], axis1=1, axis2=2)
            error = np.abs(decoded[target.name].value[kept] - truth.values[kept])
            ratio = error / np.sqrt(spread) + 1e-3
            known = features(rows.present[kept])
            weights = fit_linear(known, np.log(ratio), 1.0)
            level = np.quantile(ratio / np.exp(known @ weights), COVERED, axis=0)
            weights[0] += np.log(level / HALF_WIDTH)
        found[target.name] = weights
    return found
