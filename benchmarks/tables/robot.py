"""Tables of the robot's data: every subset of modalities, every method.

Standard errors are over trajectories, whose steps are no independent items.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchmarks.paper.experiments import Experiment
from benchmarks.paper.variants import METHODS
from benchmarks.tables.markdown import spell, table
from benchmarks.tables.paired import Estimate, Results, paired_name, paired_values
from benchmarks.tables.pairs import DEFAULT, label, mean_of_seeds, settings_table
from smvae_core.modality import all_subsets, subset_name
from smvae_core.presets import VISION_TOUCH
from smvae_training.evaluate.likelihood.summary import mean_and_error, standard_error

SUBSETS = [subset_name(s) for s in all_subsets(tuple(m.name for m in VISION_TOUCH))]
IMAGES = [m.name for m in VISION_TOUCH if m.is_image]
#: What a robot without cameras still has.
BLIND = "force+action"


def robot_section(experiment: Experiment, results: dict[str, Results]) -> str:
    """Return the tables of one experiment."""
    ordered = in_order(experiment, results)
    return "\n\n".join(
        [
            "log 1/K sum_k p(all four | z_k), z_k ~ q(z | subset), nats per record:",
            predictive_table(ordered),
            *_comparison(ordered),
            "Squared error of images decoded from the posterior mean, x 1000, normalised units:",
            f"![Those errors, by subset and method]({picture(experiment)})",
            error_table(ordered),
            posterior_table(ordered),
            settings_table(ordered),
        ]
    )


def _comparison(ordered: Sequence[Results]) -> list[str]:
    """Return how our default stands to the others, or why that cannot be said yet."""
    ours = next((found for found in ordered if found.method == DEFAULT), None)
    others = [found for found in ordered if found is not ours]
    if ours is None:
        return ["Our default has no result yet."]
    if not others:
        return ["No other method has a result yet: there is nothing to compare with."]
    heading = f"`{DEFAULT}` minus each, paired by seed and step (± over trajectories / over seeds):"
    return [heading, gap_table(ours, others), verdict(ours, others)]


def in_order(experiment: Experiment, results: dict[str, Results]) -> list[Results]:
    """Return the results that there are, in the experiment's order of methods."""
    return [results[m] for m in experiment.methods if m in results]


def picture(experiment: Experiment) -> str:
    """Return the file beside RESULTS.md that `robot_figure` draws."""
    return f"{experiment.name}.png"


def predictive_table(ordered: Sequence[Results]) -> str:
    """Return the predictive log likelihood given every subset, and the mean over subsets."""
    rows = []
    for subset in (*SUBSETS, "mean of 15"):
        values = [
            _values(found, f"{subset}/predictive") if subset in SUBSETS else mean_predictive(found)
            for found in ordered
        ]
        best = _best(values)
        pairs = zip(values, ordered, strict=True)
        rows.append([subset, *(_spell(v, _groups(f), best) for v, f in pairs)])
    return table(["observed", *map(label, ordered)], rows)


def error_table(ordered: Sequence[Results]) -> str:
    """Return the errors of decoded images given every subset."""
    rows = []
    for subset, name in product(SUBSETS, IMAGES):
        errors = [image_error(found, subset, name) for found in ordered]
        rows.append([subset, name, *("cannot" if e is None else f"{1e3 * e:.2f}" for e in errors)])
    return table(["observed", "image", *map(label, ordered)], rows)


def image_error(found: Results, subset: str, name: str) -> float | None:
    """Return the mean squared error of a decoded image, None where the subset has no posterior."""
    values = _values(found, f"{subset}/error/{name}")
    return None if values is None else float(values.mean())


def mean_predictive(found: Results) -> NDArray[np.float64] | None:
    """Return the mean over all subsets (N,), None where a method cannot encode one."""
    values = [_values(found, f"{subset}/predictive") for subset in SUBSETS]
    known = [v for v in values if v is not None]
    return np.mean(known, axis=0) if len(known) == len(SUBSETS) else None


