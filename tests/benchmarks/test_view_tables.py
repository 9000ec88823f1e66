"""The table of several images of one scene: which subset each number is of."""

from __future__ import annotations

import numpy as np

from benchmarks.paper.experiments import EXPERIMENTS
from benchmarks.tables.paired import Results
from benchmarks.tables.views import subset_table, view_section
from smvae_core.modality import all_subsets, subset_name

VIEWS = EXPERIMENTS["simulated-robot-views"]
NAMES = ("image", "grey", "edges", "occluded", "watermarked")


def made_result() -> Results:
    """Return a result whose predictive value is 100 per member, and image i's error i / |S|."""
    items: dict[str, np.ndarray] = {"index": np.arange(3)[None]}
    for subset in all_subsets(NAMES):
        name = subset_name(subset)
        items[f"{name}/predictive"] = np.array([[-1.0, 0.0, 1.0]]) + 100.0 * len(subset)
        for i, image in enumerate(NAMES):
            items[f"{name}/error/{image}"] = np.full((1, 3), 1e-3 * i / len(subset))
    budget = {
        "steps": 5,
        "batch_size": 100,
        "lr": 5e-4,
        "training_seconds": 7,
        "passes": {"embedding": 1.0, "decoder": 2.0},
    }
    scores = {"checks": [{"passed": True}], "entropies": {"share_not_rising": 1.0}}
    numbers = {"budget": budget, "scores": scores, "code": "abc"}
    return Results(method="smvae", seeds=(0,), numbers=(numbers,), items=items)


def test_rows_are_each_alone_then_means_by_number_then_all():
    lines = subset_table(made_result(), NAMES).splitlines()
    assert len(lines) == 2 + 5 + 4
    assert lines[2] == "| image | 100 | 0.00 | 1.00 | 2.00 | 3.00 | 4.00 |"
    assert lines[7] == "| 2 of them, mean of 10 | 200 | 0.00 | 0.50 | 1.00 | 1.50 | 2.00 |"
    assert lines[9] == "| 4 of them, mean of 5 | 400 | 0.00 | 0.25 | 0.50 | 0.75 | 1.00 |"
    assert lines[10] == "| all | 500 | 0.00 | 0.20 | 0.40 | 0.60 | 0.80 |"


def test_the_section_says_what_the_frames_are_and_names_the_mask_that_is_not_there():
    assert tuple(m.name for m in VIEWS.modalities()) == NAMES
    text = view_section(VIEWS, {"smvae": made_result()})
    assert text.startswith("Frames of the simulated robot, not photographs; there are no landmarks")
    assert "stays in a share of 1.000 of all pairs" in text
    assert "| 0.0005 | 5 x 100 | 1 / 2 | 7 |" in text
