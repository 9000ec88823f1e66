"""Run folder -> bundle: what the manifest says about where the weights come from."""

from __future__ import annotations

from pathlib import Path

from smvae_core.model.export import export_bundle
from smvae_training.run import load_run


def export_run(run: Path, out: Path, name: str = "smvae") -> Path:
    """Write the bundle of a run and return its folder.

    Raises:
        RunError: If `run` holds no trained model.
        BundleError: If onnxruntime does not give torch's numbers.
    """
    loaded = load_run(run)
    record = loaded.record
    training = {
        "objective": record.config.to_json()["objective"],
        "split_by": record.config.data.split_by,
        "action": record.config.data.action,
        "seed": record.config.seed,
        "step": record.step,
        "total_steps": record.total_steps,
        "data_fingerprint": record.data_fingerprint,
        "versions": record.versions,
    }
    return export_bundle(loaded.model, loaded.statistics, out, name=name, training=training)
