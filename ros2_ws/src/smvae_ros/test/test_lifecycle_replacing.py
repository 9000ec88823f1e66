"""A replacement that fails keeps the model in use, and leaves no publisher behind."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from in_process_node import InProcess
from lifecycle_msgs.msg import Transition
from smvae_ros.publish.predicted import Predicted

CONFIGURE = Transition.TRANSITION_CONFIGURE
ACTIVATE = Transition.TRANSITION_ACTIVATE


def _renamed(bundle: Path, folder: Path, **names: str) -> Path:
    """Return a copy of a bundle in which modalities have other names."""
    copy = folder / "renamed"
    shutil.copytree(bundle, copy)
    file = copy / "manifest.json"
    manifest = json.loads(file.read_text())
    for old, new in names.items():
        for modality in manifest["modalities"]:
            modality["name"] = new if modality["name"] == old else modality["name"]
        for table in ("statistics", "noise_scale"):
            manifest[table][new] = manifest[table].pop(old)
        for role in ("embed", "decode"):
            manifest["graphs"][f"{role}/{new}"] = manifest["graphs"].pop(f"{role}/{old}")
    file.write_text(json.dumps(manifest))
    return copy


def _publishers(node: Any) -> Counter[str]:
    return Counter(p.topic_name for p in node.publishers)


@pytest.mark.parametrize("name", ["left-cam", "a.b", "Rgb", "2d", "", "a/b"])
def test_a_bundle_whose_names_no_topic_can_have_is_refused(
    client, bundle, domain, tmp_path, name: str
) -> None:
    bad = _renamed(bundle, tmp_path, rgb=name)
    with InProcess(domain, bundle=str(bundle)) as node:
        assert client.change(CONFIGURE)
        before = _publishers(node)
        refused = client.set_parameter("bundle", str(bad))
        assert not refused.successful
        assert f"modality '{name}': a name is a small letter" in refused.reason
        assert (node.session.generation, _publishers(node)) == (1, before)


def test_a_replacement_that_fails_keeps_the_old_model_and_leaks_no_publisher(
    client, bundle, domain, tmp_path, monkeypatch
) -> None:
    other = _renamed(bundle, tmp_path, rgb="left_cam")
    with InProcess(domain, bundle=str(bundle)) as node:
        assert client.change(CONFIGURE)
        before, session = _publishers(node), node.session
        managed = len(node._managed_entities)
        create = node.create_lifecycle_publisher

        def broken(message_type: Any, topic: str, *rest: Any) -> Any:
            if topic.endswith("color/image"):
                raise RuntimeError("no more handles")
            return create(message_type, topic, *rest)

        monkeypatch.setattr(node, "create_lifecycle_publisher", broken)
        client.set_parameter("bundle", str(other))
        assert node.session is session
        assert node.failure == "RuntimeError: no more handles"
        assert _publishers(node) == before
        assert len(node._managed_entities) == managed
        assert not node.get_parameters_by_prefix("modalities.left_cam")
        monkeypatch.undo()
        assert client.change(ACTIVATE)
        client.play_until(("rgb",), lambda: [m for m in client.latents if m.valid])
        assert {m.model_generation for m in client.latents} == {1}


def test_a_first_configure_that_fails_half_way_leaves_no_publisher(
    client, bundle, domain, monkeypatch
) -> None:
    def broken(self: Any) -> None:
        raise RuntimeError("no more handles")

    with InProcess(domain, bundle=str(bundle)) as node:
        before = _publishers(node)
        monkeypatch.setattr(Predicted, "create", broken)
        assert not client.change(CONFIGURE)
        assert node.session is None
        assert _publishers(node) == before
        monkeypatch.undo()
        assert client.change(CONFIGURE)
        assert node.session.generation == 1


def test_a_good_replacement_has_each_publisher_once(client, bundle, domain, tmp_path) -> None:
    other = _renamed(bundle, tmp_path, rgb="left_cam")
    with InProcess(domain, bundle=str(bundle)) as node:
        assert client.change(CONFIGURE)
        assert client.set_parameter("bundle", str(other)).successful
        found = _publishers(node)
        assert max(found.values()) == 1
        assert "/smvae/predicted/left_cam/image" in found
        assert "/smvae/predicted/rgb/image" not in found
