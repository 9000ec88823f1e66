"""What the exchange with the official package gave, written where SMVAE_LEROBOT_RESULT says."""

from __future__ import annotations

from tests.written_results import results_fixture

PACKAGES = ("lerobot", "datasets", "av", "pyarrow", "torch", "numpy")
results = results_fixture("SMVAE_LEROBOT_RESULT", "exchanged", PACKAGES)
