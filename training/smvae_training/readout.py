"""Fit the linear readout of a model's latents: every target of its data, one map per subset.

Fitted on training records, scored on held-out ones; the same regressions as the report's linear
probes. N records, Z latent.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smvae_core.bundle import MANIFEST, Bundle, add_readout, sha256_of
from smvae_core.errors import BundleError
from smvae_core.modality import subset_name
from smvae_core.preprocessing import raw_sample
from smvae_core.readout import READOUT, LinearMap, Quantity, Readout
from smvae_core.runtime import Runtime
from smvae_core.subsets import evaluated_subsets
from smvae_datasets.dataset import Dataset
from smvae_datasets.sources import WITH_TARGETS, prepare_source
from smvae_training.data import fingerprint
from smvae_training.evaluate import probe
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Array, Records
from smvae_training.run import Run, RunError, RunPaths, load_run

logger = logging.getLogger(__name__)

#: Records used at most of each side, every k-th.
MAX_TRAIN, MAX_HELD_OUT = 4000, 1500


class Latents(Protocol):
    """Posterior means of records, for any subset."""

    def means(self, records: Records) -> dict[tuple[str, ...], Array]:
        """Return subset -> (N, Z), NaN where the record does not hold the whole subset."""


def fit_readout(target: Path, data: Path | None = None) -> tuple[Readout, Path]:
    """Fit the readout of a run or a bundle and write it there.

    Args:
        target: Run folder or bundle.
        data: Its episodes; a run remembers where they were.

    Returns:
        The readout, and the file that holds it.

    Raises:
        RunError: If the run cannot be used, or these are other data.
        BundleError: If the bundle cannot be used, does not say who was held out, or these are
            other data.
        EpisodeError: If the episodes cannot be used.
    """
    if (target / MANIFEST).is_file():
        bundle = Bundle.load(target)
        records, train, held_out = _parts_of_bundle(bundle, data)
        weights = str(bundle.manifest.training["weights"])
        readout = fit(_BundleLatents(bundle), records, train, held_out, weights)
        return readout, add_readout(bundle, readout).path / READOUT
    run = load_run(target)
    records = _data_of_run(run, data)
    parts = run.split(records)
    weights = sha256_of(RunPaths(target).weights)
    readout = fit(_RunLatents(run), records, parts.train, parts.held_out, weights)
    readout.write(target / READOUT)
    return readout, target / READOUT


def fit(
    latents: Latents,
    data: Dataset,
    train: NDArray[np.int64],
    held_out: NDArray[np.int64],
    weights: str,
) -> Readout:
    """Return the readout of every target and subset, fitted on `train`, scored on `held_out`.

    A target that cannot be fitted to some subset has no readout.

    Raises:
        RunError: If that leaves no target.
    """
    fitting = Records.of(data, train, MAX_TRAIN)
    asking = Records.of(data, held_out, MAX_HELD_OUT)
    train_z, test_z = latents.means(fitting), latents.means(asking)
    maps: dict[str, dict[str, LinearMap]] = {}
    scores: dict[str, dict[str, Any]] = {}
    for subset, z in train_z.items():
        label = subset_name(subset)
        maps[label], scores[label] = _of_subset(z, fitting, test_z[subset], asking)
    missing = {
        name: found[name]["missing"]
        for found in scores.values()
        for name in data.targets
        if "missing" in found[name]
    }
    for name, why in missing.items():
        logger.warning("no readout of '%s': %s", name, why)
    kept = {n: t for n, t in data.targets.items() if n not in missing}
    if not kept:
        reasons = "; ".join(missing.values()) or "there is none"
        raise RunError(data.path or "", f"no target can be read out: {reasons}")
    return Readout(
        targets={
            n: Quantity(unit=t.unit, binary=t.binary, fields=t.fields) for n, t in kept.items()
        },
        subsets={label: {n: found[n] for n in kept} for label, found in maps.items()},
        weights=weights,
        scores=scores,
        fitted={
            "data": data.path.parent.parent.name if data.path else "",
            "fingerprint": fingerprint(data),
            "train_records": len(fitting),
            "held_out_records": len(asking),
            "held_out_trajectories": len(np.unique(asking.group)),
        },
    )


def _of_subset(
    z: Array, fitting: Records, test_z: Array, asking: Records
) -> tuple[dict[str, LinearMap], dict[str, Any]]:
    """Return the map of every target that can be fitted, and the scores of all."""
    maps, scores = {}, {}
    for name, target in fitting.targets.items():
        asked = asking.targets[name]
        try:
            weights, bias = probe.fit(name, target, z)
            predicted = probe.predict(test_z, weights, bias)
            scores[name] = probe.score(name, asked, predicted, test_z)
        except probe.NoProbe as err:
            scores[name] = {"missing": str(err)}
            continue
        scores[name]["train_records"] = int(probe.usable(target, z).sum())
        rows = probe.usable(asked, test_z)
        error = np.sqrt(np.square(predicted[rows] - asked.values[rows]).mean(axis=0))
        residual = np.zeros(len(bias)) if target.binary else error
        maps[name] = LinearMap(weights=weights, bias=bias, residual=residual)
    return maps, scores


class _RunLatents:
    """Of the run's weights, by torch."""

    def __init__(self, run: Run) -> None:
        self._run, self._model = run, copy.deepcopy(run.model)

    def means(self, records: Records) -> dict[tuple[str, ...], Array]:
        predictor = Predictor(self._model, self._run.statistics, records)
        return {
            s: predictor.posterior(s).mean.numpy() for s in evaluated_subsets(self._run.model.names)
        }


