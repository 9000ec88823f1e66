"""Sensors at five times their rate: is latency bounded, does a queue grow?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.reliability.node import NodeProcess, random_domain
from benchmarks.reliability.observer import Heard, Observer
from benchmarks.reliability.record import Promise, Result
from benchmarks.reliability.sensors import NAMES, RATES_HZ, Sensors

MULTIPLE = 5.0
SIZE = (128, 128)
#: Of a percentile in the last third of the run over that in the first.
RATIO = {50: 1.5, 99: 2.0}
LIMIT_MB = 5.0
#: Of stamp to receipt, 99 in 100 latents, in mean times from latent to latent, whatever the machine
#: makes of them: a sample waits for the run before its own, for its own, and is sent.
PERIODS = 3.0
#: Latents of samples that were sent longer than this before are work that was queued.
LATE_S = 1.0
QUANTITIES = ("node_latency_ms", "stamp_to_receipt_ms")


def measure(bundle: Path, folder: Path, seconds: float) -> Result:
    """Flood one node for so long, then stop and see what it still works off."""
    domain = random_domain()
    rows: list[dict[str, float]] = []
    rss: list[float] = []

    def note(heard: Heard, begun: float) -> None:
        if not heard.message.valid:
            return
        latency = heard.message.node_latency
        rows.append(
            {
                "at_s": heard.steady_s - begun,
                "node_latency_ms": latency.sec * 1e3 + latency.nanosec * 1e-6,
                "stamp_to_receipt_ms": heard.since_stamp_s * 1e3,
                "fused": len(heard.fused),
            }
        )

    with (
        NodeProcess(domain, folder / "overload.log", {"bundle": bundle}) as node,
        Observer(domain) as observer,
        Sensors(domain, size=SIZE, multiple=MULTIPLE) as sensors,
    ):
        observer.activate()
        observer.heard(lambda one: one.fused == NAMES, "a latent of every sensor")
        observer.spin(5.0)
        observer.latents.clear()
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < seconds:
            observer.spin(0.5 - passed % 0.5)
            rss.append(node.usage()["rss_mb"])
            while observer.latents:
                note(observer.latents.popleft(), begun)
        sensors.stop()
        ended = time.monotonic()
        observer.spin(5.0)
        late = [
            one.steady_s - ended
            for one in observer.latents
            if one.message.valid and one.since_stamp_s > LATE_S
        ]
        state = observer.state()
    return result(rows, rss, len(late), state, sensors.sent)


def percentiles(rows: list[dict[str, float]], quantity: str) -> dict[str, NDArray[np.float64]]:
    """Return p50 and p99 of the first third of the run's time, of the last, and of all."""
    at, values = (np.array([r[k] for r in rows]) for k in ("at_s", quantity))
    third = at[-1] / 3
    parts = {"first": at < third, "last": at >= 2 * third, "all": at >= 0}
    return {k: np.percentile(values[part], list(RATIO)) for k, part in parts.items()}


def result(
    rows: list[dict[str, float]],
    rss: list[float],
    late: int,
    state: str,
    sent: dict[str, dict[str, float]],
) -> Result:
    """Compare the first third with the last, and the wait with the pace."""
    figures: dict[str, Any] = {
        quantity: {
            part: {f"p{q}": float(v) for q, v in zip(RATIO, values, strict=True)}
            for part, values in percentiles(rows, quantity).items()
        }
        for quantity in QUANTITIES
    }
    seconds = rows[-1]["at_s"]
    everything = figures["stamp_to_receipt_ms"]["all"]
    promises = [
        *_steady(figures),
        Promise(
            text=f"at {MULTIPLE:g} times the sensor rates and images of {SIZE[0]} x {SIZE[1]}, 99 "
            f"in 100 latents are received within {PERIODS:g} times the mean time between latents "
            "after their stamp: a sample waits only for the run before its own",
            figure=everything["p99"] / (1e3 * seconds / len(rows)),
            limit=PERIODS,
            unit="",
        ),
    ]
    third = len(rss) // 3
    growth = float(np.mean(rss[-third:]) - np.mean(rss[:third]))
    promises += [
        Promise(
            text=f"at {MULTIPLE:g} times the rates, no latent is made of samples older than "
            f"{LATE_S:g} s once the sensors stop: nothing was queued",
            figure=late,
            limit=0,
            unit="latents",
        ),
        Promise(
            text=f"at {MULTIPLE:g} times the rates, memory grows by at most {LIMIT_MB:g} MB from "
            "the first third of the run to the last",
            figure=growth,
            limit=LIMIT_MB,
            unit="MB",
        ),
    ]
    rates = ", ".join(f"{n} {sent[n]['rate_hz']:.0f} Hz" for n in NAMES)
    return Result(
        promises=tuple(promises),
        done=f"{seconds:.0f} s of {rates} as sent, with images of {SIZE[0]} x {SIZE[1]}. "
        f"The node made {len(rows) / seconds:.1f} latents per second. The time from stamp to "
        f"receipt was {everything['p50']:.0f} ms (p50) and {everything['p99']:.0f} ms (p99).",
        settings={
            "image_size": SIZE,
            "wanted_hz": {k: v * MULTIPLE for k, v in RATES_HZ.items()},
            "parameters": "defaults (max_rate_hz 100)",
        },
        raw={
            "latencies": figures,
            "latents": len(rows),
            "memory_growth_mb": growth,
            "late_latents": late,
            "state_at_the_end": state,
            "sent": sent,
            "rss_mb": rss,
            "rows": {k: [round(r[k], 3) for r in rows] for k in rows[0]},
        },
    )


def _steady(figures: dict[str, Any]) -> list[Promise]:
    """Return the promises that no percentile grows from the first third to the last."""
    named = {"node_latency_ms": "node latency", "stamp_to_receipt_ms": "stamp-to-receipt"}
    return [
        Promise(
            text=f"at {MULTIPLE:g} times the sensor rates, the p{q} of {named[quantity]} in the "
            f"last third of the run is at most {limit:g} times that of the first third",
            figure=figures[quantity]["last"][f"p{q}"] / figures[quantity]["first"][f"p{q}"],
            limit=limit,
            unit="",
        )
        for quantity in QUANTITIES
        for q, limit in RATIO.items()
    ]
