"""Did each latent fuse exactly what was published? Every exception with its cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from smvae_core.fusion.rules import FusionState
from smvae_training.evaluate.live.bag import Latent, LiveRun
from smvae_training.evaluate.live.windows import Window, published


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
    """Compare the fused set of each latent with what was published at its moment."""
    found = []
    for latent, window in pairs:
        truth = published(run, latent.stamp_ns)
        wrong = sorted(truth ^ latent.fused)
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
