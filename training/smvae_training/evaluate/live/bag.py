"""A recorded live run in memory: latents, inputs, truth, predicted images, marks.

Images are kept at the network's size, which loses nothing that the model or the scores use.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.bags import Bag, BagError
from smvae_core.errors import SMVAEError
from smvae_core.fusion.rules import FusionState
from smvae_core.messages import ConversionOptions, stamp_ns
from smvae_core.modality import Modality
from smvae_core.preprocessing import prepare, raw_sample
from smvae_training.evaluate.measures import images

LATENT = "/smvae/latent"
MARKS = "/demo/schedule"
MODEL_INFO = "/smvae/model_info"


class LiveRunError(SMVAEError, ValueError):
    """A recorded live run that cannot be evaluated."""

    def __init__(self, path: Path | str, what: str) -> None:
        super().__init__(f"bag {path}: {what}")


def input_topic(modality: Modality) -> str:
    """Return where the node listens for a modality unless told otherwise."""
    return f"/{modality.default_topic}"


def sensor_of(modality: Modality) -> str:
    """Return the robot's name of the sensor behind a modality: the first word of its topic."""
    return input_topic(modality).split("/")[1]


def predicted_topic(modality: Modality) -> str:
    """Return where the node publishes what it predicts of an image."""
    return f"/smvae/predicted/{modality.name}/image"


def truth_topic(modality: Modality) -> str:
    """Return where the robot publishes what a camera would see, whether it is on or off."""
    return f"/simulated_robot/ground_truth/{modality.name}"


@dataclass(frozen=True, kw_only=True)
class Latent:
    """One LatentState as the recorder got it."""

    stamp_ns: int
    received_ns: int
    epoch: int
    sequence: int
    valid: bool
    status: int
    mean: NDArray[np.float32]
    variance: NDArray[np.float32]
    generation: int
    """Of the model that made it."""
    node_latency_s: float
    """From the arrival of the message that asked for it to publishing."""
    states: dict[str, FusionState]
    stamps_ns: dict[str, int]
    """Of the sample that each modality contributed."""
    received: dict[str, int] = field(default_factory=dict)
    """Messages of each modality that the node had taken since its activation."""
    memory_s: float = 0.0
    """How far back samples count beside those of the moment; 0 = none does."""
    ahead_s: float = 0.0
    """How long after its stamp it answers for."""
    counted: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Elements and folded samples of each modality that it rests on."""
    held: frozenset[str] = frozenset()
    """Modalities that are fused by hold_last_s alone."""
    further_ns: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Stamps of samples that are of no moment and count from this latent on."""
    doubted: frozenset[str] = frozenset()
    """Suspects that were left out, of which nothing counts any more."""

    @property
    def answers_ns(self) -> int:
        """When its mean and variance answer for."""
        return self.stamp_ns + round(self.ahead_s * 1e9)

    @property
    def stamp_to_received_ms(self) -> float:
        """The recorder's reception minus the stamp."""
        return (self.received_ns - self.stamp_ns) * 1e-6

    @property
    def fused(self) -> frozenset[str]:
        return frozenset(n for n, s in self.states.items() if s == FusionState.FUSED)

    def listed(self) -> Iterator[tuple[str, int]]:
        """Yield modality and stamp of every sample that it lists."""
        for name in self.fused:
            yield name, self.stamps_ns[name]
        for name, stamps in self.further_ns.items():
            yield from ((name, stamp) for stamp in stamps)

    @property
    def rests_on(self) -> frozenset[str]:
        """Modalities that are fused or remembered."""
        counted = (FusionState.FUSED, FusionState.REMEMBERED)
        return frozenset(n for n, s in self.states.items() if s in counted)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One switch of the sensors."""

    label: str
    enabled: tuple[str, ...]
    asked_ns: int
    done_ns: int


@dataclass
class Track:
    """All messages of one topic, by their stamps (N,), in order of the stamps."""

    stamps_ns: NDArray[np.int64]
    received_ns: NDArray[np.int64]
    samples: NDArray[Any]
    """(N, ...): images at the network's size in the raw layout, one reading, or one vector."""

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def at(self, stamp: int, turn: int = 0) -> NDArray[Any] | None:
        """Return the sample with exactly this stamp, None if there is none.

        Two latents may have one stamp (a camera's frame came, then the other's of the same moment),
        and so have their images: `turn` counts them, in order of arrival.
        """
        row = int(np.searchsorted(self.stamps_ns, stamp)) + turn
        there = row < len(self) and int(self.stamps_ns[row]) == stamp
        return self.samples[row] if there else None

    def nearest(self, stamp: int) -> int:
        """Return the row whose stamp is nearest."""
        right = int(np.searchsorted(self.stamps_ns, stamp))
        near = [i for i in (right - 1, right) if 0 <= i < len(self)]
        return min(near, key=lambda i: abs(int(self.stamps_ns[i]) - stamp))

    def before(self, stamp: int) -> int:
        """Return the row of the newest stamp at or before `stamp`, -1 if there is none."""
        return int(np.searchsorted(self.stamps_ns, stamp, side="right")) - 1

    @property
    def period_s(self) -> float:
        """Median time between stamps; NaN with fewer than two."""
        if len(self) < 2:
            return float("nan")
        return float(np.median(np.diff(self.stamps_ns))) * 1e-9


