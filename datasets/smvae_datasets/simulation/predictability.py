"""How much force and action tell about where the peg is: a quick check of a folder of episodes.

If a small regression from (action, force) to the peg's place fails on held-out episodes, no network
will draw images from force and action. Ridge regression on random Fourier features (Rahimi & Recht
2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smvae_datasets.vision_touch.files import read_attributes, read_file

NUM_FEATURES = 400
RIDGE = 1e-3


def position_r2(episodes: Sequence[Sequence[Path]], seed: int = 0) -> dict[str, float]:
    """R^2 of the peg tip relative to the hole, on the last quarter of the episodes.

    Args:
        episodes: The files of each episode; at least 4 episodes.
        seed: Of the random features.

    Returns:
        R^2 over x, y and z together, against the mean over the training episodes, for "free" and
        "contact" steps (in contact: half of the last 32 readings are); NaN where there are none.
    """
    inputs, targets, touching, owner = [], [], [], []
    for index, files in enumerate(episodes):
        for path in files:
            arrays = read_file(path, ["action", "ee_forces_continuous", "ee_pos", "contact"])
            force = arrays["ee_forces_continuous"][:, -32:]
            inputs.append(np.concatenate([arrays["action"], force.mean(1), force.std(1)], axis=1))
            targets.append(arrays["ee_pos"] - np.asarray(read_attributes(path)["hole_pose"])[:3])
            touching.append(arrays["contact"][:, -32:].mean(1) >= 0.5)
            owner.append(np.full(len(force), index))
    x, y = np.concatenate(inputs).astype(np.float64), np.concatenate(targets)
    contact, held_out = np.concatenate(touching), np.concatenate(owner) >= 0.75 * len(episodes)
    x = np.clip((x - x[~held_out].mean(0)) / (x[~held_out].std(0) + 1e-9), -5, 5)
    features = _fourier_features(x, np.random.default_rng(seed))
    mean = y[~held_out].mean(0)
    train = features[~held_out]
    gram = train.T @ train + RIDGE * len(train) * np.eye(train.shape[1])
    weights = np.linalg.solve(gram, train.T @ (y[~held_out] - mean))
    error = ((y - mean - features @ weights) ** 2).sum(1)
    total = ((y - mean) ** 2).sum(1)
    result = {}
    for name, steps in (("free", held_out & ~contact), ("contact", held_out & contact)):
        result[name] = (
            float(1 - error[steps].sum() / total[steps].sum()) if steps.any() else float("nan")
        )
    return result


def _fourier_features(x: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    directions = rng.normal(0.0, 0.35, (x.shape[1], NUM_FEATURES))
    phases = rng.uniform(0.0, 2 * np.pi, NUM_FEATURES)
    return np.concatenate([x, np.cos(x @ directions + phases), np.ones((len(x), 1))], axis=1)
