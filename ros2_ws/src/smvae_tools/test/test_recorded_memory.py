"""A node that remembers is recorded, and `smvae audit` makes its latents again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from node_harness import Client, NodeProcess
from rclpy.qos import QoSProfile
from robot_harness import Program

from smvae_training.audit.audit import audit
from tests.remembering import MODALITIES, remembering_bundle

pytestmark = pytest.mark.dds
TOPICS = ("/smvae/latent", "/smvae/model_info", "/rgb/image", "/wrench", "/action")
MS = 1_000_000
#: Time between two samples [ms]; every fourth image comes 90 ms later than it should.
PERIODS = {"force": 2, "action": 10, "rgb": 33}
LATE = 90


def play(client: Client, seconds: float) -> None:
    """Publish what is due until the time is over."""
    begin_ns, sent = client.now_ns(), dict.fromkeys(PERIODS, 0)
    late: list[tuple[int, int]] = []
    while (at_ns := client.now_ns() - begin_ns) < seconds * 1e9:
        for name, period in PERIODS.items():
            while (due_ns := sent[name] * period * MS) <= at_ns:
                sent[name] += 1
                if name == "rgb" and sent[name] % 4 == 0:
                    late.append((due_ns + LATE * MS, due_ns))
                elif name == "force":
                    reading = np.full(6, sent[name] % 7, np.float32)
                    client._send(client.modalities[name], reading, begin_ns + due_ns)
                else:
                    client.publish(name, begin_ns + due_ns)
        while late and late[0][0] <= at_ns:
            client.publish("rgb", begin_ns + late.pop(0)[1])
        client.spin(0.001)


def test_late_samples_and_those_of_no_latent_are_audited(tmp_path: Path, domain: int) -> None:
    """Latents at 8 Hz, a tenth of a second ahead, of sensors at 30 to 500 Hz."""
    bundle = remembering_bundle(tmp_path / "bundle")
    parameters = {"bundle": bundle, "max_rate_hz": 8.0, "predict_ahead_s": 0.1}
    node = NodeProcess(domain, tmp_path / "node.log", parameters)
    client = Client(domain, MODALITIES, QoSProfile(depth=1000))  # reliable: the recorder lacks none
    words = (str(tmp_path / "bag"), "--topics", *TOPICS)
    recorder = Program("smvae_tools.bags.recorder", domain, tmp_path / "recorder.log", *words)
    try:
        client.activate()
        client.until(lambda: all(p.get_subscription_count() > 1 for p in listened(client)))
        client.spin(1.0)  # we see the recorder; it may see us a moment later
        play(client, 4.0)
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
    further = Counter[str]()
    for latent in client.latents:
        further.update({s.name: len(s.further_ns) for s in latent.modalities})
    assert further["rgb"] > 30, "of 120, at 8 latents a second; a busy node hears less"
    assert further["action"] > 100
    assert further["force"] > 40
    assert not any(s.rejected for s in client.latents[-1].modalities)


def listened(client: Client) -> list[Any]:
    return [client._publishers[name] for name in PERIODS]
