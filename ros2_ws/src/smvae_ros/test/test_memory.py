"""A node whose model has a memory, over real DDS: who is remembered, what forgets, what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_harness import Client, active_node, fused, nanoseconds, status_of
from sensor_msgs.msg import Image
from smvae_msgs.msg import Estimates, LatentState, ModalityStatus
from std_srvs.srv import Trigger

import smvae_core.estimates
from smvae_core.bundle import Bundle
from smvae_core.estimate_calibration import EstimateCalibration
from smvae_core.modality import all_subsets, subset_name
from smvae_core.runtime import Runtime
from tests.remembering import MODALITIES, NAMES, remembering_bundle

pytestmark = pytest.mark.dds
ALIVE = ("force", "action")


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle that is surer of a target where there is a camera."""
    factors = {
        subset_name(s): {"spot": np.full(2, 0.1 if "rgb" in s else 0.3)} for s in all_subsets(NAMES)
    }
    calibration = EstimateCalibration(subsets=factors, names=NAMES)
    out = tmp_path_factory.mktemp("memory") / "bundle"
    return remembering_bundle(out, estimates=calibration)


@pytest.fixture(scope="module")
def active(remembering: Path, strict: Any, tmp_path_factory: Any) -> Iterator[Client]:
    """One active node that every test plays to."""
    log = tmp_path_factory.mktemp("log") / "node.log"
    with active_node(log, {"bundle": remembering, **strict}, MODALITIES) as client:
        yield client


def play_until(client: Client, played: tuple[str, ...], state: int) -> LatentState:
    """Play until a valid latent has the camera in a state, and return it."""
    client.latents.clear()
    return client.play_until(
        played,
        lambda: [m for m in client.latents if m.valid and status_of(m, "rgb").state == state],
    )[-1]


def lose_the_camera(client: Client) -> LatentState:
    play_until(client, NAMES, ModalityStatus.FUSED)
    return play_until(client, ALIVE, ModalityStatus.REMEMBERED)


def test_a_lost_camera_is_remembered_and_never_shown_as_fused(active: Client) -> None:
    latent = lose_the_camera(active)
    rgb = status_of(latent, "rgb")
    assert "rgb" not in fused(latent)
    assert latent.status == LatentState.DEGRADED
    assert (latent.memory.sec, latent.memory.nanosec) == (5, 0)
    assert rgb.elements > 0
    assert nanoseconds(rgb.stamp) in active.sent["rgb"]
    assert nanoseconds(rgb.oldest) in active.sent["rgb"]
    age_ns = nanoseconds(latent.header.stamp) - nanoseconds(rgb.stamp)
    assert nanoseconds(rgb.age) == pytest.approx(age_ns, abs=1000)
    assert rgb.reason


def test_estimates_rest_on_what_is_remembered_too(active: Client, remembering: Path) -> None:
    heard = active.listen(Estimates, "/smvae/estimates")
    lose_the_camera(active)

    def pairs() -> list[tuple[LatentState, Any]]:
        said = {(e.epoch, e.sequence): e.targets[0] for e in heard}
        lost = [m for m in active.latents if m.valid and status_of(m, "rgb").elements]
        lost = [m for m in lost if status_of(m, "rgb").state == ModalityStatus.REMEMBERED]
        return [(m, said[m.epoch, m.sequence]) for m in lost if (m.epoch, m.sequence) in said]

    latent, spot = active.play_until(ALIVE, pairs)[-1]
    counted = (ModalityStatus.FUSED, ModalityStatus.REMEMBERED)
    rests_on = tuple(s.name for s in latent.modalities if s.state in counted)
    told = smvae_core.estimates.Estimates.of_bundle(Bundle.load(remembering))
    expected = told.apply(rests_on, latent.mean, latent.variance)["spot"]
    assert spot.known
    np.testing.assert_allclose(spot.mean, expected.value, rtol=1e-5)
    np.testing.assert_allclose(spot.covariance, expected.covariance.ravel(), rtol=1e-5)
    alone = told.apply(fused(latent), latent.mean, latent.variance)["spot"]
    np.testing.assert_allclose(alone.std, 3.0 * expected.std, rtol=1e-5)


def test_diagnostics_name_who_is_remembered(active: Client) -> None:
    arrays = active.listen(DiagnosticArray, "/diagnostics")
    lose_the_camera(active)

    def remembered() -> str:
        entries = {s.name: s for s in arrays[-1].status} if arrays else {}
        found = entries.get("smvae: latent")
        return {v.key: v.value for v in found.values}.get("remembered", "") if found else ""

    active.play_until(ALIVE, lambda: "rgb" in remembered())


