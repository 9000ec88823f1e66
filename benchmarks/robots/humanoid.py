"""What joints tell of a camera's image: our model beside a supervised network of equal training.

    python -m benchmarks.robots.humanoid EPISODES --runs RUNS

Both have the same networks, data, steps and optimiser. The supervised one is trained for nothing
but the camera's image from the joints: embedding, set encoder and decoder, without noise in the
latent and without the divergence from the prior; what it observes is augmented alike. Scored on
held-out episodes: squared error of the image over that of the training mean image, paired by
episode. Given again after Ctrl-C, it goes on from the checkpoints in RUNS.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.files import write_text
from smvae_core.modality import find
from smvae_core.model.objective import ElboTerms, ObjectiveConfig
from smvae_core.model.smvae import SMVAE
from smvae_datasets.dataset import Dataset
from smvae_datasets.recordings.folder import read_declaration
from smvae_training.config import TrainConfig
from smvae_training.evaluate.baselines import training_mean
from smvae_training.evaluate.measures import squared_error
from smvae_training.evaluate.predict import Predictor
from smvae_training.evaluate.ratios import Ratio, paired_ratio
from smvae_training.evaluate.records import Records
from smvae_training.hardware import source_version, versions
from smvae_training.resume import check_folder
from smvae_training.robot_preset import explain, robot
from smvae_training.run import RunPaths, load_run, split_episodes
from smvae_training.trainer import Build, build_smvae, prepare_data, train_on

RESULTS = Path(__file__).parents[1] / "results" / "humanoid.json"
MAX_RECORDS = 1500
#: What another trial on all 93 episodes of the source reached from the camera and from 4 joints.
TRIAL = {"camera": 0.245, "joints": 0.879}
#: Ours from joints at most so many times the supervised network's error.
SUPERVISED_LIMIT = 1.1


def supervised(camera: str, joints: str) -> Build:
    """Return the same networks, to be trained for the image's squared error from the joints."""

    def objective(
        model: SMVAE,
        batch: Mapping[str, Tensor],
        recorded: Tensor,
        present: Tensor,
        beta: float,
        config: ObjectiveConfig,
        generator: torch.Generator | None = None,
        observed: Mapping[str, Tensor] | None = None,
    ) -> ElboTerms:
        seen = batch if observed is None else observed
        column = model.names.index(joints)
        rows = recorded[:, [column, model.names.index(camera)]].all(dim=1).nonzero().squeeze(1)
        only = torch.zeros_like(recorded[rows])
        only[:, column] = True
        z = model.encode({joints: seen[joints][rows]}, only).mean
        drawn = model.reconstruct(z, [camera])[camera]
        loss = (drawn - batch[camera][rows].float()).square().sum(dim=(1, 2, 3)).mean()
        zero = loss.new_zeros(())
        return ElboTerms(loss=loss, elbo=-loss.detach(), kl=zero, log_likelihood={})

    return lambda config: (SMVAE(config.model), objective)


def ratios(
    run: Path, data: Dataset, held_out: NDArray[np.int64], train: NDArray[np.int64], camera: str
) -> dict[str, Ratio]:
    """Return subset -> error of the image over the mean image's, of single sensors and of all."""
    loaded = load_run(run)
    modality = find(loaded.model_config.modalities, camera)
    records = Records.of(data, held_out, MAX_RECORDS)
    truth = records.truth(modality)
    mean = training_mean(modality, data, train, MAX_RECORDS).mean
    (reference,) = squared_error(modality, truth, np.broadcast_to(mean, truth.shape))
    predictor = Predictor(loaded.model, loaded.statistics, records)
    found = {}
    names = loaded.model.names
    for subset in [*((name,) for name in names), names]:
        drawn = predictor.reconstruct(camera, predictor.posterior(subset).mean)
        (error,) = squared_error(modality, truth, drawn)
        rows = records.holding([camera, *subset])
        found["+".join(subset)] = paired_ratio(error, reference, records.group, rows)
    return found


def compare(
    config: TrainConfig, data: Dataset, folder: Path, camera: str, joints: str
) -> dict[str, Any]:
    """Train both in `folder` and return the ratios of each, and whether they hold."""
    about = {"code": source_version(), "versions": versions(), "settings": explain(config)}
    parts = split_episodes(config, data)
    found = {}
    for name, build in (("smvae", build_smvae), ("supervised", supervised(camera, joints))):
        paths = RunPaths(folder / name)
        old = check_folder(paths, config, resume=paths.config.is_file(), overwrite=False)
        run = train_on(config, data, paths, old, "benchmark", build=build)
        found[name] = ratios(run, data, parts.held_out, parts.train, camera)
    ours, theirs = found["smvae"], found["supervised"][joints]
    return {
        **about,
        "steps": config.max_steps,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "records": len(data),
        "held_out_episodes": ours[camera].trajectories,
        "smvae": {subset: asdict(ratio) for subset, ratio in ours.items()},
        "supervised": asdict(theirs),
        "joints_over_supervised": ours[joints].mean / theirs.mean,
        "holds": {
            "camera": ours[camera].mean + 2 * ours[camera].standard_error < TRIAL["camera"],
            "joints": ours[joints].mean + 2 * ours[joints].standard_error < TRIAL["joints"],
            "supervised": ours[joints].mean <= SUPERVISED_LIMIT * theirs.mean,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of episodes, see `smvae episodes`")
    parser.add_argument("--camera", default="cam_high", help="sensor whose image is drawn")
    parser.add_argument("--joints", default="joints", help="sensor that it is drawn from")
    parser.add_argument("--steps", type=int, default=0, help="of each; 0 = preset robot's")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the two runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON file to write")
    arguments = parser.parse_args()
    config = robot(read_declaration(arguments.data).modalities)
    config = replace(
        config,
        max_steps=arguments.steps or config.max_steps,
        log=replace(config.log, tensorboard=False),
    )
    data = prepare_data(config, arguments.data)
    results = compare(config, data, arguments.runs, arguments.camera, arguments.joints)
    write_text(arguments.out, json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
