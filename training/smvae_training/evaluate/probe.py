"""Linear probes: what the latent mean says of a data set's targets.

Ridge regression of what is continuous, logistic regression of what is binary, trained on training
records, scored on held-out ones. N records, Z latent, K numbers of a target.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from smvae_core.readout import LinearMap
from smvae_datasets.dataset import Target
from smvae_training.evaluate.records import Array

Map = NDArray[np.float64]

#: Units that are shown smaller than SI: name and factor.
SHOWN = {"m": ("mm", 1e3)}


class NoProbe(ValueError):
    """A target cannot be fitted; says why."""


def probe(
    train_z: Array,
    train: Mapping[str, Target],
    test_z: Array,
    test: Mapping[str, Target],
) -> tuple[dict[str, dict[str, Any]], dict[str, Map]]:
    """Return the scores of every target, and predictions (N, K) of those that can be fitted.

    A probe without labels says in its scores why there are none. Rows of a latent that are NaN, and
    records that do not tell a target, count nowhere.
    """
    scores: dict[str, dict[str, Any]] = {}
    predictions: dict[str, Map] = {}
    for name, target in train.items():
        try:
            predicted = predict(test_z, *fit(name, target, train_z))
            found = score(name, test[name], predicted, test_z)
        except NoProbe as err:
            scores[name] = {"missing": str(err)}
            continue
        scores[name] = found | {"train_records": int(usable(target, train_z).sum())}
        predictions[name] = predicted
    return scores, predictions


def usable(target: Target, z: Array) -> NDArray[np.bool_]:
    """Return which records (N,) have a latent and tell the target."""
    return np.asarray(target.known & np.isfinite(z).all(axis=1))


def fit(name: str, target: Target, z: Array) -> tuple[Map, Map]:
    """Return weights (K, Z) and bias (K,): of the target in its unit, of log odds if it is binary.

    Raises:
        NoProbe: If too few records tell it, or a binary one is the same in all of them.
    """
    rows = usable(target, z)
    x, y = z[rows], target.values[rows]
    if len(x) < 2:
        raise NoProbe(f"fewer than two training records tell '{name}'")
    if not target.binary:
        return _linear(make_pipeline(StandardScaler(), Ridge(alpha=1.0)).fit(x, y))
    if (y == y[:1]).all(axis=0).any():
        raise NoProbe(f"'{name}' is the same in all training records")
    models = [
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(x, column > 0)
        for column in y.T
    ]
    parts = [_linear(model) for model in models]
    return np.concatenate([w for w, _ in parts]), np.concatenate([b for _, b in parts])


def scored(name: str, target: Target, linear: LinearMap, z: Array) -> dict[str, Any]:
    """Return the scores of a map that is already fitted; why there are none instead."""
    try:
        return score(name, target, predict(z, linear.weights, linear.bias), z)
    except NoProbe as err:
        return {"missing": str(err)}


def _linear(model: Any) -> tuple[Map, Map]:
    """Return standardising and a linear model in one."""
    scaler, linear = model[0], model[-1]
    weights = np.asarray(np.atleast_2d(linear.coef_) / scaler.scale_, np.float64)
    return weights, np.atleast_1d(linear.intercept_) - weights @ scaler.mean_


def predict(z: Array, weights: Map, bias: Map) -> Map:
    """Return the map of latents (N, Z): (N, K) in the target's unit, or log odds."""
    return np.asarray(z @ weights.T + bias)


def score(name: str, target: Target, predicted: Map, z: Array) -> dict[str, Any]:
    """Return the scores of predictions (N, K) over the records that tell the target.

    Continuous: RMSE and R2 of each number, and `spread`, the standard deviation of the held-out
    values, which is what a constant would score. Binary: F1, accuracy, and F1 of a constant yes;
    of several numbers their means.

    Raises:
        NoProbe: If too few records tell it.
    """
    rows = usable(target, z)
    if rows.sum() < 2:
        raise NoProbe(f"fewer than two held-out records tell '{name}'")
    truth, predicted = target.values[rows], predicted[rows]
    count = {"records": int(rows.sum())}
    if target.binary:
        right, yes = truth > 0, predicted > 0

        def f1(answers: NDArray[np.bool_]) -> float:
            pairs = zip(right.T, answers.T, strict=True)
            return float(np.mean([f1_score(*pair, zero_division=0.0) for pair in pairs]))

        return {
            "f1": f1(yes),
            "accuracy": float((yes == right).mean()),
            "f1_always": f1(np.ones_like(right)),
            f"{name}_share": float(right.mean()),
        } | count
    unit, factor = SHOWN.get(target.unit, (target.unit.replace(" ", ""), 1.0))
    numbers = {
        f"rmse_{unit}": factor * np.sqrt(np.square(predicted - truth).mean(axis=0)),
        "r2": r2_score(truth, predicted, multioutput="raw_values"),
        f"spread_{unit}": factor * truth.std(axis=0),
    }
    return {
        key: dict(zip(target.names, map(float, values), strict=True))
        for key, values in numbers.items()
    } | count
