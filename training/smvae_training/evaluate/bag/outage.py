"""Sensors that are taken away from a bag for a while: errors and coverage by time since their loss.

N latents, M modality, Z latent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError
from smvae_core.fusion.rules import FusionState
from smvae_core.modality import Modality, find, subset_name
from smvae_core.preprocessing import normalise, prepare
from smvae_core.runtime import Posterior, Runtime
from smvae_training.audit.coverage import Coverage
from smvae_training.calibrate.readout import NORMAL_90
from smvae_training.evaluate.bag.moments import Kept, mean_sample
from smvae_training.evaluate.bag.scores import Pair, error_names
from smvae_training.evaluate.measures import finite_mean, images, measured, squared_error

Columns = Mapping[str, NDArray[Any]]
#: Ends of the bins of the time since a loss [s].
BINS_S = (0.25, 0.5, 1.0, 2.0, 5.0, math.inf)
ALIVE = "alive"


@dataclass(frozen=True, kw_only=True)
class Outage:
    """Sensors whose messages are dropped for a while."""

    sensors: tuple[str, ...]
    start_s: float
    """Since the bag's first message, by receive time."""
    length_s: float

    @classmethod
    def parse(cls, text: str, modalities: tuple[Modality, ...]) -> Outage:
        """Return what 'SENSOR[,SENSOR]:START:LENGTH' says.

        Raises:
            ConfigError: If it says something else.
            UnknownModality: If the bundle has no such sensor.
        """
        names, *times = text.split(":")
        try:
            start_s, length_s = (float(value) for value in times)
        except ValueError:
            start_s, length_s = math.nan, math.nan
        if not (names and 0.0 <= start_s < math.inf and 0.0 < length_s < math.inf):
            raise ConfigError(
                "outage: expected SENSORS:START:LENGTH in seconds, such as 'rgb,depth:2.0:1.0', "
                f"got '{text}'"
            )
        sensors = tuple(find(modalities, name.strip()).name for name in names.split(","))
        return cls(sensors=sensors, start_s=start_s, length_s=length_s)

    def check_within(self, seconds: float) -> None:
        """Refuse an outage that drops nothing of a bag, for it begins where the bag has ended.

        Args:
            seconds: That the bag lasts.

        Raises:
            ConfigError: If it does; says how long the bag is.
        """
        if self.start_s >= seconds:
            raise ConfigError(
                f"outage: {','.join(self.sensors)} would be lost from {self.start_s:g} s on, and "
                f"the bag lasts {seconds:.1f} s: begin earlier"
            )

    def drops(self, name: str, seconds: float) -> bool:
        """Return whether a sensor's message of a time in the bag is dropped."""
        return name in self.sensors and 0.0 <= seconds - self.start_s < self.length_s


def inside_90(runtime: Runtime, modality: Modality, posterior: Posterior, truth: Pair) -> float:
    """Return the share of a sample's measured values inside the 90 % interval of its prediction.

    Normal, around what the mean predicts, with the noise that the mean decodes to: what the latent
    does not know is part of it, since noise is learned as the error of what is decoded.
    """
    noise = runtime.manifest.scale(modality.name, posterior.mean)
    statistics = runtime.manifest.statistics[modality.name]
    x = normalise(modality, statistics, prepare(modality, truth[0]))
    apart = np.abs(x - runtime.decode(modality.name, posterior.mean))
    seen = measured(modality, truth[1])[0]
    inside = np.broadcast_to(apart <= NORMAL_90 * noise, seen.shape)[seen]
    return float(inside.mean()) if inside.size else math.nan


