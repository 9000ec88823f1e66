"""Fit the linear readout of a model's latents: every target of its data, one map per subset.

Fitted on training records, scored on held-out ones; the same regressions as the report's linear
probes. N records, Z latent.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smvae_core.bundle import MANIFEST, Bundle, add_readout, sha256_of
from smvae_core.errors import BundleError
from smvae_core.modality import all_subsets, subset_name
from smvae_core.presence import features, fit_linear
from smvae_core.readout import READOUT, LinearMap, PresenceMap, Quantity, Readout
from smvae_core.runtime import Runtime
from smvae_core.subsets import FEW_SENSORS
from smvae_datasets.dataset import Dataset
from smvae_datasets.sources import WITH_TARGETS, prepare_source
from smvae_training.evaluate import probe
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Array, Records
from smvae_training.run import Run, RunError, RunPaths, load_run
from smvae_training.steps.data import fingerprint
from smvae_training.steps.subsets import Rows, subset_rows

logger = logging.getLogger(__name__)

#: Records used at most of each side, every k-th.
MAX_TRAIN, MAX_HELD_OUT = 4000, 1500
#: Pairs of a record and a subset that a function of the presence vector is fitted to.
TRAIN_ROWS, HELD_OUT_ROWS = 12000, 6000
#: Size that 90 % of standard normal numbers stay below.
NORMAL_90 = 1.645


class Latents(Protocol):
    """Posterior means of some records."""

    def means(self, subset: tuple[str, ...]) -> Array:
        """Return (N, Z) of a subset, NaN where the record does not hold all of it."""

    def of_rows(self, rows: Rows) -> Array:
        """Return (R, Z) of pairs of a record and a subset."""


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
        runtime = Runtime(bundle)
        source = partial(_BundleLatents, runtime)
        readout = fit(source, runtime.manifest.names, records, (train, held_out), weights)
        return readout, add_readout(bundle, readout).path / READOUT
    run = load_run(target)
    records = _data_of_run(run, data)
    parts = run.split(records)
    weights = sha256_of(RunPaths(target).weights)
    of_both = (parts.train, parts.held_out)
    readout = fit(partial(_RunLatents, run), run.model.names, records, of_both, weights)
    readout.write(target / READOUT)
    return readout, target / READOUT


def fit(
    latents: Callable[[Records], Latents],
    names: tuple[str, ...],
    data: Dataset,
    parts: tuple[NDArray[np.int64], NDArray[np.int64]],
    weights: str,
) -> Readout:
    """Return the readout of every target, fitted on training records, scored on held-out ones.

    A map per subset up to `FEW_SENSORS`. Beyond, and where too few records hold a subset, a
    function of the presence vector. A target that cannot be fitted has no readout.

    Args:
        latents: Gives the latents of records.
        names: Of the model's modalities.
        data: All records.
        parts: Which of them to train on, and which to score on.
        weights: SHA-256 of the weights.

    Raises:
        RunError: If no target can be fitted.
    """
    fitting, asking = (
        Records.of(data, index, limit)
        for index, limit in zip(parts, (MAX_TRAIN, MAX_HELD_OUT), strict=True)
    )
    train_z, test_z = latents(fitting), latents(asking)
    maps: dict[str, dict[str, LinearMap]] = {}
    scores: dict[str, dict[str, Any]] = {}
    missing: dict[str, str] = {}
    for subset in all_subsets(names) if len(names) <= FEW_SENSORS else ():
        found, scored = _of_subset(train_z.means(subset), fitting, test_z.means(subset), asking)
        maps[subset_name(subset)], scores[subset_name(subset)] = found, scored
        missing |= {n: s["missing"] for n, s in scored.items() if "missing" in s}
    general: dict[str, PresenceMap] = {}
    if not maps or (missing and not _recorded(fitting, names).all()):
        general, missing = _of_any_subset(train_z, fitting, test_z, asking, names)
        maps = {label: found for label, found in maps.items() if found.keys() >= general.keys()}
        scores = scores or _scores(general, test_z, asking, names)
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
        names=names,
        any_subset=general,
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


def _of_any_subset(
    train_z: Latents, fitting: Records, test_z: Latents, asking: Records, names: tuple[str, ...]
) -> tuple[dict[str, PresenceMap], dict[str, str]]:
    """Return the function of every target that can be fitted, and why the others cannot.

    The inputs of a regression are the latent and 1, each times every feature of the presence
    vector. The residual's logarithm is linear in these features; its level is such that 90 % of the
    held-out errors lie within 1.645 of it.
    """
    rows = subset_rows(_recorded(fitting, names), names, TRAIN_ROWS, seed=1)
    held = subset_rows(_recorded(asking, names), names, HELD_OUT_ROWS, seed=2)
    inputs, asked = (_crossed(z.of_rows(r), r) for z, r in ((train_z, rows), (test_z, held)))
    maps: dict[str, PresenceMap] = {}
    missing: dict[str, str] = {}
    for name, target in fitting.targets.items():
        truth = asking.targets[name].take(held.record)
        usable = probe.usable(truth, asked)
        try:
            weights, bias = probe.fit(name, target.take(rows.record), inputs)
        except probe.NoProbe as err:
            missing[name] = str(err)
            continue
        if usable.sum() < 2:
            missing[name] = f"fewer than two held-out records tell '{name}'"
            continue
        count = features(rows.present).shape[1]
        crossed = weights.reshape(len(bias), count, -1).swapaxes(0, 1)
        of_one = crossed[:, :, -1].copy()
        of_one[0] += bias  # the first feature is 1
        log_residual = np.zeros_like(of_one)
        if not target.binary:
            error = np.abs(probe.predict(asked, weights, bias)[usable] - truth.values[usable])
            log_residual = _log_residual(features(held.present[usable]), error)
        maps[name] = PresenceMap(weights=crossed[:, :, :-1], bias=of_one, log_residual=log_residual)
    return maps, missing


def _recorded(records: Records, names: tuple[str, ...]) -> NDArray[np.bool_]:
    return np.stack([records.holding([name]) for name in names], axis=1)


def _crossed(z: Array, rows: Rows) -> Array:
    """Return every feature of the presence vector times every number of (z, 1): (R, F (Z + 1))."""
    with_one = np.concatenate([z, np.ones((len(z), 1), z.dtype)], axis=1)
    crossed = features(rows.present)[:, :, None] * with_one[:, None, :]
    return crossed.reshape(len(z), -1).astype(np.float32)


def _log_residual(known: NDArray[np.float64], error: NDArray[Any]) -> NDArray[np.float64]:
    """Return the weights (F, K) of the log residual of absolute errors (R, K)."""
    floor = 1e-3 * error.mean(axis=0) + 1e-12
    weights = fit_linear(known, np.log(error + floor), 1.0)
    level = np.quantile(error / np.exp(known @ weights), 0.9, axis=0) / NORMAL_90
    weights[0] += np.log(np.maximum(level, 1e-12))
    return weights


def _scores(
    general: Mapping[str, PresenceMap], z: Latents, asking: Records, names: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """Return the held-out scores of single sensors, of all but one, and of all."""
    rest = [tuple(n for n in names if n != name) for name in names]
    scores: dict[str, dict[str, Any]] = {}
    for subset in [*((name,) for name in names), *rest, names]:
        mean, present = z.means(subset), np.array([n in subset for n in names])
        scores[subset_name(subset)] = {
            name: probe.scored(name, asking.targets[name], function.of(present), mean)
            for name, function in general.items()
        }
    return scores


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

    def __init__(self, run: Run, records: Records) -> None:
        model = copy.deepcopy(run.model)  # evaluation lays weights out anew
        self._predictor = Predictor(model, run.statistics, records)

    def means(self, subset: tuple[str, ...]) -> Array:
        return np.asarray(self._predictor.posterior(subset).mean.numpy())

    def of_rows(self, rows: Rows) -> Array:
        return np.asarray(self._predictor.posterior_of_rows(*rows).mean.numpy())


class _BundleLatents:
    """Of the bundle's graphs, one record at a time, as a robot does it."""

    def __init__(self, runtime: Runtime, records: Records) -> None:
        self._runtime, self._records = runtime, records
        self._known: dict[tuple[str, ...], Array] = {}

    def means(self, subset: tuple[str, ...]) -> Array:
        names, count = self._runtime.manifest.names, len(self._records)
        if subset not in self._known:  # of few sensors all at once: embedding costs the most
            asked = all_subsets(names) if len(names) <= FEW_SENSORS else [subset]
            record = np.tile(np.arange(count), len(asked))
            present = np.repeat([[n in s for n in names] for s in asked], count, axis=0)
            held = (present <= _recorded(self._records, names)[record]).all(axis=1)
            z = np.full((len(record), self._runtime.manifest.latent_dim), np.nan, np.float32)
            z[held] = self.of_rows(Rows(record[held], present[held]))
            self._known |= dict(zip(asked, z.reshape(len(asked), count, -1), strict=True))
        return self._known[subset]

    def of_rows(self, rows: Rows) -> Array:
        runtime = self._runtime
        names = np.array(runtime.manifest.names)
        found = np.empty((len(rows.record), runtime.manifest.latent_dim), np.float32)
        for record in np.unique(rows.record):
            at = np.flatnonzero(rows.record == record)
            asked = set(names[rows.present[at].any(axis=0)])
            for m in runtime.modalities:
                if m.name in asked:
                    sample = self._records.prepared[m.name][record]
                    runtime.observe(m.name, sample, prepared=True)
            for row in at:
                found[row] = runtime.posterior(tuple(names[rows.present[row]])).mean
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
