"""What every evaluation writes: results.json, with all that a number in it depends on."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from smvae_core.files import write_text
from smvae_training.evaluate.report.html import with_error
from smvae_training.hardware import versions
from smvae_training.run import Run

FORMAT = 1
RESULTS, REPORT = "results.json", "report.html"
TITLE = "Set Multimodal VAE: evaluation"


def jsonable(value: Any) -> Any:
    """Return the value with NaN and infinities as null, which is all that JSON has."""
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return bool(value) if isinstance(value, np.bool_) else value


def json_text(results: dict[str, Any]) -> str:
    """Return results as JSON, NaN as null."""
    return json.dumps(jsonable(results), indent=1, allow_nan=False) + "\n"


def write_json(path: Path, results: dict[str, Any]) -> None:
    """Write results atomically, in a folder that is made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json_text(results))


def headline(results: dict[str, Any]) -> tuple[str, dict[str, dict[str, str]]]:
    """Return what an evaluation of episodes comes down to: a title, and by subset what it drew.

    Of cameras the ratio to the training mean's error, with its standard error over trajectories;
    of a robot without any the errors of its sensors.
    """
    if next(iter(results["ratios"].values())):
        rows = {
            subset: {
                target: with_error(score["all"]["whole"], digits=3)
                for target, score in found.items()
            }
            for subset, found in results["ratios"].items()
        }
        return "squared error over the training mean image's (all held-out steps)", rows
    rows = {
        subset: {
            f"{sensor} {name.removeprefix('rmse_')}": told(value, ".4g")
            for sensor, scores in found.items()
            for name, value in scores.items()
            if name.startswith("rmse_")
        }
        for subset, found in results["subsets"].items()
    }
    return "root mean squared error (all held-out steps)", rows


def told(value: float | None, form: str) -> str:
    """Return a number as text; results that were read back have null where there was none."""
    return format(math.nan if value is None else value, form)


def about_run(run: Run) -> dict[str, Any]:
    """Return the part of results.json that says which model is scored and how it was trained."""
    record = run.record
    about = {k: getattr(record, k) for k in ("step", "total_steps", "seconds", "hardware")}
    return {
        "format": FORMAT,
        "run": str(run.path),
        "versions": versions(),
        "training": about | {"config": record.config.to_json(), "finished": record.finished},
        "noise_scale": run.model.noise_scale(),
    }


def subtitle(results: dict[str, Any], data: str = "") -> str:
    """Return the line below a report's title."""
    run = results["training"]
    return (
        f"{results['run']}: {data}{run['step']} of {run['total_steps']} steps, "
        f"{run['seconds']:.0f} s on {run['hardware'].get('accelerator', '?')}"
    )
