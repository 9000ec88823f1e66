"""What happens to the door's cameras."""

from __future__ import annotations

from collections.abc import Mapping

from smvae_datasets.simulation.closed_loop.failures import Failure

ALIVE = "all alive"
FAILURES: Mapping[str, Failure] = {
    ALIVE: Failure(),
    "side lost": Failure(sensors=("side",), absent=True),
    "hand lost": Failure(sensors=("hand",), absent=True),
    "cameras lost midway": Failure(sensors=("side", "hand"), absent=True, midway=True),
}
