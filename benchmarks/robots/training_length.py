"""How far preset `robot` gets in its planned steps, with and without further augmentation.

    python -m benchmarks.robots.training_length EPISODES --run planned --run longer --run augmented

Each run trains on the same 10,000 recorded steps and is scored on trajectories that none has seen:
squared error of images, mean over all subsets, per trajectory. It is scored once more observing
them as another day would give them, images shifted and darker, windows biased: the truth stays.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import status_of
from benchmarks.robots.missing_records import errors, mean_ratio
from smvae_core.errors import ConfigError
from smvae_core.modality import Modality
from smvae_core.preprocessing import measure_statistics
from smvae_core.presets import vision_touch
from smvae_datasets.vision_touch.prepared import PreparedEpisodes, prepare_episodes
from smvae_training.config import AugmentConfig, TrainConfig
from smvae_training.robot_preset import explain, robot
from smvae_training.run import RunPaths, write_text
from smvae_training.trainer import train_on

RESULTS = Path(__file__).parents[1] / "results" / "training_length.json"
RECORDED, LONGER = 10_000, 3
#: What cameras that are touched, lights that change and sensors that drift do.
MODERATE = AugmentConfig(
    crop=0.03, color=0.1, holes=0.1, bias=0.1, noise=0.05, lost=0.25, delay=0.1
)
#: Run -> (how many times the planned steps, augmentation in place of the preset's).
RUNS: dict[str, tuple[int, AugmentConfig | None]] = {
    "planned": (1, None),
    "plain": (1, AugmentConfig()),
    "augmented": (1, MODERATE),
    "longer": (LONGER, None),
    "longer augmented": (LONGER, MODERATE),
}


def another_day(data: PreparedEpisodes) -> PreparedEpisodes:
    """Return the records as a camera that was touched and a sensor that drifted would give them."""
    return replace(data, arrays={m.name: _changed(m, data.arrays[m.name]) for m in data.sensors})


def _changed(modality: Modality, values: NDArray[Any]) -> NDArray[Any]:
    if modality.is_image:
        values = np.roll(values, max(1, modality.shape[-1] // 50), axis=3)
        return (values * 0.9).astype(np.uint8) if values.dtype == np.uint8 else values
    if modality.family.is_window:
        scale = np.array(measure_statistics(modality, values).scale, np.float32)
        return np.asarray(values + 0.1 * scale[:, None], np.float32)
    return values


def measure(
    config: TrainConfig, seen: PreparedEpisodes, unseen: PreparedEpisodes
) -> dict[str, dict[str, list[float]]]:
    """Return condition -> image -> error of each unseen trajectory, mean over subsets."""
    rows = np.arange(len(unseen))
    with tempfile.TemporaryDirectory() as folder:
        run = train_on(config, seen, RunPaths(Path(folder) / "run"), None, "benchmark")
        return {
            name: {
                image: np.mean(list(subsets.values()), axis=0).tolist()
                for image, subsets in errors(run, unseen, rows, observed).items()
            }
            for name, observed in (("same", unseen), ("another day", another_day(unseen)))
        }


def ratios(found: dict[str, Any]) -> dict[str, Any]:
    """Return the error of each run over that of `planned`, paired by trajectory."""
    base = found["planned"]["errors"]
    return {
        name: {
            condition: {image: mean_ratio(e, base[condition][image]) for image, e in images.items()}
            for condition, images in run["errors"].items()
            if condition in base
        }
        for name, run in found.items()
        if name != "planned"
    }


def begun(out: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `out` holds, or results without a run.

    Raises:
        ConfigError: If its runs are of other settings or records.
    """
    if not out.is_file():
        return {**about, "runs": {}}
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    if other := [name for name, value in about.items() if found.get(name) != value]:
        raise ConfigError(f"{out} holds runs of other {', '.join(other)}: give another --out")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of episodes")
    parser.add_argument("--side", type=int, default=64, help="of the images [px]")
    parser.add_argument("--base-channels", type=int, default=0, help="0 = the preset's")
    parser.add_argument("--steps", type=int, default=0, help="planned steps; 0 = the preset's")
    parser.add_argument("--run", action="append", choices=[*RUNS], help="may be repeated")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON file, added to")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = robot(vision_touch(arguments.side))
    if arguments.base_channels:
        model = replace(config.model, base_channels=arguments.base_channels)
        config = replace(config, model=model)
    config = replace(config, log=replace(config.log, tensorboard=False))
    config = replace(config, max_steps=arguments.steps or config.max_steps)
    data = prepare_episodes(arguments.data, config.model.modalities)
    first = int(data.group[min(RECORDED, len(data) - 1)])
    seen = data.take(np.flatnonzero(data.group < first))
    unseen = data.take(np.flatnonzero(data.group >= first))
    out: Path = arguments.out
    about = {
        "side": arguments.side,
        "base_channels": config.model.base_channels,
        "records": {"seen": len(seen), "unseen": len(unseen)},
        "settings": [*explain(config)],
    }
    for name in arguments.run or RUNS:
        times, augment = RUNS[name]
        settings = replace(
            config, max_steps=times * config.max_steps, augment=augment or config.augment
        )
        results = begun(out, about)
        done = measure(settings, seen, unseen)
        results["runs"][name] = {"steps": settings.max_steps, "errors": done}
        if "planned" in results["runs"]:
            results["ratio_to_planned"] = ratios(results["runs"])
        write_text(out, json.dumps(results, indent=1) + "\n")
        print(name, json.dumps({c: {i: np.mean(e) for i, e in v.items()} for c, v in done.items()}))


if __name__ == "__main__":
    sys.exit(status_of("benchmarks.robots.training_length", main))
