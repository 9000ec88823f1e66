"""Minutes at full sensor rates, with a viewer: does the node grow?"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from benchmarks.reliability.node import NodeProcess, random_domain
from benchmarks.reliability.observer import Observer
from benchmarks.reliability.record import Promise, Result
from benchmarks.reliability.sensors import NAMES, RATES_HZ, Sensors

LIMIT_MB = 1.0
SIZE = (640, 480)
PREDICTED = ("/smvae/predicted/rgb/image", "/smvae/predicted/depth/image")
#: Before it caches, arenas and shared memory fill up.
WARM_UP_S = 60.0


def measure(bundle: Path, folder: Path, minutes: float) -> Result:
    """Run one node for so many minutes and look at it once a second."""
    domain = random_domain()
    images = dict.fromkeys(PREDICTED, 0)
    samples: list[dict[str, float]] = []
    latents = 0

    def count(topic: str, _: Image) -> None:
        images[topic] += 1

    with (
        NodeProcess(domain, folder / "soak.log", {"bundle": bundle}) as node,
        Observer(domain) as observer,
        Sensors(domain, size=SIZE) as sensors,
    ):
        observer.activate()
        for topic in PREDICTED:
            observer.listen(Image, topic, partial(count, topic))
        observer.heard(lambda one: one.fused == NAMES, "a latent of every sensor")
        begun = time.monotonic()
        observer.latents.clear()
        while (passed := time.monotonic() - begun) < minutes * 60.0:
            observer.spin(1.0 - passed % 1.0)
            heard = [one.fused for one in observer.latents if one.message.valid]
            observer.latents.clear()
            latents += len(heard)
            samples.append(
                {"at_s": time.monotonic() - begun, "latents": len(heard), **node.usage()}
                | {"all_fused": sum(names == NAMES for names in heard)}
            )
        seconds = time.monotonic() - begun
        state = observer.state()
        sensors.stop()
        exit_code = node.interrupt()
    return result(samples, seconds, latents, images, state, exit_code, sensors.sent)


def result(
    samples: list[dict[str, float]],
    seconds: float,
    latents: int,
    images: dict[str, int],
    state: str,
    exit_code: int,
    sent: dict[str, dict[str, float]],
) -> Result:
    """Judge what was seen once a second."""
    growth, slope = memory(samples)
    settled = slope_of([s for s in samples if s["at_s"] >= seconds / 2])
    parts = {k: memory(samples, f"{k}_mb")[0] for k in ("anonymous", "shared")}
    warm = [s for s in samples if s["at_s"] >= WARM_UP_S] or samples
    most = {k: max(s[k] for s in warm) for k in ("threads", "descriptors")}
    more = {k: most[k] - warm[0][k] for k in most}
    silent = sum(s["latents"] == 0 for s in samples)
    minutes = seconds / 60.0
    said = f"in {minutes:.0f} minutes at full sensor rates"
    return Result(
        promises=(
            Promise(
                text=f"memory grows by at most {LIMIT_MB:g} MB {said}, from the mean of the second "
                "minute to the mean of the last minute",
                figure=growth,
                limit=LIMIT_MB,
                unit="MB",
            ),
            Promise(
                text=f"no thread is added {said}, after the first minute",
                figure=more["threads"],
                limit=0,
                unit="threads",
            ),
            Promise(
                text=f"no file descriptor is added {said}, after the first minute",
                figure=more["descriptors"],
                limit=0,
                unit="descriptors",
            ),
            Promise(
                text=f"no second passes without a latent {said}",
                figure=silent,
                limit=0,
                unit="seconds",
            ),
        ),
        done=f"{minutes:.0f} minutes of rgb and depth of {SIZE[0]} x {SIZE[1]} at 30 Hz, force at "
        "500 Hz, action at 20 Hz. A listener received latents and both predicted images. The node "
        f"made {latents / seconds:.1f} latents per second, "
        f"{sum(s['all_fused'] for s in samples) / max(latents, 1):.1%} of them of all four "
        f"sensors. Of the growth {parts['anonymous']:.2f} MB are the node's own memory, and "
        f"{parts['shared']:.2f} MB are pages of Fast DDS's shared memory. A line through all "
        f"samples after the first minute rises by {slope:.2f} MB per minute, a line through the "
        f"second half by {settled:.3f}.",
        settings={"image_size": SIZE, "rates_hz": RATES_HZ, "parameters": "defaults"},
        raw={
            "seconds": seconds,
            "memory_slope_mb_per_minute": slope,
            "memory_slope_of_second_half_mb_per_minute": settled,
            "memory_growth_mb": growth,
            "memory_growth_of_parts_mb": parts,
            "latents_per_s": latents / seconds,
            "images_per_s": {k: v / seconds for k, v in images.items()},
            "cpu_share": (samples[-1]["cpu_s"] - samples[0]["cpu_s"])
            / (samples[-1]["at_s"] - samples[0]["at_s"]),
            "state_at_the_end": state,
            "exit_code_of_sigint": exit_code,
            "sent": sent,
            "samples": columns(samples),
        },
    )


def memory(samples: list[dict[str, float]], key: str = "rss_mb") -> tuple[float, float]:
    """Return growth [MB] from the second minute's mean to the last's, and a line's slope [MB/min].

    Runs shorter than three minutes take their second and last third for these minutes.
    """
    at, rss = (np.array([s[k] for s in samples]) for k in ("at_s", key))
    minute = min(WARM_UP_S, float(at[-1]) / 3)
    warm = at >= minute
    second, last = warm & (at < 2 * minute), at >= at[-1] - minute
    slope = slope_of([s for s in samples if s["at_s"] >= minute], key)
    return float(rss[last].mean() - rss[second].mean()), slope


def slope_of(samples: list[dict[str, float]], key: str = "rss_mb") -> float:
    """Return the slope of a line through samples [MB/min]."""
    at, rss = (np.array([s[k] for s in samples]) for k in ("at_s", key))
    return float(np.polyfit(at / 60.0, rss, 1)[0])


def columns(samples: list[dict[str, float]]) -> dict[str, list[Any]]:
    """Return lists by name, whole numbers as such."""
    return {k: [int(s[k]) if s[k] == int(s[k]) else s[k] for s in samples] for k in samples[0]}
