"""Fit the linear readout of a model's latents: hole offset and contact, one map per subset.

Fitted on training trajectories, scored on held-out ones; the same regressions as the report's
linear probes. N records, Z latent.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from smvae_core.bundle import MANIFEST, Bundle, add_readout, sha256_of
from smvae_core.errors import BundleError
from smvae_core.modality import Modality, subset_name
from smvae_core.readout import READOUT, LinearReadout, Readout
from smvae_core.runtime import Runtime
from smvae_core.subsets import evaluated_subsets
from smvae_datasets.prepared import PreparedEpisodes, prepare_episodes
from smvae_training.data import fingerprint
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.probe import AXES, fit_contact, fit_offset, probe
from smvae_training.evaluate.records import Array, Records, pick
from smvae_training.run import Run, RunError, RunPaths, load_run

#: Records used at most of each side, every k-th.
MAX_TRAIN, MAX_HELD_OUT = 4000, 1500


class Latents(Protocol):
    """Posterior means of two sets of records, for any subset."""

    def means(self, records: Records) -> dict[tuple[str, ...], Array]:
        """Return subset -> (N, Z)."""


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
        episodes, train, held_out = _parts_of_bundle(bundle, data)
        weights = str(bundle.manifest.training["weights"])
        readout = fit(_BundleLatents(bundle), episodes, train, held_out, weights)
        return readout, add_readout(bundle, readout).path / READOUT
    run = load_run(target)
    episodes = _episodes_of_run(run, data)
    parts = run.split(episodes)
    weights = sha256_of(RunPaths(target).weights)
    readout = fit(_RunLatents(run), episodes, parts.train, parts.held_out, weights)
    readout.write(target / READOUT)
    return readout, target / READOUT


def fit(
    latents: Latents,
    episodes: PreparedEpisodes,
    train: NDArray[np.int64],
    held_out: NDArray[np.int64],
    weights: str,
) -> Readout:
    """Return the readout of every subset, fitted on `train` and scored on `held_out`.

    Raises:
        RunError: If the episodes do not say where the hole is.
    """
    fitting = pick(episodes, train, MAX_TRAIN)
    asking = pick(episodes, held_out, MAX_HELD_OUT)
    for name, records in (("training", fitting), ("held-out", asking)):
        if not np.isfinite(records.offset_m).all(axis=1).any():
            raise RunError(
                episodes.path or "", f"no {name} file says where the hole is (hole_pose attribute)"
            )
    train_z, test_z = latents.means(fitting), latents.means(asking)
    subsets, scores = {}, {}
    for subset, z in train_z.items():
        label = subset_name(subset)
        scores[label] = probe(z, fitting, test_z[subset], asking)
        subsets[label] = _linear(z, fitting, scores[label])
    return Readout(
        subsets=subsets,
        weights=weights,
        scores=scores,
        fitted={
            "data": episodes.path.parent.parent.name if episodes.path else "",
            "fingerprint": fingerprint(episodes),
            "train_records": len(fitting),
            "held_out_records": len(asking),
            "held_out_trajectories": len(np.unique(asking.trajectory)),
        },
    )


def _linear(z: Array, records: Records, scores: dict[str, Any]) -> LinearReadout:
    known = np.isfinite(records.offset_m).all(axis=1)
    offset_weights, offset_bias = _map_of(fit_offset(z[known], records.offset_m[known]))
    contact_weights, contact_bias = np.zeros((1, z.shape[1])), np.array([math.nan])
    if "missing" not in scores["contact"]:
        contact_weights, contact_bias = _map_of(fit_contact(z, records.contact))
    error = scores["offset"]["rmse_mm"]
    return LinearReadout(
        offset_weights=1e-3 * offset_weights,
        offset_bias=1e-3 * offset_bias,
        residual_m=1e-3 * np.array([error[axis] for axis in AXES]),
        contact_weights=contact_weights[0],
        contact_bias=float(contact_bias[0]),
    )


def _map_of(model: Pipeline) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (K, Z) and bias (K,) of standardising and a linear model in one."""
    scaler, linear = model[0], model[-1]
    weights = np.atleast_2d(linear.coef_) / scaler.scale_
    return weights, np.atleast_1d(linear.intercept_) - weights @ scaler.mean_


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
        found = {s: np.empty((len(records), runtime.manifest.latent_dim), "f4") for s in subsets}
        for row in range(len(records)):
            for m in runtime.modalities:
                runtime.observe(m.name, raw_sample(m, records.prepared[m.name][row]))
            for subset in subsets:
                found[subset][row] = runtime.posterior(subset).mean
        return found


def raw_sample(modality: Modality, prepared: NDArray[Any]) -> NDArray[Any]:
    """Return a prepared sample (*shape) in the raw layout that a sensor gives; see RAW_SAMPLE."""
    if modality.kind == "color_image":
        return prepared.transpose(1, 2, 0)
    if modality.is_image:
        return prepared[0]
    return prepared.T if modality.kind == "force_window" else prepared


def _episodes_of_run(run: Run, data: Path | None) -> PreparedEpisodes:
    if run.config.data.source != "episodes":
        raise RunError(run.path, f"is of {run.config.data.source}: only episodes have a hole")
    folder = data or Path(run.record.data_path)
    if not folder.is_dir():
        raise RunError(run.path, f"its data are no longer at {folder}: say where with --data")
    return prepare_episodes(folder, run.model_config.modalities, action=run.config.data.action)


def _parts_of_bundle(
    bundle: Bundle, data: Path | None
) -> tuple[PreparedEpisodes, NDArray[np.int64], NDArray[np.int64]]:
    """Return the episodes of a bundle and which records trained it and were held out."""
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
    episodes = prepare_episodes(data, bundle.manifest.modalities, action=training["action"])
    if fingerprint(episodes) != training["data_fingerprint"]:
        raise BundleError(bundle.path, f"was trained on other data than those in {data}")

    def of(names: Sequence[str]) -> NDArray[np.int64]:
        wanted = [episodes.trajectory_names.index(n) for n in names]
        return np.flatnonzero(np.isin(episodes.trajectory, wanted))

    return (
        episodes,
        of(training["train_trajectories"]),
        of(training["held_out_trajectories"]),
    )
