"""What the process uses of its machine: memory, and of a GPU where there is one."""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")


def memory_mb() -> dict[str, float]:
    """Return resident memory of this process and its peak [MB]; empty where /proc is not there."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    kilobytes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    names = {"resident_mb": "VmRSS", "peak_mb": "VmHWM"}
    return {name: int(kilobytes[key]) / 1e3 for name, key in names.items() if key in kilobytes}


def threads() -> int:
    """Return how many threads this process has, those of the middleware included; 0 = unknown."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Threads:")), 0)


class Gpu:
    """One NVIDIA GPU through NVML, or why there is none."""

    def __init__(self, device_id: int = 0) -> None:
        """Look for it; a machine without one is no error.

        NVML counts GPUs by bus, CUDA the fastest first: where they differ from each other, the two
        agree only under CUDA_DEVICE_ORDER=PCI_BUS_ID, or with UUIDs in CUDA_VISIBLE_DEVICES.

        Args:
            device_id: As CUDA counts those that CUDA_VISIBLE_DEVICES leaves.
        """
        self._nvml: Any = None
        self._handle: Any = None
        self.name = ""
        """Its model; '' = unknown."""
        self.uuid = ""
        """Its unique name; '' = unknown."""
        self.missing = ""
        """Why there is none; '' = there is one."""
        try:
            pynvml = importlib.import_module("pynvml")
        except ImportError:
            self.missing = "no GPU: pynvml is not installed"
            return
        try:
            pynvml.nvmlInit()
            self._handle = _handle(pynvml, device_id)
        except (pynvml.NVMLError, LookupError) as err:
            self.missing = f"no GPU: {err}"
            return
        self._nvml = pynvml
        self.name = _text(self._asked(lambda: pynvml.nvmlDeviceGetName(self._handle)) or "")
        self.uuid = _text(self._asked(lambda: pynvml.nvmlDeviceGetUUID(self._handle)) or "")

    def read(self) -> dict[str, Any]:
        """Return name, uuid, memory, temperature, clock and load.

        What this GPU or its driver does not tell, or no longer, is left out.
        """
        if self.missing:
            return {}
        nvml, handle = self._nvml, self._handle
        readers = {
            "memory_used_mb": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used / 1e6,
            "memory_total_mb": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total / 1e6,
            "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(
                handle, nvml.NVML_TEMPERATURE_GPU
            ),
            "clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
            "load_percent": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
        }
        values = {"name": self.name or None, "uuid": self.uuid or None}
        values |= {name: self._asked(reader) for name, reader in readers.items()}
        return {name: value for name, value in values.items() if value is not None}

    def _asked(self, reader: Callable[[], Any]) -> Any:
        try:
            return reader()
        except self._nvml.NVMLError:
            return None


def _handle(nvml: Any, device_id: int) -> Any:
    """Return NVML's handle of the GPU that CUDA calls `device_id` in this process.

    Raises:
        LookupError: If CUDA_VISIBLE_DEVICES leaves no such GPU.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return nvml.nvmlDeviceGetHandleByIndex(device_id)
    # CUDA reads up to the first entry that names no GPU, '' and '-1' among them
    named = [entry.strip() for entry in listed.split(",")]
    visible = list(takewhile(lambda n: n.isdigit() or n.startswith(("GPU-", "MIG-")), named))
    if device_id >= len(visible):
        raise LookupError(f"CUDA_VISIBLE_DEVICES='{listed}' leaves none with device_id {device_id}")
    name = visible[device_id]
    if name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    if name.startswith("MIG-"):
        return nvml.nvmlDeviceGetHandleByUUID(name.encode())
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        if _text(nvml.nvmlDeviceGetUUID(handle)).startswith(name):  # CUDA takes the beginning too
            return handle
    raise LookupError(f"CUDA_VISIBLE_DEVICES='{listed}': this machine has no '{name}'")


def hardware_id(gpu: Gpu, provider: str) -> str:
    """Return what the model runs on: the GPU's UUID, else the host's name.

    Args:
        gpu: Of this machine.
        provider: That the sessions really use, by onnxruntime's name; '' = none yet.
    """
    on_gpu = provider and not provider.startswith("CPU")
    return (gpu.uuid if on_gpu else "") or platform.node() or "unknown host"


def _text(value: str | bytes) -> str:
    """Older pynvml answers in bytes."""
    return value.decode() if isinstance(value, bytes) else value


def give_back_memory() -> None:
    """Collect what is unreachable, and return freed memory to the system where glibc can.

    A bundle's graphs are read as bytes; what glibc keeps of them grows with every load.
    """
    gc.unfreeze()
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_memory() -> None:
    """Have what lives as long as a model looked through no more for what is unreachable.

    There are half a million objects of it, and every latent waits while they are gone through.
    """
    gc.collect()
    gc.freeze()
