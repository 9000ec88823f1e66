"""What the machine's cores multiply at most: square matrices, in each precision.

In float32 torch's own product is MKL's, which leaves AVX-512 alone on CPUs that are not Intel's;
oneDNN's does not. The faster of both counts.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

#: Side of the matrices, and products of a turn.
SIDE, PRODUCTS = 1024, 12


class MatmulPeak:
    """A turn is the fastest of some products [GFLOP/s], by CPU time."""

    def __init__(self, precision: str) -> None:
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        a, b = (torch.randn(SIDE, SIDE).to(kind) for _ in range(2))
        self.pairs = [(a, b)]
        if kind == torch.float32:
            self.pairs.append((a.to_mkldnn(), b.to_mkldnn()))
        self.about = {"precision": precision, "side": SIDE, "threads": torch.get_num_threads()}

    def turn(self) -> dict[str, Any]:
        fastest = float("inf")
        for a, b in PRODUCTS * self.pairs:
            began = time.process_time()
            nn.functional.linear(a, b)
            fastest = min(fastest, time.process_time() - began)
        return {"gflop_per_cpu_s": 2.0 * SIDE**3 / fastest / 1e9}
