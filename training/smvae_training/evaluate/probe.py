"""Linear probes: what the latent mean says of the peg's offset from the hole, and of contact.

N records, Z latent. Trained on training trajectories, scored on held-out ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, r2_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from smvae_training.evaluate.records import Array, Records

AXES = ("x", "y", "z")


def probe(train_z: Array, train: Records, test_z: Array, test: Records) -> dict[str, Any]:
    """Return both probes' scores; a probe without labels says why instead."""
    return {
        "offset": probe_offset(train_z, train.offset_m, test_z, test.offset_m),
        "contact": probe_contact(train_z, train.contact, test_z, test.contact),
    }


def fit_offset(z: Array, offset_m: Array) -> Pipeline:
    """Return the ridge regression of offsets in mm on latent means (N, Z)."""
    return make_pipeline(StandardScaler(), Ridge(alpha=1.0)).fit(z, 1e3 * offset_m)


def fit_contact(z: Array, contact: NDArray[np.bool_]) -> Pipeline:
    """Return the logistic regression of contact on latent means (N, Z)."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(z, contact)


def probe_offset(train_z: Array, train_m: Array, test_z: Array, test_m: Array) -> dict[str, Any]:
    """Return RMSE in mm and R2 per axis of a ridge regression of the peg-to-hole offset.

    `spread_mm` is the standard deviation of the held-out offsets: what a constant would score.
    """
    known, asked = np.isfinite(train_m).all(axis=1), np.isfinite(test_m).all(axis=1)
    if known.sum() < 2 or asked.sum() < 2:
        return {"missing": "the episodes do not say where the hole is (no hole_pose attribute)"}
    model = fit_offset(train_z[known], train_m[known])
    truth, predicted = 1e3 * test_m[asked], model.predict(test_z[asked])
    rmse = np.sqrt(np.square(predicted - truth).mean(axis=0))
    r2 = r2_score(truth, predicted, multioutput="raw_values")
    return {
        "rmse_mm": dict(zip(AXES, map(float, rmse), strict=True)),
        "r2": dict(zip(AXES, map(float, r2), strict=True)),
        "spread_mm": dict(zip(AXES, map(float, truth.std(axis=0)), strict=True)),
        "train_records": int(known.sum()),
        "records": int(asked.sum()),
    }


def probe_contact(
    train_z: Array, train: NDArray[np.bool_], test_z: Array, test: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return F1 and accuracy of a logistic regression of contact; `f1_always` of a constant yes."""
    if train.all() or not train.any():
        return {"missing": "the training records are all in contact or all free"}
    predicted = fit_contact(train_z, train).predict(test_z)
    return {
        "f1": float(f1_score(test, predicted, zero_division=0.0)),
        "accuracy": float((predicted == test).mean()),
        "f1_always": float(f1_score(test, np.ones_like(test), zero_division=0.0)),
        "contact_share": float(test.mean()),
        "train_records": len(train),
        "records": len(test),
    }
