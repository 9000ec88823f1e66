"""Let torchvision import where its wheel, built for CUDA, meets a CPU build of torch.

Its compiled operators do not load there, and whatever imports it (MultiVae, and torchmetrics where
it is installed) ends in "operator torchvision::nms does not exist". None of them is used here.
"""

# mypy: disable-error-code="import-not-found,import-untyped"
from __future__ import annotations

import sys

import torch

#: Declarations live as long as this object.
_OPERATORS: list[torch.library.Library] = []


def ensure_torchvision() -> None:
    """Import torchvision, declaring its operators where its compiled ones cannot load.

    Raises:
        ImportError: If torchvision is not installed.
    """
    try:
        import torchvision
    except RuntimeError as err:
        if "torchvision::nms" not in str(err):
            raise
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]  # half imported
        operators = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _OPERATORS.append(operators)
        import torchvision  # noqa: F401
