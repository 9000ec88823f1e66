"""A node that remembers is recorded, and `smvae audit` makes its latents again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from node_harness import Client, NodeProcess
from rclpy.qos import QoSProfile
from robot_harness import Program
from smvae_msgs.msg import LatentState

from smvae_training.audit.audit import audit
from tests.remembering import MODALITIES, remembering_bundle

pytestmark = pytest.mark.dds
TOPICS = ("/smvae/latent", "/smvae/model_info", "/rgb/image", "/wrench", "/action")
MS = 1_000_000
#: Time between two samples [ms]; every fourth image comes 90 ms later than it should.
PERIODS = {"force": 2, "action": 10, "rgb": 33}
LATE = 90
#: Valid latents to hear, and further samples of theirs.
LATENTS, FURTHER = 20, {"rgb": 30, "action": 100, "force": 40}


def schedule() -> Iterator[tuple[int, int, str]]:
    """Yield, in the order of sending, when [ms], the stamp [ms] and the modality, without end."""
    for now in count():
        for name, period in PERIODS.items():
            if now % period == 0 and not (name == "rgb" and is_late(now)):
                yield now, now, name
        if now >= LATE and (now - LATE) % PERIODS["rgb"] == 0 and is_late(now - LATE):
            yield now, now - LATE, "rgb"


def is_late(stamp: int) -> bool:
    return stamp // PERIODS["rgb"] % 4 == 3


def play(client: Client, done: Callable[[], bool], limit_s: float = 120.0) -> None:
    """Publish the schedule until `done`; a busy node takes longer to hear as much."""
    begin_ns = client.now_ns()
    for due, stamp, name in schedule():
        while (now_ns := client.now_ns() - begin_ns) < due * MS:
            client.spin(0.001)
        if name == "rgb":
            client.executor.spin_once(timeout_sec=0.0)  # also when we are behind
            if done():
                return
            assert now_ns < limit_s * 1e9, f"in {limit_s} s only {further(client.latents)}"
        stamp_ns = begin_ns + stamp * MS
        if name == "force":
            reading = np.full(6, stamp % 7, np.float32)
            client._send(client.modalities[name], reading, stamp_ns)
        else:
            client.publish(name, stamp_ns)


def test_late_samples_and_those_of_no_latent_are_audited(tmp_path: Path, domain: int) -> None:
    """Latents at 4 Hz, a tenth of a second ahead, of sensors at 30 to 500 Hz."""
    bundle = remembering_bundle(tmp_path / "bundle")
    parameters = {"bundle": bundle, "max_rate_hz": 4.0, "predict_ahead_s": 0.1}
    node = NodeProcess(domain, tmp_path / "node.log", parameters)
    client = Client(domain, MODALITIES, QoSProfile(depth=1000))  # reliable: the recorder lacks none
    words = (str(tmp_path / "bag"), "--topics", *TOPICS)
    recorder = Program("smvae_tools.bags.recorder", domain, tmp_path / "recorder.log", *words)
    try:
        client.activate()
        client.until(lambda: all(p.get_subscription_count() > 1 for p in listened(client)))
        client.spin(1.0)  # we see the recorder; it may see us a moment later
        play(client, lambda: heard_enough(client.latents))
        client.spin(0.5)
        assert recorder.interrupt() == 0, recorder.text()
    finally:
        recorder.end()
        client.close()
        node.end()
    found = audit(tmp_path / "bag", bundle)
    latents = found["latents"]
    assert latents["different"] == 0, found["different_latents"]
    assert latents["reproduced"] > 12, found["incomplete_latents"]
    assert not any(s.rejected for s in client.latents[-1].modalities)


def heard_enough(latents: list[LatentState]) -> bool:
    told = further(latents)
    return sum(v.valid for v in latents) >= LATENTS and all(told[n] >= FURTHER[n] for n in FURTHER)


def further(latents: list[LatentState]) -> Counter[str]:
    """Return how many further samples the latents told of, of each modality."""
    told = Counter[str]()
    for latent in latents:
        told.update({s.name: len(s.further_ns) for s in latent.modalities})
    return told


def listened(client: Client) -> list[Any]:
    return [client._publishers[name] for name in PERIODS]
