"""A suspect over DDS: named beside FUSED, an ERROR of diagnostics, left out where that is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_harness import fused, status_of
from smvae_msgs.msg import LatentState, ModalityStatus

from tests.accused import accusing_bundle, scoring_bundle

SENT = ("rgb", "depth", "action")


@pytest.fixture(scope="module")
def accusing(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return accusing_bundle(bundle, tmp_path_factory.mktemp("accusing") / "bundle", "rgb")


def suspecting(client: Any) -> list[Any]:
    return [m for m in client.latents if m.valid and status_of(m, "rgb").suspect]


def test_a_suspect_is_named_beside_fused_and_in_diagnostics(
    start_node, client, accusing, strict
) -> None:
    arrays = client.listen(DiagnosticArray, "/diagnostics")
    start_node(
        bundle=accusing, parameters=strict, diagnostics_period_s=0.1, leave_out_suspects=False
    )
    client.activate()
    latent = client.play_until(SENT, lambda: suspecting(client))[-1]
    rgb = status_of(latent, "rgb")
    assert rgb.state == ModalityStatus.FUSED
    assert rgb.suspicion >= 1.0
    assert rgb.reason.startswith("suspect: its samples are not what depth, action foretell")
    assert not status_of(latent, "depth").suspect

    def shown() -> list[DiagnosticStatus]:
        entries = [s for a in arrays[-1:] for s in a.status if s.name == "smvae: modality rgb"]
        return [s for s in entries if s.level == DiagnosticStatus.ERROR]

    entry = client.play_until(SENT, shown)[0]
    assert entry.message.startswith("suspect: ")
    assert {v.key: v.value for v in entry.values}["suspect"] == "True"


def test_by_default_a_suspect_is_left_out_and_says_so(start_node, client, accusing, strict) -> None:
    start_node(bundle=accusing, parameters=strict)
    client.activate()
    left_out = [n for n in SENT if n != "rgb"]
    latent = client.play_until(
        SENT, lambda: [m for m in suspecting(client) if fused(m) == tuple(left_out)]
    )[-1]
    rgb = status_of(latent, "rgb")
    assert rgb.state == ModalityStatus.REJECTED
    assert rgb.elements == 0
    assert rgb.reason.endswith("left out (leave_out_suspects)")


def test_who_makes_a_set_novel_is_left_out_said_in_diagnostics_and_in_the_log(
    start_node, client, bundle, strict, tmp_path
) -> None:
    odd = scoring_bundle(bundle, tmp_path / "odd", lambda s: 9.0 if "rgb" in s else 0.5)
    arrays = client.listen(DiagnosticArray, "/diagnostics")
    node = start_node(bundle=odd, parameters=strict, diagnostics_period_s=0.1)
    client.activate()
    rest = tuple(n for n in SENT if n != "rgb")
    latent = client.play_until(SENT, lambda: [m for m in suspecting(client) if fused(m) == rest])[
        -1
    ]
    assert latent.status == LatentState.DEGRADED
    assert latent.novelty == 0.5
    rgb = status_of(latent, "rgb")
    assert rgb.state == ModalityStatus.REJECTED
    assert rgb.reason.startswith("suspect: the set is novel")

    def shown() -> list[DiagnosticStatus]:
        entries = [s for a in arrays[-1:] for s in a.status if s.name == "smvae: modality rgb"]
        return [s for s in entries if s.level == DiagnosticStatus.ERROR]

    assert client.play_until(SENT, shown)[0].message == rgb.reason
    assert f"rgb: {rgb.reason}" in node.text()


def test_switched_off_nobody_is_judged(start_node, client, accusing, strict) -> None:
    start_node(bundle=accusing, parameters=strict, suspicion_rate_hz=0.0)
    client.activate()
    client.play_until(SENT, lambda: len([m for m in client.latents if m.valid]) > 40)
    assert not suspecting(client)
