"""What ruins training: one table of checks over any data set, for `smvae train` and `inspect`.

A check says the sensor, the number and what to do. It is an error only where training cannot work.
Of a large set evenly spread runs of neighbouring records are looked at, and what a record does not
hold is never read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.modality import Modality
from smvae_core.preprocessing import (
    constant_channels,
    in_si,
    measure_statistics,
    raw_sample,
)
from smvae_datasets.dataset import Dataset, holding

#: So much of each sensor is looked at [bytes], in runs of neighbouring records.
LOOKED_AT_BYTES, RUN = 16 * 2**20, 8
#: Samples of a sensor whose plausibility is asked for.
ASKED = 64
#: What a batch has where nobody says.
USUAL_BATCH = 128
#: Below this share of the records a sensor is hardly learned.
RARE = 0.01
#: Above this share of neighbours that are the same, a camera or a window hangs; a vector stands.
SAME_SENSED, SAME_VECTOR = 0.2, 0.95
#: Above this share of samples that look wrong, or below this share of a sample's elements measured.
WRONG, MEASURED = 0.05, 0.05


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that ruins training, or may."""

    sensor: str
    """'' = the data as a whole."""
    problem: str
    remedy: str
    fatal: bool = False
    """Whether training cannot work."""

    def __str__(self) -> str:
        return f"{self.sensor or 'data'}: {self.problem}; {self.remedy}"


