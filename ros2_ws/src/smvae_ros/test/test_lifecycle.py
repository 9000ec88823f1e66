"""The lifecycle over real DDS: failures say why, late joiners get the model, SIGINT exits 0."""

from __future__ import annotations

import pkgutil
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import smvae_ros
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from in_process_node import InProcess
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_harness import LATCHED, WITHOUT_TORCH, ModelInfo, fused
from rcl_interfaces.srv import DescribeParameters
from smvae_msgs.msg import LatentState
from smvae_ros.listen.inputs import Inputs

from smvae_core.runtime import Runtime

CONFIGURE = Transition.TRANSITION_CONFIGURE
ACTIVATE = Transition.TRANSITION_ACTIVATE


def test_model_info_reaches_a_late_joiner(start_node, client, bundle, runtime) -> None:
    start_node(bundle=bundle)
    assert client.change(CONFIGURE)
    received = client.listen(ModelInfo, "/smvae/model_info", LATCHED)
    info = client.until(lambda: received)[0]
    assert info.name == "untrained"
    assert info.sha256 == runtime.bundle.sha256
    assert info.latent_dim == runtime.manifest.latent_dim
    assert [(m.name, m.kind, tuple(m.shape)) for m in info.modalities] == [
        (m.name, m.kind, m.shape) for m in runtime.modalities
    ]
    assert info.provider == "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("bundle_parameter", "reason"),
    [
        ("/nowhere/bundle", "bundle /nowhere/bundle: no such folder"),
        ("runs/bundle", "parameter bundle must be absolute"),
        ("package://no_such_package/x", "unknown package 'no_such_package'"),
    ],
)
def test_a_wrong_bundle_fails_configure_with_the_reason(
    start_node, client, bundle_parameter: str, reason: str
) -> None:
    process = start_node(bundle=bundle_parameter)
    assert not client.change(CONFIGURE)
    assert client.state() == "unconfigured"
    assert reason in process.log.read_text()