class _BundleLatents:
    """Of the bundle's graphs, one record at a time, as a robot does it."""

    def __init__(self, bundle: Bundle) -> None:
        self._runtime = Runtime(bundle)

    def means(self, records: Records) -> dict[tuple[str, ...], Array]:
        runtime = self._runtime
        subsets = evaluated_subsets(runtime.manifest.names)
        shape = (len(records), runtime.manifest.latent_dim)
        found = {s: np.full(shape, np.nan, np.float32) for s in subsets}
        recorded = {m.name: records.holding([m.name]) for m in runtime.modalities}
        for row in range(len(records)):
            held = [m for m in runtime.modalities if recorded[m.name][row]]
            for m in held:
                runtime.observe(m.name, raw_sample(m, records.prepared[m.name][row]))
            for subset in subsets:
                if {m.name for m in held}.issuperset(subset):
                    found[subset][row] = runtime.posterior(subset).mean
        return found


def _data_of_run(run: Run, data: Path | None) -> Dataset:
    source = run.config.data.source
    if source not in WITH_TARGETS:
        raise RunError(run.path, f"is of {source}, which has no targets to read out")
    folder = data or Path(run.record.data_path)
    if not folder.is_dir():
        raise RunError(run.path, f"its data are no longer at {folder}: say where with --data")
    return prepare_source(
        source, folder, run.model_config.modalities, action=run.config.data.action
    )


def _parts_of_bundle(
    bundle: Bundle, data: Path | None
) -> tuple[Dataset, NDArray[np.int64], NDArray[np.int64]]:
    """Return the records of a bundle, and which of them trained it and were held out."""
    training = bundle.manifest.training
    if not {"weights", "train_trajectories", "held_out_trajectories"} <= set(training):
        raise BundleError(
            bundle.path,
            "does not say which trajectories trained it: export it again, or fit on its run",
        )
    if training["split_by"] != "trajectory":
        raise BundleError(
            bundle.path, f"was split by {training['split_by']}: fit on its run instead"
        )
    if data is None:
        raise BundleError(bundle.path, "does not know where its data are: say it with --data")
    records = prepare_source(
        "episodes", data, bundle.manifest.modalities, action=training["action"]
    )
    if fingerprint(records) != training["data_fingerprint"]:
        raise BundleError(bundle.path, f"was trained on other data than those in {data}")

    def of(names: Sequence[str]) -> NDArray[np.int64]:
        wanted = [records.group_names.index(n) for n in names]
        return np.flatnonzero(np.isin(records.group, wanted))

    return (
        records,
        of(training["train_trajectories"]),
        of(training["held_out_trajectories"]),
    )
