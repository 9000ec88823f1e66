"""Every subset over real DDS: the fused set and the numbers, against the runtime itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from node_harness import BEST_EFFORT, RELIABLE, Client, active_node, fused
from smvae_msgs.msg import LatentState

from smvae_core.modality import all_subsets, subset_name
from smvae_core.presets import VISION_TOUCH

NAMES = tuple(m.name for m in VISION_TOUCH)
pytestmark = pytest.mark.dds


@pytest.fixture(scope="module", params=[BEST_EFFORT, RELIABLE], ids=["best effort", "reliable"])
def active(
    request: Any, bundle: Any, modalities: Any, strict: Any, tmp_path_factory: Any
) -> Iterator[Client]:
    """One active node for all subsets, and sensors that publish in either way."""
    log = tmp_path_factory.mktemp("subsets") / "node.log"
    with active_node(log, {"bundle": bundle, **strict}, modalities, request.param) as client:
        yield client


@pytest.mark.parametrize("subset", all_subsets(NAMES), ids=subset_name)
def test_latent_of_a_subset_equals_the_runtime(
    active: Client, runtime: Any, subset: tuple[str, ...]
) -> None:
    active.latents.clear()

    def found() -> list[LatentState]:
        return [m for m in active.latents if m.valid and fused(m) == subset]

    latent = active.play_until(subset, found)[0]
    assert len(latent.variance) == len(latent.mean) == runtime.manifest.latent_dim
    assert latent.status == (LatentState.OK if subset == NAMES else LatentState.DEGRADED)
    assert latent.header.stamp == max(
        (s.stamp for s in latent.modalities if s.state == s.FUSED),
        key=lambda t: (t.sec, t.nanosec),
    )
    for message in active.latents:  # also those fused from part of a moment
        if message.valid:
            expected = active.expected_mean(runtime, message)
            np.testing.assert_allclose(message.mean, expected, rtol=1e-4, atol=1e-5)
            assert np.all(np.asarray(message.variance) > 0)


def test_nothing_alive_gives_heartbeats_without_a_latent(start_node, client, bundle) -> None:
    start_node(bundle=bundle, heartbeat_rate_hz=20.0)
    client.activate()
    client.until(lambda: len(client.latents) >= 5)
    for message in client.latents:
        assert message.status == LatentState.NO_INPUT
        assert not message.valid
        assert len(message.mean) == len(message.variance) == 0
    sequences = [m.sequence for m in client.latents]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
