"""What the runs on Ray gave, written where SMVAE_RAY_RESULT says."""

from __future__ import annotations

from tests.written_results import results_fixture

PACKAGES = ("ray", "torch", "pytorch-lightning", "numpy", "mujoco")
results = results_fixture("SMVAE_RAY_RESULT", "on_two_workers", PACKAGES)
