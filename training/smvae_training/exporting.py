"""Run folder -> bundle: where the weights come from, what is calibrated, and the readout."""

from __future__ import annotations

import copy
import json
import logging
import shlex
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from smvae_core.bundle import Bundle, sha256_of
from smvae_core.errors import SMVAEError
from smvae_core.estimate_calibration import EstimateCalibration
from smvae_core.model.export import export_bundle
from smvae_core.model_card import MEASURES
from smvae_core.novelty.scale import Novelty
from smvae_core.novelty.suspicion import Suspicion
from smvae_core.readout import READOUT, Readout
from smvae_core.robot import Robot
from smvae_core.subsets import FEW_SENSORS
from smvae_datasets.dataset import Dataset
from smvae_datasets.recordings.folder import holds_episodes, read_declaration
from smvae_datasets.sources import prepare_source
from smvae_training.calibrate.eight_bits import in_eight_bits
from smvae_training.calibrate.estimates import MAX_RECORDS as MAX_ESTIMATED
from smvae_training.calibrate.estimates import calibrate_estimates
from smvae_training.calibrate.novelty import MAX_RECORDS, NotCalibrated, calibrate
from smvae_training.calibrate.remembering import Recalled, recall
from smvae_training.calibrate.suspicion import NoSequences, Sequences, calibrate_suspicion
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.records import Records
from smvae_training.evaluate.results import RESULTS, headline
from smvae_training.run import Run, RunError, RunPaths, load_run
from smvae_training.steps.self_supervised import with_self_supervised

logger = logging.getLogger(__name__)

T = TypeVar("T")


def export_run(
    run: Path,
    out: Path,
    name: str = "smvae",
    data: Path | None = None,
    robot: Robot | None = None,
    *,
    int8: bool = False,
) -> Path:
    """Write the bundle of a run and return its folder.

    The novelty score, suspicion, and what the model says of its targets are calibrated on the run's
    held-out records. Where they cannot be found a line of the log says so, and the bundle has none.

    Args:
        run: Folder of `smvae train`.
        out: Folder of the bundle.
        name: Name shown by the node.
        data: Where the data of the run are; where training found them by default.
        robot: Whose sensors they are; the bundle carries it, and a node starts by it. None = that
            of the folder of episodes that the run was trained on, where there is one.
        int8: Compute linear layers of image embeddings in 8 bits, held to held-out records.

    Raises:
        NotCalibrated: If `int8` is asked for and the run's data cannot be found.
        RunError: If `run` holds no trained model, or `data` are not its data.
        ConfigError: If the robot has other sensors than the model, or `int8` changes too much:
            the bundle is then in float32.
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
        "train_trajectories": list(record.train_trajectories),
        "held_out_trajectories": list(record.held_out_trajectories),
        "weights": sha256_of(RunPaths(run).weights),
        "versions": record.versions,
    }
    if record.config.data.self_supervised:
        training["self_supervised"] = list(record.config.data.self_supervised)
    if measured := _measures(loaded):
        training[MEASURES] = measured
    records = _held_out(loaded, data)[0] if int8 else None  # before anything is written
    written = export_bundle(
        loaded.model,
        loaded.statistics,
        out,
        name=name,
        training=training,
        novelty=_unless_gone(loaded, data, "novelty is", calibrate_run),
        suspicion=_unless_gone(loaded, data, "suspicion is", calibrate_suspects),
        readout=_readout(loaded, training["weights"]),
        robot=robot or _declared(loaded, data),
        estimates=_unless_gone(loaded, data, "estimates are", calibrate_targets)
        if loaded.model_config.targets
        else None,
    )
    if records is not None:
        in_eight_bits(loaded, Bundle.load(written), records)
    return written


def _measures(run: Run) -> dict[str, Any] | None:
    """Return what `smvae evaluate` found of these very weights, for the card of the model."""
    path = RunPaths(run.path).evaluation / RESULTS
    if not path.is_file():
        return None
    results = json.loads(path.read_text(encoding="utf-8"))
    if "ratios" not in results or results["training"]["step"] != run.record.step:
        return None  # of an image set, or of the weights before
    what, subsets = headline(results)
    return {"what": what[0].upper() + what[1:], "subsets": subsets}


def _declared(run: Run, data: Path | None) -> Robot | None:
    """Return the robot of a run's episodes, with the sensors as they were trained."""
    folder = data or Path(run.record.data_path)
    if not holds_episodes(folder):
        return None
    robot = read_declaration(folder)
    trained = {m.name: m for m in run.model_config.modalities}
    sensors = (replace(s, modality=trained.get(s.name, s.modality)) for s in robot.sensors)
    return replace(robot, sensors=tuple(sensors))