@dataclass(frozen=True)
class Looked:
    """What is looked at of one sensor. N records looked at."""

    data: Dataset
    modality: Modality
    records: int
    """Of the data, whether they hold the sensor or not."""
    held: NDArray[np.int64]
    """Those of them that hold it."""

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """(N,) records looked at, rising: all that hold it, or evenly spread runs of them."""
        array = self.data.arrays[self.modality.name]
        size = max(1, array.dtype.itemsize * self.modality.size)
        runs = max(1, LOOKED_AT_BYTES // (size * RUN))
        if len(self.held) <= runs * RUN:
            return self.held
        starts = np.linspace(0, len(self.held) - RUN, runs).astype(np.int64)
        return self.held[np.unique(starts[:, None] + np.arange(RUN))]

    @cached_property
    def elsewhere(self) -> int:
        """How many records of the data hold the sensor, beyond those that are looked at."""
        every = np.arange(len(self.data))
        return len(holding(self.data, every, [self.modality.name])) - len(self.held)

    @cached_property
    def values(self) -> NDArray[Any]:
        """(N, *shape) prepared samples."""
        return np.asarray(self.data.arrays[self.modality.name][self.rows])

    @cached_property
    def pairs(self) -> NDArray[np.int64]:
        """Which of the values have the next record of the same group after them.

        Where that is known, only those whose next record holds another sample.
        """
        rows, group = self.rows, self.data.group
        following = (np.diff(rows) == 1) & (group[rows[1:]] == group[rows[:-1]])
        following &= self.data.stamp_ns[rows[1:]] > 0
        if self.data.samples is not None:
            column = [m.name for m in self.data.sensors].index(self.modality.name)
            following &= np.diff(self.data.samples[rows, column]) != 0
        return np.flatnonzero(following)

    def finding(self, problem: str, remedy: str, fatal: bool = False) -> Finding:
        return Finding(sensor=self.modality.name, problem=problem, remedy=remedy, fatal=fatal)


def too_few(count: int, batch_size: int) -> list[Finding]:
    """Say when there are fewer records than a batch, or than batch normalisation can take."""
    if count < 2:
        problem = f"{count} record{'s' * (count != 1)} to train on, at least 2 are needed"
        remedy = "record more, or lower --data.held-out"
        return [Finding(sensor="", problem=problem, remedy=remedy, fatal=True)]
    if count < batch_size:
        problem = f"{count} records to train on, fewer than a batch of {batch_size}"
        remedy = f"every step sees all of them: record more, or set --batch-size to {count} or less"
        return [Finding(sensor="", problem=problem, remedy=remedy)]
    return []


def absent(looked: Looked) -> Iterator[Finding]:
    """A sensor that hardly any record holds."""
    held, count = len(looked.held), looked.records
    if held == 0 and looked.elsewhere:
        yield looked.finding(
            f"in none of {count} records to train on, but in {looked.elsewhere} that are held out",
            "which are held out is drawn by --data.split-seed: set another, or record more",
            fatal=True,
        )
    elif held == 0:
        yield looked.finding(
            f"in none of {count} records",
            "check its topic and the values it may have, or leave it out of --model.modalities",
            fatal=True,
        )
    elif held < RARE * count:
        yield looked.finding(
            f"in {held} of {count} records ({held / count:.2%}), too few to learn it",
            "check its topic, its max_skew_s and the values it may have, or leave it out",
        )


def not_finite(looked: Looked) -> Iterator[Finding]:
    """NaN or infinity in what a record holds."""
    if looked.values.dtype.kind != "f":
        return
    wrong = ~np.isfinite(looked.values).reshape(len(looked.values), -1).all(axis=1)
    if wrong.any():
        yield looked.finding(
            f"NaN or infinity in {wrong.sum()} of {len(wrong)} records looked at, "
            f"the first in record {looked.rows[wrong.argmax()]}",
            "the loss would be NaN: repair the data, or mark those records as not holding it",
            fatal=True,
        )


def constant(looked: Looked) -> Iterator[Finding]:
    """Channels, or a whole sensor, that never change."""
    modality, values = looked.modality, looked.values
    if len(values) < 2:
        return
    still = constant_channels(modality, measure_statistics(modality, values))
    everywhere = bool((values == values[0]).all()) or len(still) == modality.shape[0]
    if everywhere:
        yield looked.finding(
            f"never changes in {len(values)} records looked at",
            "nothing can be learned from it, and live values that move will look unusual: record "
            "it while it moves, or leave it out",
        )
    elif still:
        yield looked.finding(
            f"{', '.join(still)} hardly moved (by less than {modality.family.floor:g} in SI units) "
            f"in {len(values)} records looked at",
            "live values that move will look unusual: leave them out, or record them moving",
        )


def repeated(looked: Looked) -> Iterator[Finding]:
    """Frames, windows or commands that are those of the record before.

    Not that a slow sensor's newest sample stands in several records, as it does live.
    """
    pairs, values = looked.pairs, looked.values
    if len(pairs) == 0 or (values == values[0]).all():  # `constant` says so
        return
    same = [bool(np.array_equal(values[i], values[i + 1])) for i in pairs]
    share = float(np.mean(same))
    family = looked.modality.family
    sensed = family.is_image or family.is_window
    if share > (SAME_SENSED if sensed else SAME_VECTOR):
        if not sensed:
            remedy = "it hardly ever changes: leave out the parts in which the robot stands"
        elif looked.data.samples is not None:
            remedy = "its driver sends the same again: it hangs, or is slower than its messages"
        else:
            remedy = "it is slower than the records, or hangs: take fewer records per second"
        yield looked.finding(
            f"{share:.0%} of {len(same)} records looked at hold exactly what the one before holds",
            remedy,
        )


def implausible(looked: Looked) -> Iterator[Finding]:
    """Samples that the sensor's kind finds odd, as in another unit."""
    modality, values = looked.modality, looked.values
    chosen = np.unique(np.linspace(0, len(values) - 1, min(ASKED, len(values))).astype(np.int64))
    told = [t for i in chosen if (t := modality.plausibility(raw_sample(modality, values[i])))]
    if len(told) > WRONG * len(chosen):
        yield looked.finding(
            f"{len(told)} of {len(chosen)} samples look wrong, the first: {told[0]}",
            "check its unit, scale and driver; samples must be in SI units",
        )


def unmeasured(looked: Looked) -> Iterator[Finding]:
    """Samples of which nearly nothing was measured, as depth beyond its range."""
    modality, values = looked.modality, looked.values
    chosen = values[:: max(1, len(values) // ASKED)]
    share = float(modality.family.measured(modality, in_si(modality, chosen)).mean())
    if share < MEASURED:
        yield looked.finding(
            f"only {share:.1%} of its elements were measured",
            "check its unit and range_m: what lies outside the range counts as no return",
        )


#: THE table: what is asked of every sensor, in this order.
CHECKS: tuple[Callable[[Looked], Iterator[Finding]], ...] = (
    absent,
    not_finite,
    constant,
    repeated,
    implausible,
    unmeasured,
)


def check_dataset(
    data: Dataset,
    index: NDArray[np.int64] | None = None,
    sensors: Sequence[Modality] = (),
    batch_size: int = 0,
) -> list[Finding]:
    """Return what ruins training on the records `index` (default: all), errors first.

    Args:
        data: The records.
        index: Those that are trained on.
        sensors: Those that are trained on; all by default.
        batch_size: Records of a step; 0 = not known.
    """
    rows = np.arange(len(data)) if index is None else np.sort(index)
    found = too_few(len(rows), batch_size)
    for modality in sensors or data.sensors:
        looked = Looked(data, modality, len(rows), holding(data, rows, [modality.name]))
        for check in CHECKS:
            told = list(check(looked))
            found += told
            if any(f.fatal for f in told):
                break  # nothing more can be said of what is not there
    return sorted(found, key=lambda f: not f.fatal)
