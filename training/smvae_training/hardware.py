"""What the machine has: precision, accelerator, versions; said in the log and in config.json."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from smvae_core.errors import ConfigError

Precision = Literal["auto", "32", "bf16"]
Accelerator = Literal["auto", "cpu", "gpu"]

#: CPU flags that mean bfloat16 products are done in hardware.
BF16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")

VERSIONED = ("torch", "pytorch-lightning", "numpy", "scikit-learn", "torchmetrics")


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where and how a run computes."""

    accelerator: Literal["cpu", "gpu"]
    precision: Literal["32", "bf16"]
    reason: str
    """Why this precision, in words for the log."""

    @property
    def lightning_precision(self) -> Literal["32-true", "bf16-mixed"]:
        return "bf16-mixed" if self.precision == "bf16" else "32-true"


def cpu_flags() -> set[str]:
    """Return the flags of the first CPU in /proc/cpuinfo, empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    for line in text.splitlines():
        if line.startswith(("flags", "Features")):
            return set(line.partition(":")[2].split())
    return set()


def choose_hardware(precision: Precision = "auto", accelerator: Accelerator = "auto") -> Hardware:
    """Resolve 'auto': a GPU when there is one, bf16 where the device has it natively.

    Raises:
        ConfigError: If a GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if accelerator == "gpu" and not has_gpu:
        raise ConfigError("accelerator 'gpu' was asked for, but torch finds no CUDA device here")
    device: Literal["cpu", "gpu"] = "gpu" if has_gpu and accelerator != "cpu" else "cpu"
    if precision != "auto":
        return Hardware(accelerator=device, precision=precision, reason="as configured")
    if device == "gpu":
        name = torch.cuda.get_device_name(0)
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Hardware(accelerator=device, precision="bf16", reason=f"{name} has bf16")
        return Hardware(accelerator=device, precision="32", reason=f"{name} has no native bf16")
    found = [flag for flag in BF16_FLAGS if flag in cpu_flags()]
    if found:
        return Hardware(accelerator=device, precision="bf16", reason=f"this CPU has {found[0]}")
    return Hardware(accelerator=device, precision="32", reason="this CPU has no native bf16")


#: By these launchers of jobs tell a process among how many it is.
LAUNCHERS = ("SLURM_NTASKS", "WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "JSM_NAMESPACE_SIZE")


def launcher() -> str:
    """Return the variable by which a job launcher says that this is one of several processes."""
    several = [f"{k}={v}" for k in LAUNCHERS if (v := os.environ.get(k, "1")) != "1"]
    return several[0] if several else ""


def versions() -> dict[str, str]:
    """Return the versions that a number in a report depends on."""
    from smvae_core import __version__

    found = {"smvae": __version__, "python": platform.python_version()}
    found |= {package: importlib.metadata.version(package) for package in VERSIONED}
    return found | {"cpu_count": str(os.cpu_count()), "machine": platform.machine()}


def source_version() -> str:
    """Return the commit of the source tree, '+' if it has changes, or the package's version."""
    from smvae_core import __file__ as module
    from smvae_core import __version__

    here = Path(module).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--abbrev=12", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return __version__
