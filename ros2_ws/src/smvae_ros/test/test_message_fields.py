"""What the messages say beside mean and states: elements, reasons, covariance, sources."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from node_harness import LATCHED, WITHOUT_TORCH, ModelInfo, fused, status_of
from robot_harness import Process
from smvae_msgs.msg import LatentState, ModalityStatus, Setting
from smvae_ros.parameters import sources as setting_sources
from smvae_ros.publish import messages

from smvae_core.bundle import Bundle, write_bundle
from smvae_core.fusion.rules import FusionState
from smvae_core.runtime import Runtime
from smvae_core.settings import table


def test_states_of_the_messages_are_those_of_the_collector() -> None:
    for state in FusionState:
        assert getattr(ModalityStatus, state.name) == state


def test_a_latent_says_what_it_rests_on_and_why_the_others_are_not_in_it(
    start_node, client, bundle, strict
) -> None:
    start_node(bundle=bundle, parameters=strict | {"modalities.depth.enabled": False})
    client.activate()
    subset = ("rgb", "force")
    latent = client.play_until(
        subset, lambda: [m for m in client.latents if m.valid and fused(m) == subset]
    )[-1]
    for name in subset:
        status = status_of(latent, name)
        assert (status.elements, status.folded, status.reason) == (1, 0, "")
        assert status.oldest == status.stamp
    assert status_of(latent, "depth").reason == "switched off (enabled)"
    assert status_of(latent, "action").reason == "no message yet"
    for status in latent.modalities:
        assert not status.suspect
        assert math.isnan(status.suspicion)
        assert status.name in subset or status.elements == 0
    assert latent.covariance == LatentState.DIAGONAL
    assert (latent.memory.sec, latent.memory.nanosec) == (0, 0)


def test_no_latent_rests_on_nothing(start_node, client, bundle, strict) -> None:
    start_node(bundle=bundle, parameters=strict, heartbeat_rate_hz=50.0)
    client.activate()
    client.play_until(("action",), lambda: [m for m in client.latents if m.valid])
    client.latents.clear()
    client.until(lambda: [m for m in client.latents if not m.valid])
    blind = next(m for m in client.latents if not m.valid)
    assert all(s.elements == 0 and s.reason for s in blind.modalities)


@pytest.mark.parametrize(
    ("covariance", "form"),
    [("diagonal", LatentState.DIAGONAL), ("full", LatentState.MARGINALS)],
)
def test_the_form_of_the_posterior_is_the_manifests(
    bundle: Path, tmp_path: Path, covariance: str, form: int
) -> None:
    loaded = Bundle.load(bundle)
    graphs = {
        role: loaded.path / loaded.manifest.graphs[role].file for role in loaded.manifest.graphs
    }
    manifest = replace(loaded.manifest, covariance=covariance)
    written = write_bundle(tmp_path / "bundle", manifest, graphs)
    assert messages.covariance_form(Runtime(written)) == form


@pytest.fixture
def start_with_file(domain: int, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Start a node with a parameter file and parameters; it ends with the test."""
    started: list[Process] = []

    def start(file: Path, *parameters: str) -> None:
        words = ["--ros-args", "--params-file", str(file)]
        words += [word for parameter in parameters for word in ("-p", parameter)]
        started.append(Process(WITHOUT_TORCH, domain, tmp_path / "log", *words))

    yield start
    for process in started:
        process.end()


@pytest.mark.dds
def test_the_model_tells_declared_windows_and_where_each_setting_came_from(
    start_with_file, client, bundle, tmp_path: Path
) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text("/**:\n  ros__parameters:\n    modalities:\n      rgb: {max_age_s: 0.5}\n")
    start_with_file(file, f"bundle:={bundle}", "threads:=2")
    assert client.change(Transition.TRANSITION_CONFIGURE)
    infos = client.listen(ModelInfo, "/smvae/model_info", LATCHED)
    info = client.until(lambda: infos)[-1]
    force = next(m for m in info.modalities if m.name == "force")
    assert (force.rate_hz, force.window_s) == pytest.approx((1000.0, 0.032))
    assert all(m.rate_hz == m.window_s == 0.0 for m in info.modalities if m.name != "force")
    told = {s.name: (json.loads(s.value), s.source) for s in info.settings}
    assert told["threads"] == (2, Setting.LAUNCH)
    assert told["modalities.rgb.max_age_s"] == (0.5, Setting.PARAMS_FILE)
    assert told["modalities.depth.max_age_s"] == (0.0, Setting.DEFAULT)
    assert told["bundle"] == (str(bundle), Setting.LAUNCH)
    assert set(told) == set(table(client.modalities.values()))
    assert list(info.targets) == []
    assert info.robot == ""
    infos.clear()
    assert client.set_parameter("bundle_sha256", info.sha256).successful
    assert client.set_parameter("bundle", str(bundle)).successful
    info = client.until(lambda: infos)[-1]
    told = {s.name: s.source for s in info.settings}
    assert told["bundle_sha256"] == Setting.CALL


@pytest.mark.parametrize(
    ("arguments", "value", "source"),
    [
        ([], 4, Setting.CALL),
        (["-p", "threads:=3"], 3, Setting.LAUNCH),
        (["--param", "smvae:threads:=3"], 3, Setting.LAUNCH),
        (["--params-file", "{robot}"], 3, Setting.PARAMS_FILE),
        (["--params-file", "{launch}"], 3, Setting.LAUNCH),
        (["--params-file", "{robot}", "--params-file", "{launch}"], 3, Setting.LAUNCH),
        (["--params-file", "{launch}", "--params-file", "{robot}"], 3, Setting.PARAMS_FILE),
        (["--params-file", "{gone}"], 3, Setting.LAUNCH),
    ],
)
def test_the_source_of_a_setting_is_who_said_it_last(
    arguments: list[str], value: int, source: int, tmp_path: Path
) -> None:
    """What was given and is not in a file any more came by the command line."""
    files = {"robot": "robot.yaml", "launch": "launch_params_x1", "gone": "gone.yaml"}
    for name in ("robot", "launch"):
        text = "smvae:\n  ros__parameters:\n    threads: 3\n"
        (tmp_path / files[name]).write_text(text)
    paths = {name: str(tmp_path / file) for name, file in files.items()}
    spelled = ["node", "--ros-args", *(a.format(**paths) for a in arguments)]
    known: dict[str, Any] = table(())
    values = {name: p.default for name, p in known.items()} | {"threads": value}
    found = setting_sources.settings(known, values, {"threads": 3}, spelled)
    by_name = {s.name: s for s in found}
    assert (by_name["threads"].value, by_name["threads"].source) == (str(value), source)
    assert by_name["provider"].source == Setting.DEFAULT
