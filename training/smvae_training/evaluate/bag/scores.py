"""Every latent of a bag with the errors of what it predicts, gathered while the bag is read.

N latents, M modality, Z latent. Truth is what the bag holds: of a camera that was dropped too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import SampleError
from smvae_core.fusion.rules import ModalityStatus
from smvae_core.kinds.base import field_groups
from smvae_core.messages import ConversionError
from smvae_core.modality import Modality
from smvae_core.perceiver import Perceiver
from smvae_core.runtime import Runtime
from smvae_training.evaluate.bag.replay import Moment
from smvae_training.evaluate.live.images import as_network
from smvae_training.evaluate.measures import errors, images, squared_error

Array = NDArray[np.float32]
#: A raw sample, and the same as (1, *shape) in SI units, colour in [0, 1].
Pair = tuple[NDArray[Any], Array]


def error_names(modality: Modality) -> tuple[str, ...]:
    """Return the names of a modality's errors.

    Of an image: the squared error now, of the next image, and of taking the present image for the
    next one, which a forecast must beat. Of force and vectors: the root mean square by unit.
    """
    if images([modality]):
        kinds = ("squared_error", "squared_error_next", "unchanged_next")
        return tuple(f"{modality.name}_{kind}" for kind in kinds)
    return tuple(f"{modality.name}_rmse_{group}" for group in field_groups(modality))


@dataclass
class _Waiting:
    """A latent whose next image has not come yet."""

    row: int
    answers_ns: int
    until_ns: int
    """A later image is not the next one: the camera was away meanwhile."""
    mean: Array
    present: Array | None
    """(1, *shape), the image of its own moment."""


class Truth:
    """What the bag holds, each sample converted once: raw, and as it is compared."""

    def __init__(self, modalities: Sequence[Modality], perceiver: Perceiver) -> None:
        """Start empty.

        Args:
            modalities: Of the model.
            perceiver: Converts messages as the node does.
        """
        self._modalities = {m.name: m for m in modalities}
        self._perceiver = perceiver
        self._kept: dict[str, tuple[object, Pair | None]] = {}
        self.bad: dict[str, int] = {}
        """Samples by modality that could not be converted."""

    def both(self, name: str, value: Any) -> Pair | None:
        """Return a sample as the runtime takes it, and as it is compared, see `Pair`.

        None if it is bad, which is counted.
        """
        kept = self._kept.get(name)
        if kept is not None and kept[0] is value:
            return kept[1]
        found: Pair | None = None
        try:
            raw = self._perceiver.sample(name, value)
            found = raw, as_network(self._modalities[name], raw)
        except (ConversionError, SampleError):
            self.bad[name] = self.bad.get(name, 0) + 1
        self._kept[name] = (value, found)
        return found

    def of_moment(self, moment: Moment) -> dict[str, Pair]:
        """Return what the bag held of a moment, by modality."""
        held = moment.everything.samples.items()
        pairs = {name: self.both(name, value) for name, value in held}
        return {name: pair for name, pair in pairs.items() if pair is not None}


class Scores:
    """One row per latent."""

    def __init__(self, runtime: Runtime, truth: Truth) -> None:
        """Start empty.

        Args:
            runtime: Decodes; its embeddings are not touched.
            truth: Converts what the bag holds.
        """
        self._runtime, self._truth = runtime, truth
        self.modalities = runtime.modalities
        self._rows: list[dict[str, Any]] = []
        self._waiting: dict[str, list[_Waiting]] = {m.name: [] for m in self.modalities}
        self._epoch = 0
        self.charges: dict[str, dict[str, int]] = {}
        """What each suspect was suspected for, and in how many latents."""

    def __len__(self) -> int:
        return len(self._rows)

    def predict(self, name: str, mean: Array, decoded: Array | None = None) -> Array:
        """Return what a latent's mean (Z,) predicts of a modality, as (1, *shape) in SI units.

        `decoded` is what its decoder gave for the mean, where that is known.
        """
        modality = self._runtime.modality(name)
        predicted = self._runtime.reconstruct(name, mean, decoded)
        return as_network(modality.uncut, predicted)

    def on_sample(self, name: str, stamp_ns: int, value: Any, epoch: int) -> None:
        """Score the latents that wait for this image."""
        if epoch != self._epoch:  # time jumped: their next image never comes
            self._waiting = {n: [] for n in self._waiting}
            self._epoch = epoch
        waiting = self._waiting[name]
        if not waiting or all(w.answers_ns >= stamp_ns for w in waiting):
            return
        pair = self._truth.both(name, value)
        if pair is None:
            return
        modality, image = self._runtime.modality(name), pair[1]
        for each in waiting:
            if not each.answers_ns < stamp_ns <= each.until_ns:
                continue
            row = self._rows[each.row]
            predicted = self.predict(name, each.mean)
            row[f"{name}_squared_error_next"] = _squared(modality, image, predicted)
            if each.present is not None:
                row[f"{name}_unchanged_next"] = _squared(modality, image, each.present)
        self._waiting[name] = [w for w in waiting if w.answers_ns >= stamp_ns]

    def add(
        self,
        moment: Moment,
        truths: Mapping[str, Pair],
        predicted: Mapping[str, Array],
        further: Mapping[str, float] | None = None,
    ) -> None:
        """Add a latent.

        Args:
            moment: The latent.
            truths: What the bag holds of its moment, by modality.
            predicted: Modality -> (1, *shape).
            further: Other columns, the same of every latent.
        """
        observation, posterior = moment.perceived.observation, moment.perceived.posterior
        status = [observation.status[m.name] for m in self.modalities]
        row: dict[str, Any] = {
            "stamp_ns": observation.reference_ns,
            "answers_ns": moment.perceived.answers_ns,
            "received_ns": moment.received_ns,
            "epoch": moment.epoch,
            "state": [int(s.state) for s in status],
            "sample_stamp_ns": [s.stamp_ns for s in status],
            "mean": posterior.mean,
            "log_var": posterior.log_var,
            "kl": posterior.kl,
            "novelty": moment.perceived.novelty.score,
        }
        manifest = self._runtime.manifest
        if manifest.suspicion is not None or manifest.novelty is not None:
            row["suspect"] = [s.suspect for s in status]
            row["suspicion"] = [s.suspicion for s in status]
            self._charge(observation.status)
        for modality in self.modalities:
            row |= dict.fromkeys(error_names(modality), np.nan)
            truth = truths[modality.name][1] if modality.name in truths else None
            if images([modality]):
                self._wait(modality.name, moment, truth)
            if truth is None:
                continue
            if images([modality]):
                error = _squared(modality, truth, predicted[modality.name])
                row[f"{modality.name}_squared_error"] = error
            else:
                found = errors(modality, truth, predicted[modality.name])
                row |= {f"{modality.name}_{kind}": value for kind, value in found.items()}
        self._rows.append(row | dict(further or {}))

    def _charge(self, status: Mapping[str, ModalityStatus]) -> None:
        """Count what suspects are suspected for."""
        for name, each in status.items():
            if each.suspect and each.reason:
                counts = self.charges.setdefault(name, {})
                counts[each.reason] = counts.get(each.reason, 0) + 1

    def _wait(self, name: str, moment: Moment, present: Array | None) -> None:
        """Remember a latent until the next image comes, at most as long as one stays fresh."""
        answers_ns = moment.perceived.answers_ns
        patience_ns = round(moment.everything.status[name].max_age_s * 1e9)
        self._waiting[name].append(
            _Waiting(
                row=len(self._rows),
                answers_ns=answers_ns,
                until_ns=answers_ns + patience_ns,
                mean=moment.perceived.posterior.mean,
                present=present,
            )
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all columns: stamp_ns (N,), state (N, M), mean (N, Z), errors (N,) and so on."""
        kinds: dict[str, Any] = dict.fromkeys(
            ("stamp_ns", "answers_ns", "received_ns", "sample_stamp_ns", "epoch", "state"), np.int64
        )
        kinds |= dict.fromkeys(("mean", "log_var"), np.float32)
        columns = list(self._rows[0]) if self._rows else []
        found = {c: np.array([r[c] for r in self._rows], kinds.get(c, np.float64)) for c in columns}
        return found | {"modalities": np.array([m.name for m in self.modalities])}


def _squared(modality: Modality, truth: Array, predicted: Array) -> float:
    return float(squared_error(modality, truth, predicted)[0][0])
