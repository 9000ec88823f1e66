"""Where and when a measurement was made: code, versions, machine, and what else ran on it."""

from __future__ import annotations

import importlib.metadata
import os
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from smvae_training.hardware import source_version, versions

_PACKAGES = ("rclpy", "onnxruntime", "opencv-python-headless", "opencv-python", "rosbags")


def before() -> dict[str, Any]:
    """Return the conditions at the start of a measurement."""
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "code": source_version(),
        "versions": versions() | _installed(),
        "middleware": os.environ.get("RMW_IMPLEMENTATION", "default"),
        "fastdds_profile": Path(os.environ.get("FASTRTPS_DEFAULT_PROFILES_FILE", "none")).name,
        "hardware": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        },
        "load_before": load(),
    }


def after() -> dict[str, Any]:
    """Return what is to be added at its end."""
    return {"load_after": load()}


def load() -> dict[str, Any]:
    """Return the load average, and the shares of two seconds that the cores spent on what."""
    first = _ticks()
    time.sleep(2.0)
    spent = {k: v - first[k] for k, v in _ticks().items()}
    total = max(sum(spent.values()), 1)
    return {
        "load_average": [round(v, 2) for v in os.getloadavg()],
        "shares": {k: round(v / total, 2) for k, v in spent.items()},
    }


def _ticks() -> dict[str, int]:
    """Return ticks of all cores: normal and low ('nice') priority, kernel, idle, stolen."""
    words = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]
    user, nice, system, idle, waiting, interrupts, soft, stolen = map(int, words)
    return {
        "normal_priority": user,
        "low_priority": nice,
        "kernel": system + interrupts + soft,
        "idle": idle + waiting,
        "stolen": stolen,
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def _installed() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
