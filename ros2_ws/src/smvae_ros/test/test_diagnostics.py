"""/diagnostics of a running node: every entry, its values, and that nothing silences them."""

from __future__ import annotations

import platform
from array import array
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from in_process_node import InProcess, break_means
from lifecycle_msgs.msg import Transition
from node_harness import LATCHED, ModelInfo, fused
from rosgraph_msgs.msg import Clock
from smvae_msgs.msg import LatentState
from smvae_ros.report import diagnostics, resources

CONFIGURE = Transition.TRANSITION_CONFIGURE
PERIOD_S = 0.1


class Board:
    """The newest entries, by name without the node's."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.arrays: list[DiagnosticArray] = client.listen(DiagnosticArray, "/diagnostics")

    def newest(self) -> dict[str, DiagnosticStatus]:
        if not self.arrays:
            return {}
        return {s.name.removeprefix("smvae: "): s for s in self.arrays[-1].status}

    def entry(self, name: str, **wanted: Any) -> dict[str, str]:
        """Wait for an entry with this level and message; return its values."""

        def found() -> list[DiagnosticStatus]:
            status = self.newest().get(name)
            right = status is not None and all(
                v in getattr(status, k) if k == "message" else getattr(status, k) == v
                for k, v in wanted.items()
            )
            return [status] if right else []

        try:
            status = self._client.until(found)[0]
        except AssertionError:
            raise AssertionError(f"{name} is {self.newest().get(name)}") from None
        return {v.key: v.value for v in status.values}


@pytest.fixture
def board(client: Any) -> Board:
    return Board(client)


def test_every_entry_of_an_active_node(
    start_node, client, board, bundle, runtime, strict, modalities
) -> None:
    start_node(bundle=bundle, parameters=strict, diagnostics_period_s=PERIOD_S)
    board.entry("model", message="not configured", level=DiagnosticStatus.STALE)
    assert set(board.newest()) == {"model", "memory", "gpu"}
    client.activate()
    client.play_until(("rgb", "force"), lambda: [m for m in client.latents if len(fused(m)) == 2])
    client.play_until(("rgb", "force"), lambda: len(client.latents) > 20)
    client.moment(("rgb", "force"))
    model = board.entry("model", message="untrained", level=DiagnosticStatus.OK)
    assert set(board.newest()) == {
        *(f"modality {m.name}" for m in modalities),
        *("model", "inference", "latent", "time", "memory", "gpu"),
    }
    assert model["sha256"] == runtime.bundle.sha256
    assert (model["provider_wanted"], model["provider"]) == ("cpu", "CPUExecutionProvider")
    assert model["nodes"].startswith("CPUExecutionProvider ")
    assert (model["generation"], model["state"]) == ("1", "active")
    rgb = board.entry("modality rgb", level=DiagnosticStatus.OK)
    assert (rgb["topic"], rgb["publishers"]) == ("/rgb/image", "1")
    assert float(rgb["rate_hz"]) > 0
    assert 0 <= float(rgb["transport_delay_p50_ms"]) <= float(rgb["transport_delay_p95_ms"])
    assert float(rgb["max_skew_s"]) == pytest.approx(0.01)
    board.entry("modality depth", message="ABSENT", level=DiagnosticStatus.WARN)
    inference = board.entry("inference", message="running")
    percentiles = [float(inference[f"node_latency_p{q}_ms"]) for q in (50, 95, 99)]
    assert 0 < percentiles[0] <= percentiles[1] <= percentiles[2]
    assert float(inference["inference_p50_ms"]) <= percentiles[0]
    assert float(inference["rate_hz"]) > 0
    assert int(inference["missed_triggers"]) >= 0
    latent = board.entry("latent")
    assert latent["not_finite"] == "0"
    assert {"novelty", "novelty_warn", "novelty_error", "fused"} <= set(latent)
    clock = board.entry("time", message="system time")
    assert abs(float(clock["host_clock_minus_stamp_s"])) < 10.0
    assert float(board.entry("memory")["resident_mb"]) > 10.0
    assert {s.hardware_id for s in board.arrays[-1].status} == {platform.node()}
    assert not client.change(CONFIGURE)  # not from active
    assert client.change(Transition.TRANSITION_DEACTIVATE)
    board.entry("inference", message="not active")
    assert client.change(Transition.TRANSITION_CLEANUP)
    board.entry("model", message="not configured")


def test_a_node_that_was_shut_down_says_so_and_takes_no_parameters(
    start_node, client, board, bundle
) -> None:
    start_node(bundle=bundle, diagnostics_period_s=PERIOD_S)
    assert client.change(CONFIGURE)
    assert client.change(Transition.TRANSITION_INACTIVE_SHUTDOWN)
    values = board.entry("model", message="shut down", level=DiagnosticStatus.STALE)
    assert values["state"] == "finalized"
    refused = client.set_parameter("max_rate_hz", 20.0)
    assert (refused.successful, refused.reason.partition(",")[0]) == (
        False,
        "the node is shut down",
    )


def test_a_provider_that_is_not_there_is_refused(start_node, client, board, bundle) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has the provider that must be missing here")
    process = start_node(bundle=bundle, provider="cuda", diagnostics_period_s=PERIOD_S)
    assert not client.change(CONFIGURE)
    assert client.state() == "unconfigured"
    reason = "provider 'cuda' is not available"
    values = board.entry("model", message=reason, level=DiagnosticStatus.ERROR)
    assert (values["provider_wanted"], values["state"]) == ("cuda", "unconfigured")
    assert values["bundle"] == str(bundle)
    assert reason in process.log.read_text()
    assert client.set_parameter("provider", "cpu").successful
    assert client.change(CONFIGURE)
    board.entry("model", message="untrained", level=DiagnosticStatus.OK)


def test_an_allowed_fallback_is_shown(start_node, client, board, bundle) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has the provider that must be missing here")
    process = start_node(
        bundle=bundle,
        provider="cuda",
        diagnostics_period_s=PERIOD_S,
        parameters={"allow_cpu_fallback": True},
    )
    assert client.change(CONFIGURE)
    text = "runs on CPUExecutionProvider, not on cuda"
    values = board.entry("model", message=text, level=DiagnosticStatus.WARN)
    assert (values["provider_wanted"], values["provider"]) == ("cuda", "CPUExecutionProvider")
    infos = client.listen(ModelInfo, "/smvae/model_info", LATCHED)
    assert client.until(lambda: infos)[0].provider == "CPUExecutionProvider"
    assert "on CPUExecutionProvider (asked for cuda)" in process.log.read_text()


def test_depth_that_looks_like_millimetres_is_a_warning(
    start_node, client, board, bundle, strict, modalities
) -> None:
    start_node(bundle=bundle, parameters=strict, diagnostics_period_s=PERIOD_S)
    client.activate()
    depth = modalities[1]

    def odd() -> bool:
        stamp = client.now_ns()
        sample = depth.example_sample(1)
        sample[10:] *= np.float32(1000.0)  # with no row in metres it would be refused
        client.publish("depth", stamp, client.message("depth", sample, stamp))
        status = board.newest().get("modality depth")
        return status is not None and "millimet" in status.message

    client.until(odd)
    status = board.newest()["modality depth"]
    assert status.level == DiagnosticStatus.WARN
    assert int({v.key: v.value for v in status.values}["implausible"]) > 0


def test_a_force_sensor_that_is_too_slow_for_its_window_says_so(
    start_node, client, board, bundle
) -> None:
    patient = {"modalities.force.max_age_s": 5.0}  # of a test that may be held up
    start_node(bundle=bundle, diagnostics_period_s=PERIOD_S, parameters=patient)
    client.activate()
    reason = "STALE: 2 readings in the window, 3 needed: a higher rate"
    stamps = [client.now_ns()]

    def told() -> bool:
        while stamps[-1] < client.now_ns():
            reading = client.message("force", np.zeros(6, np.float32), stamps[-1])
            client.publish("force", stamps[-1], reading)
            stamps.append(stamps[-1] + 16_000_000)
        status = board.newest().get("modality force")
        return status is not None and reason in status.message

    client.until(told)
    status = board.newest()["modality force"]
    assert status.level == DiagnosticStatus.WARN
    assert {v.key: v.value for v in status.values}["state"] == "STALE"


def test_a_sensor_all_of_whose_messages_are_refused_is_an_error_with_the_first_reason(
    start_node, client, board, bundle, strict
) -> None:
    process = start_node(bundle=bundle, parameters=strict, diagnostics_period_s=PERIOD_S)
    client.activate()
    lost = "rejected, none used; the first: rgb: encoding: "

    def told() -> bool:
        stamp = client.now_ns()
        message = client.message("rgb", client.modalities["rgb"].example_sample(1), stamp)
        message.encoding = "ultraviolet8"
        client.publish("rgb", stamp, message)
        client.spin(0.05)
        status = board.newest().get("modality rgb")
        return status is not None and lost in status.message

    client.until(told)
    assert board.newest()["modality rgb"].level == DiagnosticStatus.ERROR
    assert f" {lost}" in process.log.read_text(encoding="utf-8")
    shown = client.play_until(
        ("rgb", "action"),
        lambda: [s for s in [board.newest()["modality rgb"]] if s.message == "FUSED"],
    )
    assert shown[0].level == DiagnosticStatus.OK


def test_diagnostics_come_while_the_clock_stands_still(start_node, client, board, bundle) -> None:
    start_node(bundle=bundle, diagnostics_period_s=PERIOD_S, parameters={"use_sim_time": True})
    client.activate()
    board.entry("time", message="nothing came on /clock", level=DiagnosticStatus.WARN)
    clock = client.node.create_publisher(Clock, "/clock", 10)
    client.until(clock.get_subscription_count)
    message = Clock()
    message.clock.sec = 1000

    def ticked() -> bool:
        clock.publish(message)
        return "time" in board.newest() and board.newest()["time"].message == "simulated time"

    client.until(ticked)
    board.arrays.clear()
    client.until(lambda: len(board.arrays) >= 5)  # at one and the same time of /clock
    assert len({(a.header.stamp.sec, a.header.stamp.nanosec) for a in board.arrays}) == 1


def test_diagnostics_come_while_sensors_flood_the_node(
    start_node, client, board, bundle, strict
) -> None:
    """Images and readings as fast as this process can: the steady timer is served in its turn."""
    start_node(bundle=bundle, parameters=strict, diagnostics_period_s=PERIOD_S)
    client.activate()
    board.arrays.clear()
    sent = 0

    def served() -> bool:
        nonlocal sent
        client.moment(("rgb", "depth", "force", "action"))
        sent += 1
        return len(board.arrays) >= 8

    client.until(served)
    assert sent > 20, "it was a flood"


def test_images_that_replace_each_other_unseen_are_missed_triggers(
    start_node, client, board, bundle, strict
) -> None:
    slow = strict | {"max_rate_hz": 2.0}
    start_node(bundle=bundle, parameters=slow, diagnostics_period_s=PERIOD_S)
    client.activate()
    client.play_until(
        ("rgb", "force"), lambda: int(board.entry("inference")["missed_triggers"]) > 0
    )


def test_a_model_that_gives_no_numbers_is_counted(client, bundle, domain) -> None:
    """Not finite: LatentState ERROR, an entry of the diagnostics, and the node goes on."""
    board = Board(client)
    with InProcess(domain, bundle=str(bundle), diagnostics_period_s=PERIOD_S) as node:
        client.activate()
        runtime = node.session.runtime
        break_means(runtime, np.nan)
        client.moment(("action",))
        client.until(lambda: [m for m in client.latents if m.status == LatentState.ERROR])
        values = board.entry("latent", level=DiagnosticStatus.ERROR)
        assert int(values["not_finite"]) >= 1
        assert client.state() == "active"
        del runtime.posteriors
        client.latents.clear()
        client.play_until(("action",), lambda: [m for m in client.latents if m.valid])


def test_without_nvml_the_gpu_entry_says_so() -> None:
    device = resources.Gpu()
    if not device.missing:
        pytest.skip("this machine has a GPU")
    entry = diagnostics.gpu(device)
    assert entry.level == DiagnosticStatus.OK
    assert entry.message.startswith("no GPU: ")
    assert resources.hardware_id(device, "CUDAExecutionProvider") == platform.node()


def test_memory_is_that_of_the_process() -> None:
    before = resources.memory_mb()["resident_mb"]
    kept = array("B", bytes(64_000_000))
    after = resources.memory_mb()
    assert after["resident_mb"] >= before + 50.0
    assert after["peak_mb"] >= after["resident_mb"]
    assert resources.threads() >= 1
    assert len(kept) == 64_000_000
