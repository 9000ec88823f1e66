"""What a node says without a latent: true ages, its own clock, and nothing that was fused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from in_process_node import InProcess, break_means
from lifecycle_msgs.msg import Transition
from node_harness import fused, status_of
from smvae_msgs.msg import LatentState, ModalityStatus

SECOND = 10**9


def _ns(time: Any) -> int:
    return int(time.sec) * SECOND + int(time.nanosec)


def _blind(client: Any) -> list[LatentState]:
    return [m for m in client.latents if m.status == LatentState.NO_INPUT]


def test_what_is_alive_but_asks_for_nothing_is_not_shown_as_fused(
    start_node, client, bundle, strict
) -> None:
    start_node(bundle=bundle, trigger="rgb", parameters=strict)
    client.activate()
    received = client.play_until(
        ("action",), lambda: [m for m in _blind(client) if status_of(m, "action").received > 3]
    )
    assert {status_of(m, "action").state for m in received} == {ModalityStatus.STALE}
    assert not any(fused(m) for m in client.latents), "there was no posterior"


def test_ages_grow_while_everything_is_stopped(start_node, client, bundle, strict) -> None:
    """The reference of a heartbeat is its stamp, the node's clock."""
    soon = {"modalities.rgb.max_age_s": 0.3}
    start_node(bundle=bundle, parameters=strict | soon, diagnostics_period_s=0.1)
    arrays = client.listen(DiagnosticArray, "/diagnostics")
    client.activate()
    client.play_until(("rgb",), lambda: [m for m in client.latents if m.valid])
    client.latents.clear()
    client.until(
        lambda: len(client.latents) > 5 and status_of(client.latents[-1], "rgb").age.sec >= 2
    )
    ages = []
    for message in client.latents:
        rgb = status_of(message, "rgb")
        if message.status == LatentState.NO_INPUT and _ns(rgb.stamp):
            assert abs(_ns(message.header.stamp) - _ns(rgb.stamp) - _ns(rgb.age)) < 1000
            assert rgb.state != ModalityStatus.FUSED
            ages.append(_ns(rgb.age))
    assert ages == sorted(ages)
    assert len(set(ages)) > 3

    def told_s() -> float:
        entries = {s.name: s for s in arrays[-1].status} if arrays else {}
        values = {v.key: v.value for v in entries["smvae: modality rgb"].values} if entries else {}
        return float(values.get("age_s", "nan"))

    client.until(lambda: told_s() >= 2.0)


def test_a_camera_that_died_ages_in_diagnostics_while_others_live(
    start_node, client, bundle, strict
) -> None:
    start_node(bundle=bundle, parameters=strict, diagnostics_period_s=0.1)
    arrays = client.listen(DiagnosticArray, "/diagnostics")
    client.activate()
    client.play_until(("rgb", "action"), lambda: [m for m in client.latents if len(fused(m)) == 2])

    def ages() -> dict[str, float]:
        found = {}
        for status in arrays[-1].status if arrays else ():
            values = {v.key: v.value for v in status.values}
            if "age_s" in values:
                found[status.name.removeprefix("smvae: modality ")] = float(values["age_s"])
        return found

    client.play_until(("action",), lambda: ages().get("rgb", 0.0) > 1.5)
    assert ages()["action"] < ages()["rgb"]


def test_an_error_is_stamped_by_the_nodes_clock_and_shows_nothing_fused(
    client, domain, bundle, strict
) -> None:
    """As LatentState says: its ages are of that stamp, and there was no posterior to enter."""
    with InProcess(domain, bundle=str(bundle), **strict) as node:
        client.activate()
        runtime = node.session.runtime
        break_means(runtime, np.inf)
        measured_ns = client.now_ns() - 10 * 10**9

        def error() -> list[LatentState]:
            nonlocal measured_ns
            measured_ns += 1
            client.publish("action", measured_ns)
            return [m for m in client.latents if m.status == LatentState.ERROR]

        latent = client.until(error)[-1]
        action = next(s for s in latent.modalities if s.name == "action")
        assert _ns(latent.header.stamp) - measured_ns > 9 * 10**9
        expected_ns = _ns(latent.header.stamp) - _ns(action.stamp)
        assert _ns(action.age) == pytest.approx(expected_ns, abs=1000)
        assert action.state == action.STALE
        del runtime.posteriors


def test_the_hosts_clock_is_not_compared_with_simulated_stamps(client, domain, bundle) -> None:
    arrays = client.listen(DiagnosticArray, "/diagnostics")
    given = {"use_sim_time": True, "diagnostics_period_s": 0.1}
    with InProcess(domain, bundle=str(bundle), **given) as node:
        client.activate()
        client.play_until(("action",), lambda: [m for m in client.latents if m.valid])
        assert math.isnan(node.session.outputs.stamp_to_published_s)
        arrays.clear()
        time = next(s for s in client.until(lambda: arrays)[-1].status if s.name == "smvae: time")
        assert {v.key: v.value for v in time.values}["host_clock_minus_stamp_s"] == "nan"


def test_an_inactive_node_warns_of_no_modality(client, domain, bundle) -> None:
    arrays = client.listen(DiagnosticArray, "/diagnostics")
    with InProcess(domain, bundle=str(bundle), diagnostics_period_s=0.1):
        assert client.change(Transition.TRANSITION_CONFIGURE)

        def modalities() -> list[Any]:
            return [s for s in arrays[-1].status if ": modality " in s.name] if arrays else []

        client.until(modalities)
        assert {(s.level, s.message) for s in modalities()} == {(DiagnosticStatus.OK, "not active")}
        assert client.change(Transition.TRANSITION_ACTIVATE)
        client.until(lambda: {s.message for s in modalities()} == {"ABSENT"})
        assert {s.level for s in modalities()} == {DiagnosticStatus.WARN}
