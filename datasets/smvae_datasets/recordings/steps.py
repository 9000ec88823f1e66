"""The steps of an episode by other rules than it was converted by: its samples, played again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.fusion.engine import Engine, Taken
from smvae_core.fusion.playback import Playback
from smvae_datasets.recordings.declared import Declared
from smvae_datasets.recordings.episode_files import NONE, EpisodeFiles


def play_steps(
    episode: EpisodeFiles, declared: Declared
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return reference stamps (N,) and, of each sensor, the number of its sample (N, M).

    As the engine decides of the samples that were kept, in the order in which they came. The rhythm
    of each sensor is measured anew in each episode.
    """
    modalities = declared.robot.modalities
    stamps = {m.name: episode.array(f"sensors/{m.name}/stamp_ns") for m in modalities}
    clocks = {m.name: episode.clock_ns(m.name) for m in modalities}
    engine = Engine(modalities, declared.settings.rules, declared.settings.pace)
    references: list[int] = []
    rows: list[list[int]] = []

    def take(taken: Taken) -> None:
        status, samples = taken.observation.status, taken.observation.samples
        if not samples:
            return
        references.append(taken.observation.reference_ns)
        rows.append(
            [
                int(np.searchsorted(stamps[m.name], status[m.name].stamp_ns))
                if m.name in samples
                else NONE
                for m in modalities
            ]
        )

    arrivals, sensor, number = _in_order(episode, [m.name for m in modalities])
    playback = Playback(engine, int(arrivals[0]), take)
    readings = {
        m.name: episode.array(f"sensors/{m.name}/values") for m in modalities if _is_window(m)
    }
    for arrival, which, row in zip(
        arrivals.tolist(), sensor.tolist(), number.tolist(), strict=True
    ):
        name = modalities[which].name
        value = readings[name][row] if name in readings else row
        stamp, clock = int(stamps[name][row]), int(clocks[name][row])
        playback.settle(playback.put(name, arrival, stamp, value, clock))
    playback.finish()
    count = len(modalities)
    return np.array(references, np.int64), np.array(rows, np.int64).reshape(-1, count)


def _is_window(modality: Any) -> bool:
    return bool(modality.family.is_window)


def _in_order(
    episode: EpisodeFiles, names: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return arrival, sensor and number of all samples of an episode in the order of arrival."""
    arrivals = [episode.array(f"sensors/{name}/arrival_ns") for name in names]
    every = np.concatenate(arrivals)
    sensor = np.repeat(np.arange(len(names)), [len(a) for a in arrivals])
    number = np.concatenate([np.arange(len(a)) for a in arrivals])
    order = np.argsort(every, kind="stable")
    return every[order], sensor[order], number[order]


def nearest(
    stamps: NDArray[np.int64], reference_ns: NDArray[np.int64], half_ns: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return which of rising stamps lies nearest to each step, and where that is near enough.

    Args:
        stamps: (n,) of a target.
        reference_ns: (N,) of the steps.
        half_ns: How far a stamp may lie from a step: half the time between two.
    """
    if not len(stamps):
        return np.zeros(len(reference_ns), np.int64), np.zeros(len(reference_ns), bool)
    after = np.searchsorted(stamps, reference_ns).clip(0, len(stamps) - 1)
    before = (after - 1).clip(0)
    is_before = np.abs(stamps[before] - reference_ns) <= np.abs(stamps[after] - reference_ns)
    found = np.where(is_before, before, after)
    return found, np.abs(stamps[found] - reference_ns) <= half_ns
