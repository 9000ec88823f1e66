"""The GPU benchmark: without a GPU it says so; its parts run here on the CPU, small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.gpu.__main__ import arguments_of, main, plan, providers, train_command
from benchmarks.gpu.checks import NoGpu, driver_problem, require_gpu, torch_problem
from benchmarks.gpu.providers import SilentFallback, measure, parity
from benchmarks.gpu.utilisation import Utilisation, summary
from smvae_core.errors import ConfigError
from smvae_core.runtime import Runtime
from smvae_training.cli import main as smvae
from tests.training.told_runs import write_episodes

ROOT = Path(__file__).parents[2]
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@without_gpu
@pytest.mark.parametrize(
    ("command", "status"),
    [(["scripts/gpu.sh"], 1), ([sys.executable, "-m", "benchmarks.gpu"], 2)],
    ids=["script", "module"],
)
def test_without_a_gpu_it_ends_with_one_clear_line(command: list[str], status: int) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("gpu: no GPU is found: nvidia-smi ")
    assert "--dry-run prints the plan here" in line


@without_gpu
def test_the_plan_is_printed_anywhere_with_what_is_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "missing: a driver with a GPU: nvidia-smi " in text
    assert f"torch {torch.__version__} (" in text
    assert "has no CUDAExecutionProvider and no TensorrtExecutionProvider" in text
    assert "smvae simulate runs/gpu/episodes --episodes 150 --steps 1000" in text
    assert "150 x 1000 x 200 epochs in under 600 s" in text
    assert "cpu, cuda, tensorrt through the bundle, no fallback allowed" in text
    with pytest.raises(NoGpu, match="no GPU is found"):
        require_gpu()


def test_a_driver_that_lists_no_gpu_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "nvidia-smi"
    script.write_text("#!/bin/sh\necho 'Failed to talk to the driver' >&2\nexit 9\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert driver_problem() == "nvidia-smi lists none (Failed to talk to the driver)"
    script.write_text("#!/bin/sh\necho 'GPU 0: one'\n")
    assert driver_problem() == ""


def test_utilisation_is_what_nvidia_smi_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "nvidia-smi"
    told = tmp_path / "told"
    lines = "echo '80, 1000, 300.5'\necho '100, 3000, 400.5'"
    script.write_text(f"#!/bin/sh\n{lines}\ntouch {told}\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with Utilisation() as watched:
        subprocess.run(["sleep", "1"], check=True)
        subprocess.run(["sh", "-c", f"until [ -e {told} ]; do sleep 0.05; done"], check=True)
    assert watched.found["busy_percent"] == 90.0
    assert watched.found["memory_mb"] == 3000.0
    assert watched.found["power_w"] == 350.5
    assert watched.found["seconds"] >= 1.0
    assert summary(["[N/A], 1, 2", ""]) == {}


def test_the_parts_run_on_the_cpu_and_no_provider_is_taken_for_another(tmp_path: Path) -> None:
    (episodes := tmp_path / "episodes").mkdir()
    write_episodes(episodes, 0)
    small = ["--preset", "debug", "--batch-size", "64", "--accelerator", "cpu", "--cores", "2"]
    given = arguments_of(
        ["--work", str(tmp_path), *small, "--epochs", "1", "--latents", "5", "--providers", "cpu"]
    )
    for batch in (64, 128):
        command = train_command(given, batch)
        few = ["--hardware.workers", "0", "--max-steps", "2", "--data.held-out", "0.5"]
        assert smvae([*command, *few]) == 0
    parts = {part.name: part.run for part in plan(given)}
    assert parts["training"](given) == {}, "a finished run is not trained again"
    found = parts["held-out errors"](given)
    assert set(found) == {"rgb", "depth"}
    assert all(np.isfinite(each["batch_128"]).all() for each in found.values())
    assert parts["bundle"](given) == {"bundle": "bundle"}
    told = providers(given)
    assert told["latents"] == 5
    assert told["cpu"]["provider"] == "CPUExecutionProvider"
    assert told["cpu"]["met"]
    assert len(told["cpu"]["parity"]) == 15
    assert all(0 < p50 <= p99 for p50, p99 in told["cpu"]["ms"].values())
    json.dumps(told)
    given.providers = ["cuda"]
    with pytest.raises(ConfigError, match="provider 'cuda' is not available"):
        providers(given)


def test_parity_is_the_largest_difference_in_standard_deviations() -> None:
    exact = {
        "subsets": ["a", "b"],
        "means": np.zeros((3, 2, 4)),
        "variances": np.full((3, 2, 4), 4.0),
    }
    other = exact | {"means": np.zeros((3, 2, 4))}
    other["means"][1, 1, 2] = -3.0
    assert parity(exact, other) == {"a": 0.0, "b": 1.5}


def test_another_provider_than_the_one_asked_for_is_no_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Runtime, "provider", "CUDAExecutionProvider")
    with pytest.raises(SilentFallback, match="asked for cpu, got CUDAExecutionProvider"):
        measure(ROOT / "tests/frozen/bundle", [{}], "cpu")


@without_gpu
def test_torch_says_how_it_was_built() -> None:
    assert torch_problem().startswith(f"torch {torch.__version__} (built ")
