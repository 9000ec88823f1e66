"""One picture to share: cameras beside predictions, signals, latent, novelty and states.

Drawn by matplotlib, without a display and without rerun.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from smvae_core.files import write_bytes
from smvae_core.fusion.rules import FusionState
from smvae_core.kinds.shown import Shown, colour_limits
from smvae_core.modality import Modality
from smvae_core.view.glance import Glance
from smvae_core.view.scene import BANDS, STATE_COLOURS
from smvae_training.evaluate.report.draw import LINES, plain

#: Moments whose images are drawn, and curves of one sensor.
COLUMNS, CURVES = 6, 6
_ROLES = ("recorded", "predicted")
_COLOURS = ("#1c7ed6", "#c92a2a", "#2b8a3e", "#f2b134", "#7048e8", "#495057")


@dataclass
class _Row:
    """What is kept of every glance: numbers."""

    time_ns: int
    curves: dict[tuple[str, str], NDArray[np.float32]]
    """(sensor, role) -> (C,), the newest reading."""
    mean: NDArray[np.float32] | None
    variance: NDArray[np.float32] | None
    novelty: float
    states: dict[str, int]
    """Empty where the glance says nothing of them."""


@dataclass
class Page:
    """Collects glances, of which a few keep their images: memory does not grow with those."""

    modalities: Sequence[Modality]
    title: str = ""
    thresholds: tuple[float, float] | None = None
    _rows: list[_Row] = field(default_factory=list)
    _kept: list[tuple[int, dict[tuple[str, str], Shown]]] = field(default_factory=list)
    _every: int = 1
    _pictured: int = 0
    """Glances that hold an image."""
    _limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    _last: dict[tuple[str, str], Shown] = field(default_factory=dict)
    _chapters: list[int] = field(default_factory=list)
    """Times at which they begin."""
    _chapter: str | None = None

    def add(self, glance: Glance) -> None:
        """Take one glance."""
        curves = {}
        if glance.chapter != self._chapter:
            self._chapter = glance.chapter
            self._chapters.append(glance.stamp_ns)
            self._last.clear()
        for role, samples in zip(_ROLES, (glance.recorded, glance.predicted), strict=True):
            for modality in self.modalities:
                if modality.name not in samples:
                    continue
                seen = modality if role == _ROLES[0] else modality.uncut
                shown = modality.family.shown(seen, samples[modality.name])
                if shown.form == "curves":
                    curves[modality.name, role] = shown.values[-1]
                elif shown.form == "field":
                    limits = self._limits.get(modality.name) or colour_limits(shown)
                    shown = replace(shown, limits=limits or shown.limits)
                    if limits:
                        self._limits[modality.name] = limits
                self._last[modality.name, role] = shown
        for name, sensor in glance.sensors.items():
            if sensor.state in (FusionState.ABSENT, FusionState.STALE):
                self._last.pop((name, _ROLES[0]), None)
        number, latent = len(self._rows), glance.latent
        self._rows.append(
            _Row(
                glance.stamp_ns,
                curves,
                None if latent is None else latent.mean,
                None if latent is None else latent.variance,
                np.nan if latent is None else latent.novelty,
                {name: int(s.state) for name, s in glance.sensors.items()},
            )
        )
        pictured = glance.recorded.keys() | glance.predicted.keys()
        if not pictured - {name for name, _ in curves}:
            return
        turn, self._pictured = self._pictured, self._pictured + 1
        if turn % self._every == 0:
            if len(self._kept) == 4 * COLUMNS:
                self._kept, self._every = self._kept[::2], self._every * 2
            if turn % self._every == 0:
                self._kept.append((number, dict(self._last)))

    def __len__(self) -> int:
        return len(self._rows)

    def save(self, path: Path) -> None:
        """Write the picture as PNG."""
        content = io.BytesIO()
        self.figure().savefig(content, format="png", dpi=110)
        write_bytes(path, content.getvalue())

    def figure(self) -> Figure:
        """Draw everything."""
        drawn, curved = self._forms()
        roles = _ROLES[: 1 + self._has_model]
        heights = [1.35] * (len(roles) * len(drawn)) + [1.2] * len(curved) + [1.4] * self._has_model
        novel = bool(np.isfinite([r.novelty for r in self._rows]).any())
        heights += [0.9] * novel + [0.16 * len(self.modalities) + 0.2]
        height = sum(heights) + 0.15 * len(heights) + 0.6
        figure = Figure(figsize=(11, height))
        figure.suptitle(self.title, fontsize=10, x=0.01, y=1 - 0.2 / height, ha="left")
        grid = figure.add_gridspec(
            len(heights), COLUMNS, height_ratios=heights,
            left=0.14, right=0.99, bottom=0.45 / height, top=1 - 0.5 / height,
            hspace=0.15 * len(heights) / sum(heights), wspace=0.03,
        )  # fmt: skip
        rows = iter(range(len(heights)))
        picked = [
            self._kept[i]
            for i in np.unique(np.linspace(0, len(self._kept) - 1, COLUMNS).round().astype(int))
            if drawn
        ]
        for modality in drawn:
            for role in roles:
                row = next(rows)
                axes = [figure.add_subplot(grid[row, column]) for column in range(COLUMNS)]
                self._images(axes, modality, role, picked)
        for modality in curved:
            self._curves(figure.add_subplot(grid[next(rows), :]), modality)
        if self._has_model:
            self._latent(figure.add_subplot(grid[next(rows), :]))
        if novel:
            self._novelty(figure.add_subplot(grid[next(rows), :]))
        self._states(figure.add_subplot(grid[next(rows), :]))
        return figure

    def _forms(self) -> tuple[list[Modality], list[Modality]]:
        """Return the sensors that are drawn as images, and those that are drawn as curves."""
        curves = {name for row in self._rows for name, _ in row.curves}
        seen = {name for _, images in self._kept for name, _ in images}
        drawn = [m for m in self.modalities if m.name in seen - curves]
        return drawn, [m for m in self.modalities if m.name in curves]

    @property
    def _has_model(self) -> bool:
        return any(row.mean is not None for row in self._rows)

    @property
    def _times_s(self) -> NDArray[np.float64]:
        times = np.array([r.time_ns for r in self._rows], np.int64)
        return np.asarray((times - times[0]) * 1e-9, np.float64)

    def _images(
        self,
        axes: Sequence[Any],
        modality: Modality,
        role: str,
        picked: Sequence[tuple[int, dict[tuple[str, str], Shown]]],
    ) -> None:
        for axis in axes:
            axis.set_axis_off()
        for axis, (number, images) in zip(axes, picked, strict=False):
            _draw(axis, images.get((modality.name, role)))
            if role == _ROLES[0]:
                axis.set_title(f"{self._times_s[number]:.2f} s", fontsize=7)
        axes[0].text(
            -0.08, 0.5, f"{modality.name}\n{role}", fontsize=8, ha="right", va="center",
            transform=axes[0].transAxes,
        )  # fmt: skip

    def _curves(self, axis: Any, modality: Modality) -> None:
        names = modality.fields or tuple(map(str, range(modality.shape[0])))
        times = self._times_s
        for role, style in zip(_ROLES, ("-", ":"), strict=True):
            held = [i for i, r in enumerate(self._rows) if (modality.name, role) in r.curves]
            if not held:
                continue
            values = np.stack([self._rows[i].curves[modality.name, role] for i in held])
            for channel, colour in zip(range(values.shape[1]), _COLOURS, strict=False):
                label = names[channel] if role == _ROLES[0] else None
                axis.plot(
                    times[held], values[:, channel], style, linewidth=0.8, color=colour, label=label
                )
        more = len(names) - CURVES
        axis.legend(
            fontsize=6, frameon=False, loc="upper right", ncol=CURVES,
            title=f"and {more} more" if more > 0 else None,
        )  # fmt: skip
        self._seconds(axis)
        predicted = "\npredicted: dotted" if self._has_model else ""
        plain(axis, label=f"{modality.name}\n[{modality.unit}]{predicted}")

    def _seconds(self, axis: Any) -> None:
        """Give all rows the same span of time."""
        times = self._times_s
        axis.set_xlim(times.min(), max(times.max(), times.min() + 1e-3))
        for begin in self._chapters[1:]:
            axis.axvline((begin - self._rows[0].time_ns) * 1e-9, color="#adb5bd", linewidth=0.6)
        axis.tick_params(labelbottom=False)

    def _latent(self, axis: Any) -> None:
        rows = [(i, r) for i, r in enumerate(self._rows) if r.mean is not None]
        if rows:
            times = self._times_s[[i for i, _ in rows]]
            mean = np.stack([r.mean for _, r in rows if r.mean is not None])
            deviation = np.sqrt(np.stack([r.variance for _, r in rows if r.variance is not None]))
            chosen = np.sort(np.argsort(deviation.mean(axis=0), kind="stable")[:BANDS])
            for z, colour in zip(chosen, _COLOURS, strict=False):
                low, high = mean[:, z] - deviation[:, z], mean[:, z] + deviation[:, z]
                axis.fill_between(times, low, high, color=colour, alpha=0.2, linewidth=0)
                axis.plot(times, mean[:, z], color=colour, linewidth=0.8, label=f"z{z}")
            axis.legend(fontsize=6, frameon=False, loc="upper right", ncol=BANDS)
        self._seconds(axis)
        plain(axis, label="latent\nmean ± deviation")

    def _novelty(self, axis: Any) -> None:
        axis.plot(self._times_s, [r.novelty for r in self._rows], color=LINES[0], linewidth=0.8)
        for value, colour in zip(self.thresholds or (), STATE_COLOURS[2:4], strict=False):
            axis.axhline(value, color=colour, linewidth=0.8, linestyle="--")
        axis.set_ylim(bottom=0)
        self._seconds(axis)
        plain(axis, label="novelty")

    def _states(self, axis: Any) -> None:
        names = [m.name for m in self.modalities]
        told = [i for i, r in enumerate(self._rows) if r.states]
        states = np.array([[self._rows[i].states.get(n, 0) for n in names] for i in told])
        states = states.reshape(len(told), len(names))
        times = np.maximum.accumulate(self._times_s[told])
        if not told:
            axis.set_axis_off()
            return
        edges = np.append(times, times[-1] + (times[-1] / max(len(times) - 1, 1) or 1.0))
        axis.pcolormesh(
            edges, np.arange(len(names) + 1), states.T, rasterized=True,
            cmap=ListedColormap(STATE_COLOURS), vmin=-0.5, vmax=len(FusionState) - 0.5,
        )  # fmt: skip
        axis.set_yticks(np.arange(len(names)) + 0.5, names)
        axis.invert_yaxis()
        self._seconds(axis)
        plain(axis)
        axis.tick_params(labelbottom=True)
        axis.set_xlabel("seconds", fontsize=8)
        used = sorted({int(s) for s in np.unique(states)})
        axis.legend(
            [Rectangle((0, 0), 1, 1, color=STATE_COLOURS[s]) for s in used],
            [FusionState(s).name.lower() for s in used],
            fontsize=6, frameon=False, ncol=len(used), loc="lower right", bbox_to_anchor=(1, 1),
        )  # fmt: skip


def _draw(axis: Any, shown: Shown | None) -> None:
    """Draw a sample that is no curve; nothing is a blank place."""
    if shown is None:
        axis.text(0.5, 0.5, "absent", fontsize=7, ha="center", color="#868e96")
    elif shown.form == "picture":
        axis.imshow(shown.values, interpolation="nearest")
    elif shown.form == "field":
        low, high = shown.limits or (None, None)
        axis.imshow(shown.values, cmap="viridis", vmin=low, vmax=high, interpolation="nearest")
    elif shown.form == "points":
        axis.scatter(-shown.values[:, 1], shown.values[:, 0], s=1, color=LINES[0])
        axis.set_aspect("equal")
    else:
        axis.text(0.5, 0.5, shown.values.tobytes().decode(), fontsize=7, ha="center")
