"""Glances -> frames: small messages of one entity each, which a viewer draws without knowing us.

A frame is a mapping of JSON values and one array. Its `form` says how it is drawn: those of
`kinds.shown.Form`, `lines` (numbers at one time) and `state` (a word from then on). `path` is the
entity, `time_ns` the moment. The first frame, of form `open`, holds name, views and styles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.fusion.rules import FusionState
from smvae_core.kinds.shown import Shown, colour_limits
from smvae_core.modality import Modality
from smvae_core.view.glance import Glance, Latent, SensorGlance, TargetNames

Frame = tuple[dict[str, Any], NDArray[Any]]

#: Latent dimensions whose band is drawn.
BANDS = 4
#: State -> colour, in the order of FusionState.
STATE_COLOURS = ("#e8e8e8", "#2b8a3e", "#f2b134", "#c92a2a", "#868e96", "#74b816")
_NOTHING = np.zeros(0, np.float32)


class Scene:
    """Turns the moments of one recording, in order, into frames."""

    def __init__(
        self,
        name: str,
        modalities: Sequence[Modality],
        *,
        thresholds: tuple[float, float] | None = None,
        targets: Mapping[str, TargetNames] | None = None,
        has_model: bool = True,
    ) -> None:
        """Start before the first moment.

        Args:
            name: Of the recording.
            modalities: Sensors that are shown.
            thresholds: Novelty from which the node warns, and calls a latent out of distribution.
            targets: Of what was recorded beside the sensors.
            has_model: Whether there are latents and predictions.
        """
        self._has_model = has_model
        self._name, self._modalities = name, tuple(modalities)
        self._thresholds, self._targets = thresholds, dict(targets or {})
        self._until_ns: dict[str, int] = {}
        self._states: dict[str, FusionState] = {}
        self._bands: NDArray[np.int64] | None = None
        self._limits: dict[str, tuple[float, float]] = {}
        self._chapter = ""

    def opening(self) -> Frame:
        """Return the first frame."""
        states = [s.name.lower() for s in FusionState]
        header = {
            "form": "open",
            "name": self._name,
            "rows": self._rows(),
            "states": dict(zip(states, STATE_COLOURS, strict=True)),
            "sensors": [m.name for m in self._modalities],
        }
        return header, _NOTHING

    def frames(self, glance: Glance) -> Iterator[Frame]:
        """Yield the frames of a moment."""
        for role, samples in (("recorded", glance.recorded), ("predicted", glance.predicted)):
            for modality in self._modalities:
                if modality.name in samples:
                    seen = modality if role == "recorded" else modality.uncut
                    shown = modality.family.shown(seen, samples[modality.name])
                    if shown.form == "field":
                        shown = replace(shown, limits=self._limits_of(modality.name, shown))
                    yield from self._sample(f"{modality.name}/{role}", glance.stamp_ns, shown)
        for name, sensor in glance.sensors.items():
            yield from self._sensor(name, glance.stamp_ns, sensor)
        if glance.latent is not None:
            yield from self._latent(glance.stamp_ns, glance.latent)
        for name, values in glance.targets.items():
            known = self._targets[name]
            yield _lines(f"targets/{name}", glance.stamp_ns, values, known.fields)
        if glance.chapter != self._chapter:
            self._chapter = glance.chapter
            yield _state("episode", glance.stamp_ns, glance.chapter)

    def _limits_of(self, name: str, shown: Shown) -> tuple[float, float] | None:
        """Return the limits of a sensor's colours: those of its first sample, for all of them."""
        if name not in self._limits and (found := colour_limits(shown)):
            self._limits[name] = found
        return self._limits.get(name, shown.limits)

    def _sample(self, path: str, stamp_ns: int, shown: Shown) -> Iterator[Frame]:
        values, period_ns = shown.values, round(shown.period_s * 1e9)
        if shown.form == "curves":
            times_ns = stamp_ns - period_ns * np.arange(len(values))[::-1]
            new = times_ns > self._until_ns.get(path, -(2**62))  # windows may overlap
            values, self._until_ns[path] = values[new], stamp_ns
            if not len(values):
                return
        header = {
            "form": shown.form,
            "path": path,
            "time_ns": stamp_ns,
            "period_ns": period_ns,
            "names": [_label(path, n) for n in shown.names],
            "unit": shown.unit,
            "limits": shown.limits,
        }
        yield header, values

    def _sensor(self, name: str, stamp_ns: int, sensor: SensorGlance) -> Iterator[Frame]:
        if np.isfinite(sensor.age_s):
            yield _lines(f"age/{name}", stamp_ns, [sensor.age_s], [f"{name} [s]"])
        if self._states.get(name) != sensor.state:
            self._states[name] = sensor.state
            yield _state(f"state/{name}", stamp_ns, sensor.state.name.lower(), sensor.reason)

    def _latent(self, stamp_ns: int, latent: Latent) -> Iterator[Frame]:
        if self._bands is None:
            self._bands = np.sort(np.argsort(latent.variance, kind="stable")[:BANDS])
        mean, deviation = latent.mean[self._bands], np.sqrt(latent.variance[self._bands])
        for part, values in (
            ("mean", mean), ("upper", mean + deviation), ("lower", mean - deviation),
        ):  # fmt: skip
            names = [f"z{i} {part}" for i in self._bands]
            yield _lines(f"latent/{part}", stamp_ns, values, names)
        header = {"form": "bars", "path": "latent/all", "time_ns": stamp_ns}
        yield header, np.asarray(latent.mean, np.float32)
        yield _lines("knowledge", stamp_ns, [latent.kl], ["KL from the prior [nats]"])
        if np.isfinite(latent.novelty):
            limits = self._thresholds or ()
            names = ["novelty", "warn", "error"][: 1 + len(limits)]
            yield _lines("novelty", stamp_ns, [latent.novelty, *limits], names)

    def _rows(self) -> list[list[dict[str, Any]]]:
        """Return views in rows: cameras above what they are predicted as, then numbers."""
        pictures, curves = [], []
        for modality in self._modalities:
            shown = modality.family.shown(modality, modality.example_sample())
            view = {"picture": "plane", "field": "plane", "points": "plane", "words": "words"}
            if (kind := view.get(shown.form)) is None:
                title = f"{modality.name} [{modality.unit}]"
                curves.append({"view": "lines", "title": title, "paths": [modality.name]})
                continue
            pictures.append([
                {"view": kind, "title": f"{modality.name}: {role}",
                 "paths": [f"{modality.name}/{role}"]}
                for role in ("recorded", "predicted")[: 1 + self._has_model]
            ])  # fmt: skip
        numbers: list[dict[str, Any]] = [
            {"view": "lines", "title": "latent, mean with its band", "paths": ["latent"]},
            {"view": "bars", "title": "latent, all means", "paths": ["latent/all"]},
            {"view": "lines", "title": "novelty", "paths": ["novelty"]},
            {"view": "lines", "title": "knowledge", "paths": ["knowledge"]},
        ] * self._has_model
        sensors: list[dict[str, Any]] = [
            {"view": "states", "title": "states", "paths": ["state", "episode"]},
            {"view": "lines", "title": "age [s]", "paths": ["age"]},
        ]
        targets: list[dict[str, Any]] = [
            {"view": "lines", "title": f"{name} [{known.unit}]", "paths": [f"targets/{name}"]}
            for name, known in self._targets.items()
        ]
        rows = [[v for pair in pictures for v in pair], curves, numbers, sensors + targets]
        return [row for row in rows if row]


def _label(path: str, name: str) -> str:
    return f"{name} {path.rpartition('/')[2]}"


def _lines(path: str, time_ns: int, values: Any, names: Sequence[str]) -> Frame:
    header = {"form": "lines", "path": path, "time_ns": time_ns, "names": list(names)}
    return header, np.asarray(values, np.float32)


def _state(path: str, time_ns: int, state: str, reason: str = "") -> Frame:
    header = {"form": "state", "path": path, "time_ns": time_ns, "state": state, "reason": reason}
    return header, _NOTHING
