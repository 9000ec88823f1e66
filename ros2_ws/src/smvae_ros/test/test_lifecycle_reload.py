"""Another bundle while inactive, and `~/reset`: over real DDS."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from node_harness import LATCHED, ModelInfo, fused
from rcl_interfaces.srv import GetParameters, ListParameters, SetParametersAtomically
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

CONFIGURE = Transition.TRANSITION_CONFIGURE
ACTIVATE = Transition.TRANSITION_ACTIVATE
DEACTIVATE = Transition.TRANSITION_DEACTIVATE


@pytest.fixture(scope="module")
def other(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same networks by another name: another bundle, of another hash."""
    copy = tmp_path_factory.mktemp("other") / "other"
    shutil.copytree(bundle, copy)
    file = copy / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"name": "other"}))
    return copy


def _get(client: Any, name: str) -> Any:
    response = client.call(
        GetParameters, "/smvae/get_parameters", GetParameters.Request(names=[name])
    )
    return response.values[0].string_value


def _set_together(client: Any, **values: Any) -> Any:
    request = SetParametersAtomically.Request(
        parameters=[Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
    )
    return client.call(SetParametersAtomically, "/smvae/set_parameters_atomically", request).result


def _valid(client: Any) -> Any:
    client.latents.clear()
    client.play_until(("action",), lambda: [m for m in client.latents if m.valid])
    return [m for m in client.latents if m.valid][-1]


def test_a_new_bundle_is_taken_while_inactive_and_begins_an_epoch(
    start_node, client, bundle, other, strict
) -> None:
    start_node(bundle=bundle, parameters=strict)
    infos = client.listen(ModelInfo, "/smvae/model_info", LATCHED)
    client.activate()
    before = _valid(client)
    refused = client.set_parameter("bundle", str(other))
    assert not refused.successful
    assert "only while the node is unconfigured or inactive" in refused.reason
    assert client.change(DEACTIVATE)
    assert client.set_parameter("bundle", str(other)).successful
    info = client.until(lambda: [i for i in infos if i.name == "other"])[0]
    assert [i.generation for i in infos] == [1, 2]
    assert info.sha256 != infos[0].sha256
    assert client.state() == "inactive"
    assert client.change(ACTIVATE)
    after = _valid(client)
    assert after.model_generation == 2
    assert after.epoch > before.epoch
    late = client.listen(ModelInfo, "/smvae/model_info", LATCHED)
    client.until(lambda: late)
    assert [i.name for i in late] == ["other"]


def test_a_bundle_that_cannot_be_loaded_leaves_the_old_one(
    start_node, client, bundle, other, strict, tmp_path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(other, broken)
    graph = next(broken.glob("embed_*.onnx"))
    graph.write_bytes(graph.read_bytes()[:-1])
    strange = tmp_path / "strange"
    shutil.copytree(other, strange)
    file = strange / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["modalities"][3]["name"] = "command"
    manifest["statistics"]["command"] = manifest["statistics"]["action"]
    for role in ("embed", "decode"):
        manifest["graphs"][f"{role}/command"] = manifest["graphs"].pop(f"{role}/action")
    file.write_text(json.dumps(manifest))
    process = start_node(bundle=bundle, trigger="action", parameters=strict)
    infos = client.listen(ModelInfo, "/smvae/model_info", LATCHED)
    assert client.change(CONFIGURE)
    for path, reason in (
        (broken, "truncated or changed"),
        (Path("/nowhere"), "no such folder"),
        (strange, "trigger must be one of any, timer, rgb, depth, force, command"),
    ):
        refused = client.set_parameter("bundle", str(path))
        assert not refused.successful
        assert reason in refused.reason
        assert _get(client, "bundle") == str(bundle)
    assert process.log.read_text().count("bundle refused, the present one stays") == 3
    listed = client.call(
        ListParameters,
        "/smvae/list_parameters",
        ListParameters.Request(prefixes=["modalities"], depth=10),
    ).result.names
    assert not [n for n in listed if "command" in n]
    assert client.change(ACTIVATE)
    assert _valid(client).model_generation == 1
    client.until(lambda: infos)
    assert [i.name for i in infos] == ["untrained"]


def test_a_pinned_hash_goes_with_its_bundle(start_node, client, bundle, other, runtime) -> None:
    start_node(bundle=bundle, bundle_sha256=runtime.bundle.sha256)
    assert client.change(CONFIGURE)
    refused = client.set_parameter("bundle", str(other))
    assert "expected " + runtime.bundle.sha256 in refused.reason
    from smvae_core.bundle import Bundle

    sha256 = Bundle.load(other).sha256
    refused = client.set_parameter("bundle_sha256", sha256)
    assert "set bundle in the same call" in refused.reason
    assert _set_together(client, bundle=str(other), bundle_sha256=sha256).successful
    assert _get(client, "bundle_sha256") == sha256
    assert client.set_parameter("bundle_sha256", "").successful
    assert client.set_parameter("bundle", str(bundle)).successful
    assert client.change(ACTIVATE)


def test_the_parameters_of_the_modalities_follow_the_bundle(
    start_node, client, bundle, other, strict, tmp_path
) -> None:
    """A bundle with a renamed modality: its parameters come, the old ones go."""
    renamed = tmp_path / "renamed"
    shutil.copytree(bundle, renamed)
    file = renamed / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["modalities"][3]["name"] = "command"
    manifest["statistics"]["command"] = manifest["statistics"].pop("action")
    manifest["noise_scale"]["command"] = manifest["noise_scale"].pop("action")
    for role in ("embed", "decode"):
        manifest["graphs"][f"{role}/command"] = manifest["graphs"].pop(f"{role}/action")
    file.write_text(json.dumps(manifest))
    topic = {"modalities.command.topic": "action"}
    start_node(bundle=bundle, parameters=strict | topic)
    assert client.change(CONFIGURE)
    assert client.set_parameter("bundle", str(renamed)).successful
    listed = client.call(
        ListParameters,
        "/smvae/list_parameters",
        ListParameters.Request(prefixes=["modalities"], depth=10),
    ).result.names
    assert {n.split(".")[1] for n in listed} == {"rgb", "depth", "force", "command"}
    assert client.change(ACTIVATE)
    client.play_until(("action",), lambda: [m for m in client.latents if m.valid])
    assert fused([m for m in client.latents if m.valid][-1]) == ("command",)


def test_reset_forgets_samples_begins_an_epoch_and_keeps_counts(
    start_node, client, bundle, strict
) -> None:
    start_node(bundle=bundle, parameters=strict)
    reset = Trigger.Request()
    answer = client.call(Trigger, "/smvae/reset", reset)
    assert (answer.success, answer.message) == (
        False,
        "not configured: there is nothing to forget",
    )
    client.activate()
    before = _valid(client)
    received = {s.name: s.received for s in before.modalities}["action"]
    answer = client.call(Trigger, "/smvae/reset", reset)
    assert answer.success
    assert f"epoch {before.epoch + 1} begun; counts of messages kept" in answer.message
    client.latents.clear()
    client.until(lambda: [m for m in client.latents if m.epoch == before.epoch + 1])
    blind = next(m for m in client.latents if m.epoch == before.epoch + 1)
    assert not blind.valid  # the sample of before is forgotten
    assert blind.sequence == 0
    after = _valid(client)
    assert {s.name: s.received for s in after.modalities}["action"] > received


def test_epochs_only_rise_through_cleanup_and_configure(start_node, client, bundle, strict) -> None:
    start_node(bundle=bundle, parameters=strict)
    epochs = []
    for _ in range(3):
        client.latents.clear()
        client.activate()
        epochs.append(_valid(client).epoch)
        assert client.change(DEACTIVATE)
        assert client.change(Transition.TRANSITION_CLEANUP)
    assert epochs == sorted(set(epochs))
