"""What another precision costs: held-out errors and posteriors beside float32, over all subsets."""

from __future__ import annotations

from typing import Any

import numpy as np

from smvae_core.bundle import Bundle
from smvae_core.modality import subset_name
from smvae_core.runtime import Runtime
from smvae_core.subsets import evaluated_subsets
from smvae_datasets.dataset import Dataset, holding
from smvae_training.evaluate.likelihood.summary import standard_error
from smvae_training.run import Run

RECORDS = 100


def compare(run: Run, data: Dataset, exact: Bundle, other: Bundle) -> dict[str, Any]:
    """Return by subset how far posteriors are, and by which factor errors grow, with its error.

    `shift` is the root mean square of (mean - exact mean) / exact standard deviation over records
    and latent dimensions. `error` is, by modality, the ratio of the sums of squared errors of what
    is decoded on held-out records, in normalised units, and its standard error by the jackknife.
    """
    names = exact.manifest.names
    held = holding(data, run.split(data).held_out, names)
    rows = held[np.linspace(0, len(held) - 1, min(RECORDS, len(held))).astype(np.int64)]
    runtimes = Runtime(exact), Runtime(other)
    subsets = evaluated_subsets(names)
    shifts = np.zeros((len(subsets), len(rows)))
    squared = np.zeros((2, len(subsets), len(names), len(rows)))
    for column, row in enumerate(rows):
        samples = {name: data.arrays[name][row] for name in names}
        for runtime in runtimes:
            for name, sample in samples.items():
                runtime.observe(name, sample, prepared=True)
        inputs = {n: runtimes[0].network_input(n, x, prepared=True) for n, x in samples.items()}
        for number, subset in enumerate(subsets):
            first, second = (runtime.posterior(subset) for runtime in runtimes)
            moved = (second.mean - first.mean) ** 2 / first.variance
            shifts[number, column] = moved.mean()
            for which, (runtime, found) in enumerate(zip(runtimes, (first, second), strict=True)):
                for place, name in enumerate(names):
                    error = runtime.decode(name, found.mean) - inputs[name]
                    squared[which, number, place, column] = float((error**2).sum())
    return {
        subset_name(subset): {
            "shift": float(np.sqrt(shifts[number].mean())),
            "error": {
                name: _ratio(squared[1, number, place], squared[0, number, place])
                for place, name in enumerate(names)
            },
        }
        for number, subset in enumerate(subsets)
    } | {"records": len(rows)}


def _ratio(values: np.ndarray[Any, Any], others: np.ndarray[Any, Any]) -> list[float]:
    """Return sum(values) / sum(others) and its standard error, paired by record."""
    ratio = float(values.sum() / others.sum())
    residual = (values - ratio * others) / others.mean()
    return [ratio, standard_error(residual)]