def outage_numbers(
    columns: Columns,
    modalities: Sequence[Modality],
    outages: Sequence[Outage],
    seconds: NDArray[np.float64],
    offsets_s: Mapping[str, float],
    kept: Sequence[Kept],
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return sensor -> time since its loss -> latents, errors and share inside 90 % intervals.

    Squared errors of images are over that of the mean image of the kept moments (`ratio`).

    Args:
        columns: See `Scores.arrays`, with `<sensor>_inside_90`.
        modalities: Of the model.
        outages: What was dropped.
        seconds: (N,) when each latent was made, since the bag's first message.
        offsets_s: `stamp_offset_s` of each sensor.
        kept: Moments over which the mean image is.
    """
    found = {}
    for index, modality in enumerate(modalities):
        if not any(modality.name in o.sensors for o in outages):
            continue
        since = since_loss_s(columns, index, modality.name, outages, seconds, offsets_s)
        worst = _mean_image_error(modality, kept) if images([modality]) else math.nan
        found[modality.name] = {
            label: _row(columns, modality, rows, worst) for label, rows in binned(since).items()
        }
    return found


def since_loss_s(
    columns: Columns,
    index: int,
    name: str,
    outages: Sequence[Outage],
    seconds: NDArray[np.float64],
    offsets_s: Mapping[str, float],
) -> NDArray[np.float64]:
    """Return how long a sensor has been lost (N,): 0 where it is fused, NaN where it is neither.

    Since its newest sample happened; infinite where there was none.
    """
    fused = columns["state"][:, index] == int(FusionState.FUSED)
    lost, away = np.zeros(len(seconds), np.bool_), False
    for row, at_s in enumerate(seconds):  # until it is fused again
        away = any(o.drops(name, at_s) for o in outages) or (away and not fused[row])
        lost[row] = away
    stamps = columns["sample_stamp_ns"][:, index]
    age_s = (columns["stamp_ns"] - stamps) * 1e-9 + offsets_s[name]
    age_s = np.where(stamps > 0, age_s, math.inf)
    return np.where(fused, 0.0, np.where(lost, age_s, math.nan))


def binned(since_s: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """Return rows (N,) by time since the loss, e.g. '0.25 to 0.5 s', where there are any."""
    found = {ALIVE: since_s == 0.0}
    low = 0.0
    for high in BINS_S:
        label = f"{low:g} to {high:g} s" if high < math.inf else f"over {low:g} s"
        found[label] = (since_s > low) & (since_s <= high)
        low = high
    return {label: rows for label, rows in found.items() if rows.any()}


def rows_by_subset(columns: Columns, names: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Return rows (N,) by what the latents rest on, fused or remembered, most frequent first."""
    labels = [subset_name(tuple(np.array(names)[row])) for row in _counted(columns)]
    frequent = [label for label, _ in Counter(labels).most_common()]
    return {label: np.array(labels) == label for label in frequent}


def _counted(columns: Columns) -> NDArray[np.bool_]:
    """Return what each latent rests on (N, M): what is fused or remembered."""
    return np.isin(columns["state"], (int(FusionState.FUSED), int(FusionState.REMEMBERED)))


def coverage_numbers(
    columns: Columns, names: Sequence[str], rows: Mapping[str, NDArray[np.bool_]], told: Coverage
) -> dict[str, dict[str, Any]]:
    """Return target -> label -> how far what is told of it is from what was recorded.

    Told of all sensors that are fused or remembered.

    Args:
        columns: See `Scores.arrays`.
        names: Of the modalities.
        rows: Label -> which latents (N,).
        told: See `Coverage`; nothing was added to it yet.
    """
    counted = _counted(columns)
    found: dict[str, dict[str, Any]] = {}
    for label, chosen in rows.items():
        for row in np.flatnonzero(chosen):
            subset = [n for n, c in zip(names, counted[row], strict=True) if c]
            mean, variance = columns["mean"][row], np.exp(columns["log_var"][row])
            told.add(label, subset, int(columns["answers_ns"][row]), mean, variance)
        for name, numbers in told.of(label).items():
            found.setdefault(name, {})[label] = numbers
    return found


def _row(
    columns: Columns, modality: Modality, rows: NDArray[np.bool_], worst: float
) -> dict[str, Any]:
    name = modality.name
    found: dict[str, Any] = {"latents": int(rows.sum())}
    if images([modality]):
        found["ratio"] = finite_mean(columns[f"{name}_squared_error"][rows]) / worst
    else:
        found |= {key: finite_mean(columns[key][rows]) for key in error_names(modality)}
    return found | {"inside_90": finite_mean(columns[f"{name}_inside_90"][rows])}


def _mean_image_error(modality: Modality, kept: Sequence[Kept]) -> float:
    held = [k.truths[modality.name] for k in kept if modality.name in k.truths]
    if not held:
        return math.nan
    constant = mean_sample(modality, kept)
    error = squared_error(modality, np.concatenate(held), constant)[0]
    return max(finite_mean(error), 1e-12)