def test_memory_alone_makes_no_latent(active: Client) -> None:
    lose_the_camera(active)
    active.latents.clear()
    active.until(lambda: [m for m in active.latents if m.status == LatentState.NO_INPUT])
    blind = active.latents[-1]
    assert not blind.valid
    assert not len(blind.mean)
    assert ModalityStatus.REMEMBERED not in {s.state for s in blind.modalities}


def test_a_reset_forgets(active: Client) -> None:
    lose_the_camera(active)
    assert active.call(Trigger, "/smvae/reset", Trigger.Request()).success
    latent = play_until(active, ALIVE, ModalityStatus.STALE)
    assert status_of(latent, "rgb").elements == 0


def test_memory_of_zero_gives_the_fused_set_while_running(
    active: Client, remembering: Path
) -> None:
    lose_the_camera(active)
    assert active.set_parameter("memory_s", 0.0).successful
    try:
        latent = play_until(active, ALIVE, ModalityStatus.STALE)
        assert nanoseconds(latent.memory) == 0
        expected = active.expected_mean(Runtime(remembering), latent)
        np.testing.assert_allclose(latent.mean, expected, atol=1e-5)
    finally:
        assert active.set_parameter("memory_s", 5.0).successful


def test_a_latent_ahead_says_what_it_answers_for(active: Client) -> None:
    images = active.listen(Image, "/smvae/predicted/rgb/image")
    play_until(active, NAMES, ModalityStatus.FUSED)
    assert active.set_parameter("predict_ahead_s", 0.25).successful
    try:
        assert "needs memory_s above 0" in active.set_parameter("memory_s", 0.0).reason
        play_until(active, NAMES, ModalityStatus.FUSED)
        images.clear()
        latent = play_until(active, NAMES, ModalityStatus.FUSED)
        assert nanoseconds(latent.predict_ahead) == 250_000_000
        assert nanoseconds(status_of(latent, "rgb").age) == 0, "of its stamp"
        answers_ns = nanoseconds(latent.header.stamp) + 250_000_000
        active.until(lambda: answers_ns in [nanoseconds(i.header.stamp) for i in images])
    finally:
        assert active.set_parameter("predict_ahead_s", 0.0).successful


def play_disordered(active: Client, played: tuple[str, ...], step: int) -> None:
    """Play a moment; after every third image one comes that is older."""
    stamp = active.moment(played)
    if "rgb" in played and step % 3 == 2:
        active.spin(0.02)
        active.publish("rgb", stamp - 30_000_000)
    active.spin(0.05)


def late_images(latents: list[LatentState]) -> int:
    """Return how many images count that were fused into no moment."""
    return sum(len(status_of(m, "rgb").further_ns) for m in latents if m.valid)


@pytest.mark.parametrize("ahead_s", [0.0, 0.25])
def test_live_equals_offline(active: Client, remembering: Path, ahead_s: float) -> None:
    """What every latent lists, put into a memory in order, gives what the node said."""
    assert active.set_parameter("predict_ahead_s", ahead_s).successful
    active.latents.clear()  # before: what is fused just after the reset counts too
    assert active.call(Trigger, "/smvae/reset", Trigger.Request()).success
    for played in (NAMES, ALIVE, NAMES):
        for step in range(12):
            play_disordered(active, played, step)
    for step in range(120):  # a node that does not keep up leaves late images out
        if late_images(active.latents) >= 3:
            break
        play_disordered(active, NAMES, step)
    assert active.set_parameter("predict_ahead_s", 0.0).successful
    epoch = active.latents[-1].epoch
    latents = [m for m in active.latents if m.valid and m.epoch == epoch]
    assert len(latents) > 20
    runtime = Runtime(remembering)
    recall, states = runtime.recall, set()
    assert recall is not None
    for latent in latents:
        present = fused(latent)
        listed = [(name, nanoseconds(status_of(latent, name).stamp)) for name in present]
        listed += [(s.name, stamp) for s in latent.modalities for stamp in s.further_ns]
        for name, stamp in listed:
            runtime.observe(name, active._sample(name, stamp), stamp)
            element = recall.filter.element(NAMES.index(name), stamp, *runtime.reading(name))
            assert recall.memory.insert(element) == ""
        sensors = [NAMES.index(name) for name in present]
        ahead = nanoseconds(latent.predict_ahead) * 1e-9
        assert ahead == pytest.approx(ahead_s)
        mean, log_var = recall.at(nanoseconds(latent.header.stamp), 5.0, sensors, ahead)
        np.testing.assert_allclose(latent.mean, mean, atol=1e-3)
        np.testing.assert_allclose(np.log(latent.variance), log_var, atol=1e-3)
        counted = {NAMES[s]: each.elements for s, each in recall.memory.listed().items()}
        assert counted == {s.name: s.elements for s in latent.modalities if s.elements}
        states |= {s.state for s in latent.modalities}
    assert ModalityStatus.REMEMBERED in states
    assert late_images(latents) >= 3