def gap_table(ours: Results, others: Sequence[Results]) -> str:
    """Return our default minus every other method, given every subset and in the mean of all."""
    rows = [[s, *(_spell_gap(ours, f, [s]) for f in others)] for s in SUBSETS]
    rows.append(["mean of 15", *(_spell_gap(ours, f, SUBSETS) for f in others)])
    return table(["observed", *(f"minus {paired_name(ours, f)}" for f in others)], rows)


def verdict(ours: Results, others: Sequence[Results]) -> str:
    """Return in how many subsets our default is best, and who is better in the rest."""
    peers = [found for found in others if METHODS[found.method].peer]
    lines = [_best_in(ours, peers, "the peers"), _best_in(ours, others, "all methods listed")]
    lines += [_least_error(ours, others, name) for name in IMAGES]
    return "\n".join(lines)


def _best_in(ours: Results, others: Sequence[Results], among: str) -> str:
    """Return in how many subsets ours predicts best among some, and who is better in the rest."""
    lost = []
    for subset in SUBSETS:
        gaps = {f.method: gap for f in others if (gap := _gap(ours, f, [subset])) is not None}
        best = min(
            gaps, key=lambda method: np.nan_to_num(gaps[method].mean, nan=-np.inf), default=None
        )
        if best is not None and not gaps[best].mean >= 0:
            lost.append(f"{subset} ({best}, {spell(gaps[best], sign=True, digits=0)})")
    behind = f"; LOSES {', '.join(lost)}" if lost else ""
    return (
        f"- among {among}, `{ours.method}` has the best predictive log likelihood in "
        f"{len(SUBSETS) - len(lost)} of {len(SUBSETS)} subsets{behind}"
    )


def _least_error(ours: Results, others: Sequence[Results], image: str) -> str:
    """Return how our default's error of an image without cameras stands to the best other one's."""
    key = f"{BLIND}/error/{image}"
    gaps = {f.method: 1e3 * paired_values(ours, f, key) for f in others if key in f.items}
    if not gaps:
        return f"- {image} from {BLIND}: no other method can"
    best = max(gaps, key=lambda method: np.nan_to_num(gaps[method].mean(), nan=np.inf))
    by_seed = gaps[best].mean(axis=1)
    error = standard_error(by_seed)
    seeds = "one seed" if math.isnan(error) else f"± {error:.2f}e-3 over seeds"
    word = "the least error" if by_seed.mean() <= 0 else "LOSES"
    return (
        f"- {image} from {BLIND}: `{ours.method}` {word}; minus {best}, the best other, "
        f"{by_seed.mean():+.2f}e-3 ({seeds})"
    )


def _gap(ours: Results, other: Results, subsets: Sequence[str]) -> Estimate | None:
    """Return the mean difference over subsets, paired; ± over trajectories / over seeds.

    None where the other method cannot encode one of them.
    """
    keys = [f"{subset}/predictive" for subset in subsets]
    if not all(key in other.items for key in keys):
        return None
    gaps = np.mean([paired_values(ours, other, key) for key in keys], axis=0)
    error = mean_and_error(gaps.mean(axis=0), _groups(ours))["standard_error"]
    over_items = math.nan if error is None else error
    return Estimate(float(gaps.mean()), over_items, standard_error(gaps.mean(axis=1)))


def _spell_gap(ours: Results, other: Results, subsets: Sequence[str]) -> str:
    gap = _gap(ours, other, subsets)
    return "cannot" if gap is None else spell(gap, sign=True, digits=0)


def posterior_table(ordered: Sequence[Results]) -> str:
    """Return the learned noise scales and how the entropy of the posterior falls."""
    names = [m.name for m in VISION_TOUCH if m.likelihood == "gaussian"]
    rows = []
    for found in ordered:
        scales = [[n["noise_scale"].get(name) for n in found.numbers] for name in names]
        cells = ["-" if None in values else f"{np.mean(values):.4f}" for values in scales]
        rows.append([found.method, *cells, mean_of_seeds(found, ("entropies", "share_not_rising"))])
    heading = [f"noise scale of {name} at z = 0" for name in names]
    return table(["method", *heading, "share of pairs whose entropy falls or stays"], rows)


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
