"""What a measured number depends on beside the code: the machine, versions, and when."""

from __future__ import annotations

import os
import platform
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from smvae_training.hardware import source_version, versions


def machine() -> dict[str, Any]:
    """Return hardware, versions, and how busy the machine is."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    named = re.search(r"model name\s*: (.*)", text)
    return {
        "cpu": named[1] if named else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": platform.release(),
        "load": [round(each, 1) for each in os.getloadavg()],
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "source": source_version(),
        "versions": versions(),
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def machine_line(about: dict[str, Any]) -> str:
    """Return a line on where and when a part was measured."""
    named = about["versions"]
    shown = ", ".join(f"{k} {v}" for k, v in named.items() if k in ("python", "torch", "numpy"))
    return (
        f"{about['cpu']}, {about['cores']} cores, load {about['load'][0]:g} at the start; {shown}; "
        f"{about['when'][:10]}."
    )
