"""What training leaves of a method without a latent, calibrated, and how it sees the hole.

N records, M modality, K numbers of a target.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.closed_loop.baselines.networks import Concatenation, Router, Supervised
from benchmarks.tables.paired import ResultsError
from smvae_core.assistance.pose import Pose
from smvae_core.assistance.sighting import Sighting, sighting
from smvae_core.errors import SampleError, refusing
from smvae_core.estimate_calibration import ESTIMATES, EstimateCalibration
from smvae_core.estimates import Decoded, calibrated, over_draws
from smvae_core.files import write_bytes
from smvae_core.modality import subset_name
from smvae_core.preprocessing import normalise, prepare
from smvae_core.readout import Estimate
from smvae_datasets.simulation.closed_loop.failures import Samples
from smvae_training.calibrate.estimates import factors
from smvae_training.evaluate.predict import CHUNK
from smvae_training.evaluate.records import Records
from smvae_training.run import RunPaths, RunRecord, load_weights

#: Networks of the methods that are trained for targets alone.
NETWORKS: dict[str, type[Supervised]] = {
    "concat": Concatenation,
    "router": Router,
    "oracle": Concatenation,
}


def loaded(run: Path, method: str) -> tuple[Supervised, RunRecord]:
    """Return the trained network of a run folder, and its record.

    Raises:
        RunError: If there is none.
    """
    record = RunRecord.read(RunPaths(run).config)
    network = NETWORKS[method](record.config.model)
    load_weights(network, run)
    # twice as fast on a CPU, same numbers up to rounding
    return network.eval().to(memory_format=torch.channels_last), record  # type: ignore[call-overload]


@torch.inference_mode()
def decoded(network: Supervised, embeddings: Tensor, present: Tensor) -> dict[str, Decoded]:
    """Return each target of N records, before calibration."""
    found = network.tell(embeddings, present)
    return {
        t.name: over_draws(t, *(part.double().numpy()[None] for part in found[t.name]))
        for t in network.config.targets
    }


@torch.inference_mode()
def calibrate(run: Path, method: str, records: Records, subsets: Sequence[tuple[str, ...]]) -> None:
    """Fit the factors of the deviations of each subset as ours are, and write them into the run.

    Args:
        run: Folder of a trained run.
        method: Which one.
        records: Held out.
        subsets: That the network is asked for.
    """
    network, record = loaded(run, method)
    modalities, statistics = network.config.modalities, record.statistics
    used = torch.tensor([any(m.name in s for s in subsets) for m in modalities])
    inputs = {m.name: torch.from_numpy(records.inputs(m, statistics[m.name])) for m in modalities}
    parts = []
    for first in range(0, len(records), CHUNK):
        batch = {name: x[first : first + CHUNK] for name, x in inputs.items()}
        count = min(CHUNK, len(records) - first)
        parts.append(network.embed(batch, used.expand(count, -1)))
    every = torch.cat(parts)
    found = {}
    for subset in subsets:
        present = torch.tensor([m.name in subset for m in modalities]).expand(len(every), -1)
        told = decoded(network, every.where(present.unsqueeze(2), 0.0), present)
        found[subset_name(subset)] = {
            t.name: factors(t, told[t.name], records.targets[t.name])
            for t in network.config.targets
        }
    about = {"method": method, "records": len(records), "groups": len(np.unique(records.group))}
    calibration = EstimateCalibration(subsets=found, names=network.names, fitted=about)
    write_bytes(run / ESTIMATES, calibration.to_bytes())


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One network, calibrated for some subsets."""

    network: Supervised
    record: RunRecord
    calibration: EstimateCalibration

    @classmethod
    def load(cls, run: Path) -> Trained:
        """Load a run that `calibrate` has seen.

        Raises:
            RunError: If it has no weights.
        """
        path = run / ESTIMATES
        calibration = EstimateCalibration.parse(path.read_bytes(), path)
        network, record = loaded(run, calibration.fitted["method"])
        return cls(network=network, record=record, calibration=calibration)

    @torch.inference_mode()
    def tell(self, inputs: dict[str, Tensor]) -> dict[str, Estimate]:
        """Return what the sensors tell of each target, by network inputs (1, *shape)."""
        names = tuple(inputs)
        present = torch.tensor([[name in names for name in self.network.names]])
        told = decoded(self.network, self.network.embed(inputs, present), present)
        return {
            t.name: calibrated(
                t,
                told[t.name].value[0],
                told[t.name].covariance[0],
                self.calibration.factor(names, t.name),
                subset_name(names),
            )
            for t in self.network.config.targets
        }


class Supervision:
    """Sees by networks that are trained for the targets; of each subset by the one that knows it.

    It never refuses: without a latent there is no novelty.
    """

    assisted = True
    perceives = True
    flagged = False

    def __init__(self, folder: Path) -> None:
        """Load every run in a folder.

        Raises:
            ResultsError: If there is none.
        """
        self._trained = [Trained.load(path.parent) for path in _files(folder)]

    def begin(self) -> None:
        """Begin another attempt: nothing is kept from one moment to the next."""

    def see(self, samples: Samples, tip: Pose, hole: Pose) -> Sighting | None:
        """Return where the hole is, as `Latents` does: of the set of what is delivered."""
        inputs = self._inputs(samples)
        if not inputs:
            return None
        label = subset_name(tuple(inputs))
        for trained in self._trained:
            if label in trained.calibration.subsets:
                return sighting(trained.tell(inputs), tip)
        known = ", ".join(s for t in self._trained for s in t.calibration.subsets)
        raise ResultsError(f"no network for {label} was trained: have {known}")

    def _inputs(self, samples: Samples) -> dict[str, Tensor]:
        """Return network inputs (1, *shape) of what is a sample, in the model's order."""
        trained, found = self._trained[0], {}
        for modality in trained.network.config.modalities:
            if (name := modality.name) not in samples:
                continue
            try:
                with refusing(name):
                    ready = prepare(modality, samples[name])
                    x = normalise(modality, trained.record.statistics[name], ready)
            except SampleError:
                continue
            found[name] = torch.from_numpy(x[None])
        return found


def identity_of_runs(folder: Path) -> str:
    """Return the hash of all runs in a folder: weights and calibrations.

    Raises:
        ResultsError: If there is none.
    """
    digest = hashlib.sha256()
    for path in _files(folder):
        digest.update(RunPaths(path.parent).weights.read_bytes() + path.read_bytes())
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.rglob(ESTIMATES))
    if not found:
        raise ResultsError(
            f"{folder}: neither a bundle nor made by benchmarks.closed_loop.train: no {ESTIMATES}"
        )
    return found
