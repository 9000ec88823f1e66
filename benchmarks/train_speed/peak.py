"""What the machine's cores multiply at most: square matrices, in each precision."""

from __future__ import annotations

import time
from typing import Any

import torch

#: Side of the matrices, and products of a turn.
SIDE, PRODUCTS = 1024, 12


class MatmulPeak:
    """A turn is the fastest of some products [GFLOP/s], by CPU time."""

    def __init__(self, precision: str) -> None:
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        self.a, self.b = (torch.randn(SIDE, SIDE).to(kind) for _ in range(2))
        self.about = {"precision": precision, "side": SIDE, "threads": torch.get_num_threads()}

    def turn(self) -> dict[str, Any]:
        fastest = float("inf")
        for _ in range(PRODUCTS):
            began = time.process_time()
            torch.mm(self.a, self.b)
            fastest = min(fastest, time.process_time() - began)
        return {"gflop_per_cpu_s": 2.0 * SIDE**3 / fastest / 1e9}
