"""The one place that imports MuJoCo, headless unless told otherwise."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Any

from smvae_datasets.simulation.errors import MissingEngine

# Must stand in the environment before MuJoCo is imported: it picks its OpenGL then.
os.environ.setdefault("MUJOCO_GL", "egl")
# Mesa's software renderer: at 128x128 its threads cost more than they bring (1.5 against 1.9 ms).
os.environ.setdefault("LP_NUM_THREADS", "1")

try:
    import mujoco
except ImportError as err:
    raise MissingEngine(err) from err

__all__ = ["MODEL_PATH", "load_model", "mujoco"]

MODEL_PATH = Path(str(resources.files("smvae_datasets.simulation") / "cell.xml"))


def load_model() -> Any:
    """Compile `cell.xml` into a fresh MjModel that the caller may change."""
    return mujoco.MjModel.from_xml_path(str(MODEL_PATH))
