"""Tables of several images of one scene: what each of them, and several, tell of all.

No standard errors: neighbouring frames of a trajectory are no independent items.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from benchmarks.paper.experiments import Experiment
from benchmarks.tables.markdown import table
from benchmarks.tables.paired import Results
from benchmarks.tables.pairs import mean_of_seeds, settings_table
from benchmarks.tables.robot import in_order, picture
from smvae_core.modality import all_subsets, subset_name

Subsets = Sequence[tuple[str, ...]]


def view_section(experiment: Experiment, results: dict[str, Results]) -> str:
    """Return the tables of one experiment, one per method."""
    names = tuple(m.name for m in experiment.modalities())
    ordered = in_order(experiment, results)
    parts = [
        "Frames of the simulated robot, not photographs; there are no landmarks, so no mask.",
        "'predictive' is log 1/K sum_k p(all | z_k), z_k ~ q(z | observed), in nats per frame, "
        f"over {experiment.likelihood_items} frames. 'error' is the squared error x 1000 of each "
        "image decoded from the posterior mean, with levels between 0 and 1, over all "
        f"{experiment.test_items} frames. No frame's trajectory was trained on. The learning rate "
        "is the preset's and was not tuned.",
        f"![Each image drawn from each other one]({picture(experiment)})",
        "Drawn by `smvae figures RUN --only generation --count 3 --dpi 90`, RUN being "
        f"`runs/benchmarks/{experiment.name}/smvae/seed0-lr{experiment.learning_rate:g}`.",
    ]
    for found in ordered:
        share = mean_of_seeds(found, ("entropies", "share_not_rising"))
        parts += [
            subset_table(found, names),
            f"`{found.method}`: the entropy falls or stays in a share of {share} of all pairs "
            "(S, S and one more).",
        ]
    parts.append(settings_table(ordered))
    return "\n\n".join(parts)


def subset_table(found: Results, names: tuple[str, ...]) -> str:
    """Return a row for each image alone, for the mean over each larger number, and for all."""
    rows = []
    for count, group in groupby(all_subsets(names), key=len):
        subsets = list(group)
        if count == 1:
            rows += [_row(found, subset_name(s), [s], names) for s in subsets]
        else:
            title = "all" if count == len(names) else f"{count} of them, mean of {len(subsets)}"
            rows.append(_row(found, title, subsets, names))
    errors = [f"error of {name}" for name in names]
    return table([f"{found.method}: observed", "predictive", *errors], rows)


def _row(found: Results, title: str, subsets: Subsets, names: tuple[str, ...]) -> list[str]:
    def mean(key: str) -> float:
        return float(np.mean([found.items[f"{subset_name(s)}/{key}"].mean() for s in subsets]))

    errors = [f"{1e3 * mean(f'error/{name}'):.2f}" for name in names]
    return [title, f"{mean('predictive'):.0f}", *errors]