class DataGone(NotCalibrated):
    """The run's data are not where training found them, or no longer what they were."""


def _unless_gone(
    run: Run, data: Path | None, what: str, calibrate: Callable[[Run, Path | None], T]
) -> T | None:
    """Return what was calibrated, or None after saying why it was not.

    What was given by hand has to fit; what is only remembered may be gone.
    """
    try:
        return calibrate(run, data)
    except NotCalibrated as err:
        if data is not None and not isinstance(err, NoSequences):
            raise
        again = ""
        if isinstance(err, DataGone):
            again = f"; `smvae export {shlex.quote(str(run.path))} BUNDLE --data DIR` does it"
        logger.warning("%s not calibrated: %s%s", what, err, again)
        return None


def calibrate_run(run: Run, data: Path | None = None) -> Novelty:
    """Calibrate the novelty score on the held-out records of a run.

    Args:
        run: A trained run.
        data: Where its data are; where training found them by default.

    Raises:
        NotCalibrated: If they cannot be found, or hold too few records.
        RunError: If `data` are other data.
    """
    records, held_out, about = _held_out(run, data)
    return calibrate(
        copy.deepcopy(run.model),  # evaluation lays weights out anew
        run.statistics,
        Records.of(records, held_out, MAX_RECORDS),
        data=about,
    )


def calibrate_targets(run: Run, data: Path | None = None) -> EstimateCalibration:
    """Calibrate what a run says of its targets on its held-out records.

    Args:
        run: A trained run whose model has targets.
        data: As of `calibrate_run`.

    Raises:
        NotCalibrated: If they cannot be found.
        RunError: If `data` are other data.
    """
    records, index, about = _held_out(run, data)
    held_out = Records.of(records, index, MAX_ESTIMATED)
    predictor = Predictor(copy.deepcopy(run.model), run.statistics, held_out)
    recalled: Iterable[Recalled] = ()
    if run.model_config.memory is not None and len(predictor.model.names) <= FEW_SENSORS:
        recalled = recall(predictor.model, run.statistics, records, index)
    return calibrate_estimates(predictor, held_out, about, recalled)


def calibrate_suspects(run: Run, data: Path | None = None) -> Suspicion:
    """Calibrate on the held-out sequences of a run which of its sensors are suspect.

    Args:
        run: A trained run.
        data: As of `calibrate_run`.

    Raises:
        NotCalibrated: If they cannot be found, or are no sequences (`NoSequences`).
        RunError: If `data` are other data.
    """
    records, held_out, _ = _held_out(run, data)
    sequences = Sequences.of(records, held_out)
    return calibrate_suspicion(copy.deepcopy(run.model), run.statistics, sequences)


def _held_out(run: Run, data: Path | None) -> tuple[Dataset, NDArray[np.int64], dict[str, Any]]:
    """Return the data of a run, the index of its held-out records, and what they are.

    Raises:
        DataGone: If they cannot be found.
        RunError: If `data` are other data.
    """
    config, recorded = run.config, Path(run.record.data_path)
    if data is None and config.data.source != "episodes":
        raise DataGone(f"image sets ({config.data.source}) are not looked for")
    if data is None and not recorded.is_dir():
        raise DataGone(f"the run's data are no longer at {recorded}")
    folder = data or recorded
    try:
        records = prepare_source(
            config.data.source,
            folder,
            config.model.modalities,
            action=config.data.action,
            binarised=config.data.binarised,
        )
        held_out = run.split(records).held_out
    except SMVAEError as err:
        if data is not None:
            raise
        raise DataGone(str(err)) from err
    about = {"data": folder.name, "fingerprint": run.record.data_fingerprint}
    return with_self_supervised(config, records), held_out, about


def _readout(run: Run, weights: object) -> Readout | None:
    """Return the readout that `smvae readout RUN` left in the run, if it is of these weights."""
    path = run.path / READOUT
    if not path.is_file():
        return None
    readout = Readout.read(path)
    if readout.weights != weights:
        again = shlex.join(["smvae", "readout", str(run.path)])
        raise RunError(run.path, f"{READOUT} is of other weights: run `{again}` again")
    return readout