@dataclass(kw_only=True)
class LiveRun:
    """Everything the evaluation needs."""

    path: Path
    modalities: tuple[Modality, ...]
    latents: list[Latent]
    inputs: dict[str, Track]
    truth: dict[str, Track]
    predicted: dict[str, Track]
    marks: list[Mark]
    counts: dict[str, int]
    """Messages by topic."""
    recorder: dict[str, Any]
    """What the recorder noted: messages lost by topic."""
    model: dict[str, str]
    """Name, version, sha256 and provider, as the node announced them."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.modalities)


def shrunk(modality: Modality, sample: NDArray[Any]) -> NDArray[Any]:
    """Return a raw sample with images at the network's size, still in the raw layout.

    `prepare` gives the same array for both, of it with `modality.uncut`.
    """
    if not images([modality]):
        return sample
    return raw_sample(modality, prepare(modality, sample))


class _Tracks:
    """Gathers the messages of one topic while the bag is read."""

    def __init__(self, modality: Modality) -> None:
        self.modality = modality
        self._rows: list[tuple[int, int, NDArray[Any]]] = []

    def add(self, message: Any, received_ns: int) -> None:
        convert = self.modality.converter().to_array
        sample = convert(self.modality, message, ConversionOptions())
        self._rows.append((stamp_ns(message), received_ns, shrunk(self.modality, sample)))

    def track(self) -> Track:
        rows = sorted(self._rows, key=lambda r: r[0])
        return Track(
            np.array([r[0] for r in rows], np.int64),
            np.array([r[1] for r in rows], np.int64),
            np.stack([r[2] for r in rows]) if rows else np.empty((0,)),
        )


def read_bag(path: Path, modalities: tuple[Modality, ...]) -> LiveRun:
    """Read a bag of the demo's live run.

    Args:
        path: Folder of the bag.
        modalities: Of the bundle that the node ran.

    Raises:
        LiveRunError: If there is no bag, it is damaged, or it holds no latents or no marks.
        ConversionError: If a recorded message is not what its modality declares.
        MissingDependency: If rosbags is not installed.
    """
    if not (path / "metadata.yaml").is_file():
        raise LiveRunError(path, "no metadata.yaml; a recording that was cut short has none")
    try:
        with Bag(path) as bag:
            run = _gather(path, modalities, bag)
    except BagError as err:
        raise LiveRunError(path, f"cannot be read: {err}") from err
    if not run.latents:
        raise LiveRunError(path, f"no message on {LATENT}")
    if not run.marks:
        raise LiveRunError(path, f"no message on {MARKS}")
    return run


def _gather(path: Path, modalities: tuple[Modality, ...], bag: Bag) -> LiveRun:
    pictured = images(modalities)
    inputs = {input_topic(m): _Tracks(m) for m in modalities}
    predicted = {predicted_topic(m): _Tracks(m.uncut) for m in pictured}
    truth = {truth_topic(m): _Tracks(m) for m in pictured}
    tracks = inputs | predicted | truth
    latents: list[Latent] = []
    marks: list[Mark] = []
    model: dict[str, str] = {}
    counts: dict[str, int] = defaultdict(int)
    for topic, received_ns, data in bag.messages():
        counts[topic] += 1
        if topic not in tracks and topic not in (LATENT, MARKS, MODEL_INFO):
            continue
        message = bag.decode(topic, data)
        if topic in tracks:
            tracks[topic].add(message, received_ns)
        elif topic == LATENT:
            latents.append(read_latent(message, received_ns))
        elif topic == MARKS:
            marks.append(_mark(message))
        else:
            keys = ("name", "version", "sha256", "provider", "runtime_version")
            model = {key: str(getattr(message, key)) for key in keys}
    return LiveRun(
        path=path,
        modalities=modalities,
        latents=latents,
        inputs=_by_name(inputs.values()),
        truth=_by_name(truth.values()),
        predicted=_by_name(predicted.values()),
        marks=sorted(marks, key=lambda m: m.done_ns),
        counts=dict(sorted(counts.items())),
        recorder=_recorder_notes(path),
        model=model,
    )


def _by_name(tracks: Iterable[_Tracks]) -> dict[str, Track]:
    return {t.modality.name: t.track() for t in tracks}


def read_latent(message: Any, received_ns: int) -> Latent:
    """Return a LatentState message, of rclpy or of rosbags."""
    return Latent(
        stamp_ns=stamp_ns(message),
        received_ns=received_ns,
        epoch=int(message.epoch),
        sequence=int(message.sequence),
        valid=bool(message.valid),
        status=int(message.status),
        mean=np.asarray(message.mean, np.float32),
        variance=np.asarray(message.variance, np.float32),
        generation=int(message.model_generation),
        node_latency_s=message.node_latency.sec + message.node_latency.nanosec * 1e-9,
        states={m.name: FusionState(int(m.state)) for m in message.modalities},
        stamps_ns={
            m.name: int(m.stamp.sec) * 1_000_000_000 + int(m.stamp.nanosec)
            for m in message.modalities
        },
        received={m.name: int(m.received) for m in message.modalities},
        **_of_memory(message),
    )


def _of_memory(message: Any) -> dict[str, Any]:
    """Return what a latent says of its memory; of messages from before there was one, nothing."""
    if not hasattr(message, "memory"):
        return {}
    rests_on = (FusionState.FUSED, FusionState.REMEMBERED)
    return {
        "memory_s": message.memory.sec + message.memory.nanosec * 1e-9,
        "ahead_s": _seconds(getattr(message, "predict_ahead", None)),
        "counted": {
            m.name: (int(m.elements), int(m.folded))
            for m in message.modalities
            if m.state in rests_on
        },
        "held": frozenset(m.name for m in message.modalities if m.held),
        "doubted": frozenset(
            m.name
            for m in message.modalities
            if getattr(m, "suspect", False) and m.state == FusionState.REJECTED
        ),
        "further_ns": {
            m.name: tuple(int(stamp) for stamp in m.further_ns)
            for m in message.modalities
            if len(getattr(m, "further_ns", ()))
        },
    }


def _seconds(duration: Any) -> float:
    """Return a duration in seconds; of one that there is not: 0."""
    return 0.0 if duration is None else float(duration.sec + duration.nanosec * 1e-9)


def _mark(message: Any) -> Mark:
    data = json.loads(message.data)
    return Mark(
        label=str(data["label"]),
        enabled=tuple(data["enabled"]),
        asked_ns=int(data["asked_ns"]),
        done_ns=int(data["done_ns"]),
    )


def _recorder_notes(path: Path) -> dict[str, Any]:
    """Return what the recorder put into the metadata's custom data."""
    from ruamel.yaml import YAML

    text = (path / "metadata.yaml").read_text(encoding="utf-8")
    information = YAML(typ="safe").load(text)["rosbag2_bagfile_information"]
    notes = (information.get("custom_data") or {}).get("recorder")
    return dict(json.loads(notes)) if notes else {}
