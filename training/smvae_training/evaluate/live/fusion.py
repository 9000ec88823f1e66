"""Did each latent fuse exactly what was published? Every exception with its cause.

A window is the time between two switches of sensors; latents close to a switch are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from smvae_core.fusion.rules import FusionState, default_limits
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


@dataclass(frozen=True, kw_only=True)
class FusionCheck:
    """One latent that was compared with what was published."""

    latent: Latent
    window: Window
    truth: frozenset[str]
    causes: dict[str, str]
    """By modality that differs; empty when the latent is right."""

    @property
    def right(self) -> bool:
        return not self.causes


def check_fusion(run: LiveRun, pairs: Iterable[tuple[Latent, Window]]) -> list[FusionCheck]:
    """Compare the fused set of each latent with what was published at its moment.

    A suspect that the node left out, and said so, is not missed: `Latent.doubted`.
    """
    found = []
    for latent, window in pairs:
        truth = published(run, latent.stamp_ns)
        wrong = sorted((truth - latent.doubted) ^ latent.fused)
        causes = {name: _cause(run, latent, name, name in truth) for name in wrong}
        found.append(FusionCheck(latent=latent, window=window, truth=truth, causes=causes))
    return found


def _cause(run: LiveRun, latent: Latent, name: str, was_published: bool) -> str:
    """Return why one modality's state is not what the recorded messages say."""
    track = run.inputs[name]
    row = track.before(latent.stamp_ns)
    if not was_published:
        used = latent.stamps_ns[name]
        if track.at(used) is None:
            return "fused a message that the recorder did not get"
        return f"fused a message {(latent.stamp_ns - used) * 1e-6:.0f} ms old"
    arrived_ns = int(track.received_ns[row])
    if arrived_ns > latent.received_ns:
        return "its message arrived after the latent"
    state = latent.states[name]
    if state == FusionState.REJECTED:
        return "the node rejected the message"
    used = latent.stamps_ns[name]
    if used and used < int(track.stamps_ns[row]):
        lag = (int(track.stamps_ns[row]) - used) * 1e-6
        spare = (latent.received_ns - arrived_ns) * 1e-6
        return (
            f"{state.name}: the node had messages up to {lag:.0f} ms before the newest, which came "
            f"{spare:.1f} ms before the latent"
        )
    gap = _gap_ms(run, name, latent.stamp_ns)
    return f"{state.name}: the node held the newest message; largest gap before it {gap:.0f} ms"


def _gap_ms(run: LiveRun, name: str, stamp_ns: int, span_s: float = 0.3) -> float:
    """Return the largest time between messages of a modality just before a moment."""
    stamps = run.inputs[name].stamps_ns
    near = stamps[(stamps <= stamp_ns) & (stamps > stamp_ns - span_s * 1e9)]
    return float(np.diff(near).max() * 1e-6) if len(near) > 1 else float("nan")


def exceptions(checks: Iterable[FusionCheck], start_ns: int) -> list[dict[str, Any]]:
    """Return each wrong latent with its cause, for summary.json."""
    return [
        {
            "at_s": round((c.latent.stamp_ns - start_ns) * 1e-9, 3),
            "window": c.window.name,
            "fused": sorted(c.latent.fused),
            "published": sorted(c.truth),
            "causes": c.causes,
        }
        for c in checks
        if not c.right
    ]
