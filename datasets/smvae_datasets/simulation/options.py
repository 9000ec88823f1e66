"""What `smvae simulate` can be told, and the settings a folder of episodes is bound to."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from smvae_core.files import write_text
from smvae_datasets.simulation.cell import VARIATIONS
from smvae_datasets.simulation.errors import SettingsMismatch, UnknownSetting
from smvae_datasets.vision_touch.files import STEPS_PER_FILE

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other episodes than before."""
STEP_S = 0.05
SETTINGS_FILE = "dataset.json"

PRESETS: dict[str, tuple[int, int]] = {"demo": (60, 250), "vision_touch": (150, 1000)}
"""Preset -> episodes, steps per episode."""


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """Simulate peg insertion and write Vision&Touch files; run again to resume."""

    out: Path
    """Folder for the episodes; made if missing. Finished episodes in it are kept."""
    preset: Literal["demo", "vision_touch"] = "demo"
    """Size: demo is 60 episodes of 250 steps, vision_touch 150 of 1000 as in the real set."""
    episodes: int | None = None
    """Number of episodes; the preset's if not given."""
    steps: int | None = None
    """Steps of 50 ms per episode, a multiple of 50; the preset's if not given."""
    seed: int = 0
    """Fixes everything: the same seed gives the same arrays, whatever the number of workers."""
    workers: int = max(1, min(os.cpu_count() or 1, 8))
    """Processes that simulate at the same time; about 100 steps per second each."""
    variation: Literal["cell", "wide"] = "cell"
    """cell: one lab cell, hole within 2 cm and 0.3 rad, colours within a few per cent. wide: all of
    it widened, colours at random."""
    progress: bool = True
    """Show a progress bar and print the summary."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UnknownSetting("preset", self.preset, "one of " + ", ".join(map(repr, PRESETS)))
        if self.variation not in VARIATIONS:
            raise UnknownSetting(
                "variation", self.variation, "one of " + ", ".join(map(repr, VARIATIONS))
            )
        if self.num_episodes < 1:
            raise UnknownSetting("episodes", self.num_episodes, "1 or more")
        if self.num_steps < 1 or self.num_steps % STEPS_PER_FILE:
            raise UnknownSetting("steps", self.num_steps, f"a multiple of {STEPS_PER_FILE}")
        if self.workers < 1:
            raise UnknownSetting("workers", self.workers, "1 or more")
        if self.seed < 0:
            raise UnknownSetting("seed", self.seed, "0 or more")

    @property
    def num_episodes(self) -> int:
        """Episodes, from the option or the preset."""
        return PRESETS[self.preset][0] if self.episodes is None else self.episodes

    @property
    def num_steps(self) -> int:
        """Steps per episode, from the option or the preset."""
        return PRESETS[self.preset][1] if self.steps is None else self.steps

    @property
    def settings(self) -> dict[str, Any]:
        """What fixes the arrays of every episode in the folder."""
        cell = resources.files("smvae_datasets.simulation").joinpath("cell.xml").read_bytes()
        return {
            "generator_version": GENERATOR_VERSION,
            "cell_sha256": hashlib.sha256(cell).hexdigest(),
            "seed": self.seed,
            "variation": self.variation,
            "steps": self.num_steps,
            "step_s": STEP_S,
        }


def claim_folder(options: SimulateOptions) -> None:
    """Bind `options.out` to these settings, or check that it already is.

    More episodes than before extend the folder; fewer, or any other difference, do not fit it.

    Raises:
        SettingsMismatch: If the folder was made with other settings, or by something else.
    """
    path = options.out / SETTINGS_FILE
    wanted = options.settings | {"episodes": options.num_episodes}
    options.out.mkdir(parents=True, exist_ok=True)
    if path.exists():
        try:
            there = json.loads(path.read_text())
        except json.JSONDecodeError as err:
            raise SettingsMismatch(path, {"contents": (str(err), "JSON")}) from err
        differing = {
            name: (there.get(name), value)
            for name, value in wanted.items()
            if (value < there.get(name, 0) if name == "episodes" else there.get(name) != value)
        }
        if differing:
            raise SettingsMismatch(options.out, differing)
    elif foreign := sorted(options.out.glob("*_1000.h5")):
        raise SettingsMismatch(
            options.out, {SETTINGS_FILE: (f"missing, but {foreign[0].name}", "ours")}
        )
    for remnant in options.out.glob(".sim_s*.part"):  # of a run that was killed
        remnant.unlink(missing_ok=True)
    write_text(path, json.dumps(wanted, indent=2) + "\n")
