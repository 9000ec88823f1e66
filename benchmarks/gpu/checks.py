"""What must be there before anything is measured on a GPU, and what is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from typing import NamedTuple

import torch

from smvae_core.errors import SMVAEError
from smvae_core.graphs.sessions import CUDA, TENSORRT

#: Share of the GPU's memory that others may hold where figures are to count.
BUSY_SHARE = 0.05


class NoGpu(SMVAEError, RuntimeError):
    """There is no GPU that both the driver and torch see."""


class Check(NamedTuple):
    """One condition."""

    what: str
    problem: Callable[[], str]
    """Returns what is wrong and what would be right; empty if all is well."""


def driver_problem() -> str:
    """Return why the driver shows no GPU."""
    if shutil.which("nvidia-smi") is None:
        return "nvidia-smi is not here, so no NVIDIA driver is installed"
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    if done.returncode or "GPU" not in done.stdout:
        said = (done.stderr or done.stdout).strip().splitlines()
        return f"nvidia-smi lists none ({said[0] if said else 'it says nothing'})"
    return ""


def torch_problem() -> str:
    """Return why torch sees no GPU."""
    if torch.cuda.is_available():
        return ""
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    return f"torch {torch.__version__} ({built}) sees none"


def providers_problem() -> str:
    """Return which of onnxruntime's providers are missing."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed: pip install -r benchmarks/requirements-gpu.txt"
    import onnxruntime

    missing = [p for p in (CUDA, TENSORRT) if p not in onnxruntime.get_available_providers()]
    if not missing:
        return ""
    return (
        f"onnxruntime {onnxruntime.__version__} has no {' and no '.join(missing)}: take the "
        "environment of scripts/gpu.sh (onnxruntime-gpu, never beside onnxruntime)"
    )


def others_problem() -> str:
    """Return who else holds the GPU's memory."""
    if driver_problem():
        return "not known without a driver"
    query = ["nvidia-smi", "--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits"]
    first = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    used, total = (float(each) for each in first.split(","))
    if used <= BUSY_SHARE * total:
        return ""
    return f"{used:.0f} of {total:.0f} MB of the first GPU are taken: figures would not count"


def cores_problem() -> str:
    """Return whether simulation and loading would hold the GPU back."""
    cores = os.cpu_count() or 1
    return "" if cores >= 8 else f"{cores} cores: 8 or more simulate and load beside a GPU"


CHECKS = (
    Check("a driver with a GPU", driver_problem),
    Check("torch with CUDA", torch_problem),
    Check("onnxruntime with CUDA and TensorRT", providers_problem),
    Check("a GPU to itself", others_problem),
    Check("cores for simulation and loading", cores_problem),
)


def require_gpu() -> None:
    """Say in one line that there is no GPU, if there is none.

    Raises:
        NoGpu: Then.
    """
    problems = [each for each in (driver_problem(), torch_problem()) if each]
    if problems:
        raise NoGpu(
            f"no GPU is found: {'; '.join(problems)}. Run scripts/gpu.sh where `nvidia-smi -L` "
            "lists one; --dry-run prints the plan here"
        )
