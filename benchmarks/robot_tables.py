"""Tables of the robot's data: every subset of modalities, every method.

Standard errors are over trajectories, whose steps are no independent items.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.experiments import Experiment
from benchmarks.markdown import table
from benchmarks.pair_tables import DEFAULT, settings_table
from benchmarks.paired import Results
from smvae_core.modality import VISION_TOUCH, all_subsets, subset_name
from smvae_training.likelihood.summary import mean_and_error, paired_difference

SUBSETS = [subset_name(s) for s in all_subsets(tuple(m.name for m in VISION_TOUCH))]
#: What a robot without cameras still has.
BLIND = "force+action"


def robot_section(experiment: Experiment, results: dict[str, Results]) -> str:
    """Return the tables of one experiment."""
    ordered = [results[m] for m in experiment.methods if m in results]
    return "\n\n".join(
        [
            "log 1/K sum_k p(all four | z_k), z_k ~ q(z | subset), nats per record:",
            predictive_table(ordered),
            verdict(ordered),
            "Squared error of images decoded from the posterior mean, x 1000, normalised units:",
            error_table(ordered),
            settings_table(ordered),
        ]
    )


def predictive_table(ordered: Sequence[Results]) -> str:
    """Return the predictive log likelihood given every subset, and the mean over subsets."""
    rows = []
    for subset in SUBSETS:
        values = [_values(found, f"{subset}/predictive") for found in ordered]
        best = _best(values)
        cells = [_spell(v, _groups(f), best) for v, f in zip(values, ordered, strict=True)]
        rows.append([subset, *cells])
    means = [mean_predictive(found) for found in ordered]
    best = _best(means)
    rows.append(
        ["mean of 15", *(_spell(v, _groups(f), best) for v, f in zip(means, ordered, strict=True))]
    )
    return table(["observed", *(found.method for found in ordered)], rows)


def error_table(ordered: Sequence[Results]) -> str:
    """Return the errors of decoded images given every subset."""
    rows = []
    for subset in SUBSETS:
        for name in (m.name for m in VISION_TOUCH if m.is_image):
            key = f"{subset}/error/{name}"
            cells = [_values(found, key) for found in ordered]
            rows.append(
                [subset, name, *("cannot" if c is None else f"{1e3 * c.mean():.2f}" for c in cells)]
            )
    return table(["observed", "image", *(found.method for found in ordered)], rows)


def mean_predictive(found: Results) -> NDArray[np.float64] | None:
    """Return the mean over all subsets (N,), None where a method cannot encode one."""
    values = [_values(found, f"{subset}/predictive") for subset in SUBSETS]
    known = [v for v in values if v is not None]
    return np.mean(known, axis=0) if len(known) == len(SUBSETS) else None


def verdict(ordered: Sequence[Results]) -> str:
    """Return in how many subsets our default is best, and its differences to every method."""
    by_name = {found.method: found for found in ordered}
    if DEFAULT not in by_name:
        return "Our default has no result yet."
    if len(ordered) == 1:
        return "No other method has a result yet: there is nothing to compare with."
    ours = by_name[DEFAULT]
    won = 0
    for subset in SUBSETS:
        key = f"{subset}/predictive"
        others = [_values(f, key) for f in ordered if f is not ours]
        mine = _values(ours, key)
        assert mine is not None
        won += all(o is None or mine.mean() > o.mean() for o in others)
    lines = [f"`{DEFAULT}` has the best predictive log likelihood in {won} of 15 subsets."]
    mine = mean_predictive(ours)
    for found in ordered:
        theirs = mean_predictive(found)
        if found is ours or theirs is None or mine is None:
            continue
        gap = paired_difference(mine, theirs, _groups(ours))
        lines.append(
            f"- mean of 15, minus {found.method}: {gap['mean']:+.1f} ± {gap['standard_error']:.1f}"
        )
    for name in (m.name for m in VISION_TOUCH if m.is_image):
        key = f"{BLIND}/error/{name}"
        ranked = sorted(
            (float(v.mean()), f.method) for f in ordered if (v := _values(f, key)) is not None
        )
        lines.append(f"- {name} from {BLIND}: best is {ranked[0][1]}")
    return "\n".join(lines)


def _best(values: Sequence[NDArray[np.float64] | None]) -> float | None:
    """Return the best mean of several methods, None where there is nothing to be better than."""
    means = [float(v.mean()) for v in values if v is not None]
    return max(means) if len(means) > 1 else None


def _values(found: Results, key: str) -> NDArray[np.float64] | None:
    """Return per-item values, mean over seeds; None where the method cannot encode the subset."""
    return found.items[key].mean(axis=0) if key in found.items else None


def _groups(found: Results) -> NDArray[np.int64]:
    return found.items["group"][0].astype(np.int64)


def _spell(
    values: NDArray[np.float64] | None, groups: NDArray[np.int64], best: float | None
) -> str:
    if values is None:
        return "cannot"
    found = mean_and_error(values, groups)
    text = f"{found['mean']:.0f} ± {found['standard_error']:.0f}"
    return f"**{text}**" if best is not None and values.mean() == best else text
