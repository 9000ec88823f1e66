"""Which sensors were on when, and what was truly published at each latent's moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from smvae_core.fusion.rules import default_limits
from smvae_core.modality import Modality, subset_name
from smvae_training.evaluate.live.bag import Latent, LiveRun, Mark, sensor_of

#: Around a switch, both sets are right.
MARGIN_S = 0.5
NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Window:
    """The time between two switches."""

    label: str
    subset: tuple[str, ...]
    """Modalities whose sensors were on, in the model's order."""
    begin_ns: int
    end_ns: int

    @property
    def name(self) -> str:
        return subset_name(self.subset) or NONE

    def holds(self, stamp_ns: int, margin_s: float = MARGIN_S) -> bool:
        """Return whether a moment lies inside, `margin_s` away from both switches."""
        margin = round(margin_s * 1e9)
        return self.begin_ns + margin <= stamp_ns <= self.end_ns - margin


def windows(marks: Sequence[Mark], modalities: Sequence[Modality]) -> list[Window]:
    """Return the windows between the marks; what follows the last mark is left out."""
    found = []
    for mark, following in pairwise(marks):
        subset = tuple(m.name for m in modalities if sensor_of(m) in mark.enabled)
        found.append(
            Window(
                label=mark.label, subset=subset, begin_ns=mark.done_ns, end_ns=following.asked_ns
            )
        )
    return found


def settled(run: LiveRun) -> list[tuple[Latent, Window]]:
    """Return the latents away from switches, each with its window."""
    found = []
    every = windows(run.marks, run.modalities)
    for latent in run.latents:
        for window in every:
            if window.holds(latent.stamp_ns):
                found.append((latent, window))
                break
    return found


def published(run: LiveRun, stamp_ns: int) -> frozenset[str]:
    """Return the modalities with a message stamped within the skew window before a moment."""
    found = set()
    for modality in run.modalities:
        track = run.inputs[modality.name]
        row = track.before(stamp_ns)
        if row < 0:
            continue
        age_s = (stamp_ns - int(track.stamps_ns[row])) * 1e-9
        max_skew_s, _ = default_limits(modality, track.period_s)
        if age_s <= max_skew_s:
            found.add(modality.name)
    return frozenset(found)
