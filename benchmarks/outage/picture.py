"""What a robot imagines after its cameras die, beside the truth: the picture of `outage`.

The rule: of the first held-out trajectory the cameras die in the middle.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smvae_core.preprocessing import in_si
from smvae_training.evaluate.measures import blind, images, picture, shown_range
from smvae_training.evaluate.report.draw import new_figure
from smvae_training.run import split_episodes

#: Seconds after the cameras died.
SHOWN_S = (0.0, 0.5, 1.0, 2.0)
LABELS = {
    "memory": "imagined\nwith memory",
    "bent": "imagined\nwith memory",
    "instant": "imagined\nwithout",
}


def draw(models: Mapping[str, Any], path: Path) -> None:
    """Draw a row of truth and one per model for every camera, a column per age."""
    from benchmarks.outage.__main__ import Condition

    first = next(iter(models.values()))
    data, cameras = first.data, images(first.data.sensors)
    held_out = split_episodes(first.run.config, data).held_out
    records = held_out[data.group[held_out] == data.group[held_out[0]]]
    died = int(records[len(records) // 2])
    since_s = (data.stamp_ns[records] - data.stamp_ns[died]) * 1e-9
    at = np.array([int(records[np.abs(since_s - s).argmin()]) for s in SHOWN_S])
    others = blind(data.sensors)
    rows = [(camera, kind) for camera in cameras for kind in ("truth", *models)]
    figure, axes = new_figure(
        len(rows), len(SHOWN_S), size=(1.5 * len(SHOWN_S) + 1.2, 1.5 * len(rows) + 0.4)
    )
    for column, (record, age_s) in enumerate(zip(at, SHOWN_S, strict=True)):
        imagined = {}
        for kind, every in models.items():
            memory = every.run.model_config.memory
            remembered: dict[str, tuple[float, float]] = {}
            if memory is not None:
                remembered = dict.fromkeys(others, (0.0, memory.horizon_s))
                remembered |= {m.name: (age_s, memory.horizon_s) for m in cameras}
            present = tuple(every.model.names) if age_s == 0 else tuple(others)
            case = Condition(name="", present=present, remembered=remembered)
            q = every.posterior(record[None], case)
            imagined[kind] = {m.name: every.predicted(m.name, q.mean)[0] for m in cameras}
        for row, (camera, kind) in enumerate(rows):
            truth = in_si(camera, np.asarray(data.arrays[camera.name][record])[None])[0]
            image = truth if kind == "truth" else imagined[kind][camera.name]
            axis = axes[row, column]
            axis.imshow(picture(camera, image, shown_range(camera, truth)))
            axis.set(xticks=[], yticks=[])
            if row == 0:
                title = "cameras alive" if age_s == 0 else f"dead for {age_s:g} s"
                axis.set_title(title, fontsize=9)
            if column == 0:
                axis.set_ylabel(f"{camera.name}, {LABELS.get(kind, kind)}", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
