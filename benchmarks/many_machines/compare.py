"""What two trainings have in common: losses of each step, and weights."""

from __future__ import annotations

import os
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from benchmarks.many_machines.job import Case
from smvae_core.errors import SMVAEError
from smvae_training.processes import FRESH_STORE
from smvae_training.run import RunPaths
from smvae_training.steps.callbacks import read_metrics

#: What launchers set, which a job of its own must not inherit.
_LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID")


class JobFailed(SMVAEError, RuntimeError):
    """A training of the comparison ended with an error."""


def play(case: Case, timeout_s: float = 1200.0) -> str:
    """Run a case to its end and return what it said.

    Raises:
        JobFailed: If it failed; with the end of what it said.
    """
    described = Path(f"{case.out}.json")
    environment = {k: v for k, v in os.environ.items() if k not in _LAUNCHER}
    environment.setdefault("OMP_NUM_THREADS", "1")
    environment[FRESH_STORE] = "1"
    commands = case.commands(described)
    logs = [Path(f"{case.out}.{number}.log") for number in range(len(commands))]
    processes = []
    for command, log in zip(commands, logs, strict=True):
        with log.open("w") as file:
            processes.append(
                subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
            )
    try:
        for process, log in zip(processes, logs, strict=True):
            if status := process.wait(timeout_s):
                said = log.read_text()[-3000:]
                raise JobFailed(f"{asdict(case)}: exit status {status}\n{said}")
    finally:
        for process in processes:
            process.kill()
    return "".join(log.read_text() for log in logs)


def compare(one: Case, other: Case) -> dict[str, Any]:
    """Return the largest relative differences of losses and weights of two finished runs.

    Raises:
        JobFailed: If one has other steps than the other.
    """
    paths, others = (RunPaths(Path(case.out)) for case in (one, other))
    rows, other_rows = read_metrics(paths.metrics), read_metrics(others.metrics)
    steps = [row["step"] for row in rows]
    if steps != [row["step"] for row in other_rows] or steps != list(range(1, one.total_steps + 1)):
        told = [row["step"] for row in other_rows]
        raise JobFailed(f"steps of {one.out}: {steps}; of {other.out}: {told}")
    names = [name for name in rows[0] if name.startswith(("loss", "elbo", "kl", "log_l"))]
    differences = {
        name: max(  # while posteriors are matched, there is the loss alone
            abs(a[name] - b[name]) / abs(a[name])
            for a, b in zip(rows, other_rows, strict=True)
            if name in a or name in b
        )
        for name in names
    }
    weights, other_weights = load_file(paths.weights), load_file(others.weights)
    moved = max(
        float((w - other_weights[k]).norm() / w.norm().clamp(min=1e-6))
        for k, w in weights.items()
        if w.is_floating_point() and "running_" not in k
    )
    return {
        "losses": [row["loss"] for row in rows],
        "other_losses": [row["loss"] for row in other_rows],
        "largest_relative_difference": differences,
        "weights_relative_difference": moved,
    }
