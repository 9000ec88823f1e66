"""One turn: the echo or the node hears the sensors for some seconds, and what came of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from lifecycle_msgs.msg import Transition
from smvae_msgs.msg import LatentState

from benchmarks.reliability.node import NodeProcess, environment
from benchmarks.reliability.observer import Heard, Observer
from smvae_core.runtime import Runtime

#: Of each turn before anything counts [s]: rhythms are measured, caches are warm.
SETTLE_S = 1.5
IMAGES = ("rgb", "depth")


@dataclass(kw_only=True)
class Turn:
    """What one node did in its turn."""

    seconds: float
    latents: int
    """Answers that carry a latent."""
    cpu_s: float
    """Of its process, all threads."""
    latencies_ms: dict[str, list[float]] = field(default_factory=dict)
    """Stamp of the newest sample of a sensor to the first receipt of a latent of it, by sensor."""
    counts: dict[str, float] = field(default_factory=dict)
    """Of the node alone, see `_counts`."""

    def figures(self) -> dict[str, float]:
        """Return what is told of the turn."""
        found = {
            "latents_per_s": self.latents / self.seconds,
            "cores": self.cpu_s / self.seconds,
            "cpu_per_latent_ms": 1e3 * self.cpu_s / max(self.latents, 1),
        }
        for name, values in self.latencies_ms.items():
            for q in (50, 90, 99):
                found[f"{name}_p{q}_ms"] = float(np.percentile(values, q)) if values else np.nan
        return found | self.counts


class Contender:
    """Context manager: the echo or the fused graph, which hears only in its turn."""

    def __init__(self, domain: int, module: str, *arguments: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.live.{module}", *map(str, arguments)],
            env=environment(domain),
            stdin=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Contender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, _: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()

    def say(self, word: str) -> None:
        """Switch it 'on' or 'off'."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    @property
    def cpu_s(self) -> float:
        """CPU time of all its threads."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Answers:
    """Hears a contender; each answer is kept as sensor, and latency [ms]."""

    def __init__(self, observer: Observer, who: str, names: Iterable[str]) -> None:
        self.kept: dict[str, list[float]] = {name: [] for name in names}
        for name in self.kept:
            observer.listen(LatentState, f"/{who}/{name}", self._hear(name))

    def _hear(self, name: str) -> Any:
        kept = self.kept[name]

        def hear(message: LatentState) -> None:
            kept.append((time.time_ns() - _ns(message.header.stamp)) * 1e-6)

        return hear

    def clear(self) -> None:
        """Forget what was heard."""
        for each in self.kept.values():
            each.clear()


def of_contender(
    contender: Contender, answers: Answers, observer: Observer, seconds: float
) -> Turn:
    """Let a contender have its turn."""
    contender.say("on")
    observer.spin(SETTLE_S)
    answers.clear()
    spent_s, begun = contender.cpu_s, time.monotonic()
    observer.spin(seconds)
    passed_s, spent_s = time.monotonic() - begun, contender.cpu_s - spent_s
    kept = {n: list(v) for n, v in answers.kept.items() if v}
    contender.say("off")
    return Turn(
        seconds=passed_s, latents=sum(map(len, kept.values())), cpu_s=spent_s, latencies_ms=kept
    )


def of_node(
    node: NodeProcess, observer: Observer, sensors: tuple[str, ...], seconds: float
) -> Turn:
    """Let the node have its turn; it is inactive before and after."""
    observer.change(Transition.TRANSITION_ACTIVATE)
    observer.spin(SETTLE_S)
    observer.latents.clear()
    spent_s, begun = node.usage()["cpu_s"], time.monotonic()
    observer.spin(seconds)
    passed_s, spent_s = time.monotonic() - begun, node.usage()["cpu_s"] - spent_s
    latents = [heard for heard in observer.latents if heard.message.valid]
    observer.change(Transition.TRANSITION_DEACTIVATE)
    return Turn(
        seconds=passed_s,
        latents=len(latents),
        cpu_s=spent_s,
        latencies_ms={n: first_receipts(latents, n) for n in sensors},
        counts=_counts(latents, sensors, passed_s),
    )


def first_receipts(latents: Iterable[Heard], name: str) -> list[float]:
    """Return of each sample of a sensor how long after its stamp a latent of it came [ms]."""
    found, last_ns = [], 0
    for heard in latents:
        status = heard.status(name)
        stamp_ns = _ns(status.stamp)
        if name in heard.fused and stamp_ns > last_ns:
            if last_ns:  # that of the first latent may have been in one before
                receipt_ns = heard.since_stamp_s * 1e9 + _ns(heard.message.header.stamp)
                found.append((receipt_ns - stamp_ns) * 1e-6)
            last_ns = stamp_ns
    return found


def _counts(latents: list[Heard], sensors: tuple[str, ...], seconds: float) -> dict[str, float]:
    """Return what latents say of themselves and of the images.

    all_fused: share of latents made of every sensor. novelty: share with a score. node_ms: p50 of
    node_latency. For each image `frames` received, `used` in a latent, and `frames_per_s`.
    """
    if len(latents) < 2:
        return {}
    found = {
        "all_fused": float(np.mean([set(h.fused) == set(sensors) for h in latents])),
        "novelty": float(np.mean([not np.isnan(h.message.novelty) for h in latents])),
        "node_ms": float(np.median([h.message.node_latency.nanosec * 1e-6 for h in latents])),
    }
    for name in set(IMAGES) & set(sensors):
        told = [h.status(name) for h in latents]
        frames = told[-1].received - told[0].received
        used = len({_ns(s.stamp) for h, s in zip(latents, told, strict=True) if name in h.fused})
        found |= {f"{name}_frames_per_s": frames / seconds, f"{name}_frames": frames}
        found[f"{name}_used"] = used - 1
    return found


def bare_ms(runtime: Runtime, runs: int = 40) -> float:
    """Return how long a bare embedding of a colour image and pooling take, p50 [ms]."""
    modality = runtime.modality("rgb")
    ready = runtime.network_input("rgb", modality.example_sample())
    spent = []
    for _ in range(runs):
        begun = time.perf_counter()
        runtime.observe("rgb", ready, prepared=True)
        runtime.posterior(("rgb",))
        spent.append(1e3 * (time.perf_counter() - begun))
    return float(np.median(spent))


def _ns(stamp: Any) -> int:
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)