def test_a_tampered_bundle_is_refused_and_a_mended_one_is_taken(
    start_node, client, bundle, tmp_path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    graph = next(copy.glob("decode_*.onnx"))
    original = graph.read_bytes()
    graph.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    process = start_node(bundle=copy)
    assert not client.change(CONFIGURE)
    assert f"{graph.name} was changed" in process.log.read_text()
    graph.write_bytes(original)
    assert client.change(CONFIGURE)
    assert client.state() == "inactive"


def test_the_whole_lifecycle_again_and_again(start_node, client, bundle, strict) -> None:
    process = start_node(bundle=bundle, parameters=strict)
    for generation in range(1, 4):
        client.latents.clear()
        client.activate()
        client.play_until(("action",), lambda: [m for m in client.latents if m.valid])
        latent = client.latents[-1]
        assert latent.model_generation == generation
        assert client.change(Transition.TRANSITION_DEACTIVATE)
        assert client.change(Transition.TRANSITION_CLEANUP)
        assert client.state() == "unconfigured"
    assert process.interrupt() == 0


def test_sigint_while_active_exits_cleanly(start_node, client, bundle) -> None:
    process = start_node(bundle=bundle)
    client.activate()
    assert process.interrupt() == 0
    assert "Traceback" not in process.log.read_text()


def test_no_request_ends_the_node(start_node, client, bundle) -> None:
    """Transitions that are not to be had, parameters that do not exist: refused, and it goes on."""
    process = start_node(bundle=bundle)
    legal = {
        "unconfigured": {CONFIGURE},
        "inactive": {ACTIVATE, Transition.TRANSITION_CLEANUP},
        "active": {Transition.TRANSITION_DEACTIVATE},
    }
    steps = {CONFIGURE, ACTIVATE, Transition.TRANSITION_CLEANUP, Transition.TRANSITION_DEACTIVATE}
    for state, allowed in legal.items():
        assert client.state() == state
        for transition in (*sorted(steps - allowed), 99):
            assert not client.change(transition), (state, transition)
            assert client.state() == state
        unknown = Transition(id=CONFIGURE, label="explode")
        request = ChangeState.Request(transition=unknown)
        assert not client.call(ChangeState, "/smvae/change_state", request).success
        if state != "active":
            assert client.change(CONFIGURE if state == "unconfigured" else ACTIVATE)
    assert "configure is not possible in state active" in process.log.read_text()
    for name, value in (("max_rate_hz", None), ("no.such", 1), ("max_rate_hz", [1.0])):
        assert not client.set_parameter(name, value).successful
    request = DescribeParameters.Request(names=["no.such"])
    client.call(DescribeParameters, "/smvae/describe_parameters", request)
    client.play_until(("action",), lambda: [m for m in client.latents if m.valid])
    assert process.interrupt() == 0


def test_a_new_activation_is_a_new_epoch(start_node, client, bundle) -> None:
    start_node(bundle=bundle)
    client.activate()
    first = client.latents[-1].epoch
    assert client.change(Transition.TRANSITION_DEACTIVATE)
    client.latents.clear()
    assert client.change(ACTIVATE)
    latent = client.until(lambda: [m for m in client.latents if m.epoch != first])[0]
    assert (latent.epoch, latent.sequence) == (first + 1, 0)


def test_a_dead_inference_thread_shows_as_error_and_leaves_active(
    client, bundle, domain, monkeypatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("the accelerator is gone")

    diagnostics = client.listen(DiagnosticArray, "/diagnostics")

    def levels() -> dict[str, bytes]:
        return {s.name: s.level for s in diagnostics[-1].status} if diagnostics else {}

    with InProcess(domain, bundle=str(bundle), diagnostics_period_s=0.1) as node:
        client.activate()
        epoch = client.latents[-1].epoch
        monkeypatch.setattr(Runtime, "posteriors", broken)
        client.moment(("action",))
        client.until(lambda: [m for m in client.latents if m.status == LatentState.ERROR])
        assert client.state() == "inactive"
        assert "the accelerator is gone" in node.failure
        error = DiagnosticStatus.ERROR
        client.until(lambda: levels().get("smvae: model") == error)
        assert levels()["smvae: inference"] == error
        assert "inference stopped: RuntimeError: the accelerator is gone" in next(
            s.message for s in diagnostics[-1].status if s.name == "smvae: model"
        )
        monkeypatch.undo()
        assert client.change(ACTIVATE)
        assert not node.failure
        client.latents.clear()
        client.play_until(("action",), lambda: [m for m in client.latents if fused(m)])
        assert np.isfinite(client.latents[-1].kl)
        assert client.latents[-1].epoch == epoch + 1
        client.until(lambda: levels().get("smvae: inference") == DiagnosticStatus.OK)


def test_an_activation_that_fails_leaves_an_inactive_node_that_can_be_activated(
    client, bundle, domain, monkeypatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no more handles")

    with InProcess(domain, bundle=str(bundle)) as node:
        assert client.change(CONFIGURE)
        monkeypatch.setattr(Inputs, "open", broken)
        assert not client.change(ACTIVATE)
        assert client.state() == "inactive"
        assert node.failure == "RuntimeError: no more handles"
        assert not node.session.inference.alive
        monkeypatch.undo()
        assert client.change(ACTIVATE)
        client.play_until(("action",), lambda: [m for m in client.latents if m.valid])


def test_no_module_of_the_nodes_needs_torch() -> None:
    names = [m.name for m in pkgutil.iter_modules(smvae_ros.__path__)]
    assert "perception_node" in names
    imports = "; ".join(f"import smvae_ros.{name}" for name in names)
    code = f"import sys; sys.modules['torch'] = None; {imports}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)


def test_the_node_needs_no_torch(start_node, client, bundle) -> None:
    """Every node process of these tests runs with torch made unimportable; nor is it asked for."""
    code = "import sys, smvae_ros.perception_node; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert "sys.modules['torch'] = None" in WITHOUT_TORCH
    start_node(bundle=bundle)
    client.activate()
