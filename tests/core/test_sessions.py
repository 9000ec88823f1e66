"""Where the networks run, on a stand-in for onnxruntime: what is asked for, refused and reported.

The stand-in falls back in silence as onnxruntime does, so that a runtime that lets it is found out.
On the real one: `tests/model/test_export.py`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from smvae_core.bundle import Bundle, Manifest, roles, write_bundle
from smvae_core.errors import BundleError, ConfigError
from smvae_core.graphs.sessions import CPU, CUDA, TENSORRT, Placement, Sessions
from smvae_core.preprocessing import Statistics
from smvae_core.presets import VISION_TOUCH
from smvae_core.runtime import Runtime

NAMES = ("rgb", "force")
X = np.zeros(2, np.float32)


class EPFail(Exception):
    """What onnxruntime raises when a provider fails in a run; no RuntimeError there either."""


class InvalidProtobuf(Exception):
    """What onnxruntime raises for bytes that are no graph."""


class Machine:
    """What the stand-in obeys, and what it was asked."""

    def __init__(self) -> None:
        self.available = [TENSORRT, CUDA, CPU]
        self.gives: Callable[[str, list[str]], list[str]] = lambda role, asked: asked
        """What a session of a graph gets, or the error of creating it."""
        self.fails_on: set[str] = set()
        """Providers that fail in a run."""
        self.asked: list[list[tuple[str, dict[str, str]]]] = []
        self.runs: list[str] = []

    def session(self, content: bytes, _: Any, providers: Any, enable_fallback: int = 1) -> Any:
        return Session(self, content.decode(), providers, enable_fallback)


class Session:
    def __init__(self, machine: Machine, role: str, providers: Any, enable_fallback: int) -> None:
        self._machine, self._fallback = machine, enable_fallback
        machine.asked.append(providers)
        names = [name for name, _ in providers]
        try:
            got = machine.gives(role, names)
        except (ValueError, RuntimeError):
            if not enable_fallback:
                raise
            got = []
        self._providers = [*dict.fromkeys((*got, CPU))]

    def disable_fallback(self) -> None:
        self._fallback = 0

    def get_providers(self) -> list[str]:
        return self._providers

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="present", shape=["subsets", len(NAMES)])]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        parts = zip(self._providers, (["Conv", "Gemm"], ["Shape"]), strict=False)
        return [SimpleNamespace(ep_name=name, get_nodes=lambda n=nodes: n) for name, nodes in parts]

    def run(self, _: Any, inputs: dict[str, Any]) -> list[Any]:
        self._machine.runs.append(self._providers[0])
        if self._providers[0] in self._machine.fails_on:
            if not self._fallback:
                raise EPFail("no memory")
            self._providers = [CPU]
        return list(inputs.values())


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    module: Any = ModuleType("onnxruntime")
    module.__version__ = "1.99"
    module.get_available_providers = lambda: made.available
    module.SessionOptions = lambda: SimpleNamespace(
        add_session_config_entry=lambda key, value: None
    )
    module.InferenceSession = made.session
    module.capi = SimpleNamespace(onnxruntime_pybind11_state=SimpleNamespace(EPFail=EPFail))
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    return made


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle whose graphs hold nothing but their role."""
    modalities = tuple(m for m in VISION_TOUCH if m.name in NAMES)
    graphs = {role: tmp_path / role.replace("/", "-") for role in roles(NAMES)}
    for role, path in graphs.items():
        path.write_text(role)
    manifest = Manifest(
        name="stand-in",
        modalities=modalities,
        statistics={name: Statistics() for name in NAMES},
        latent_dim=2,
        embedding_dim=3,
        graphs={},
        noise_scale={},
    )
    return write_bundle(tmp_path / "bundle", manifest, graphs)


def test_a_listed_provider_that_gives_cpu_sessions_is_refused(machine, bundle) -> None:
    machine.gives = lambda role, asked: [CPU]
    reason = r"embed_rgb\.onnx: asked for CUDA\w+: onnxruntime fell back to CPU\w+; mend the driver"
    with pytest.raises(ConfigError, match=reason):
        Runtime(bundle, provider="cuda")
    runtime = Runtime(bundle, provider="cuda", allow_cpu_fallback=True)
    assert runtime.provider == CPU
    assert machine.asked[-1] == [(CPU, {})]  # the first session told: the others ask for no GPU


def test_one_network_elsewhere_is_enough_to_be_refused_or_named(machine, bundle) -> None:
    machine.gives = lambda role, asked: [CPU] if role == "decode/rgb" else asked
    strict = Runtime(bundle, provider="cuda")
    assert strict.provider == CUDA
    with pytest.raises(ConfigError, match=r"decode_rgb\.onnx: asked for CUDA"):
        strict.decode("rgb", X)
    lenient = Runtime(bundle, provider="cuda", allow_cpu_fallback=True)
    assert lenient.provider == CUDA
    lenient.decode("rgb", X)
    assert lenient.provider == CPU


def test_a_run_that_a_provider_fails_is_not_made_again(machine, bundle) -> None:
    machine.fails_on = {CUDA}
    sessions = Sessions(bundle, Placement(provider="cuda"))
    with pytest.raises(EPFail, match="no memory"):
        sessions.run("set_encoder", x=X)
    assert machine.runs == [CUDA]
    assert sessions.provider == CUDA


def test_an_allowed_fallback_in_a_run_is_said_and_keeps_the_gpu(machine, bundle, caplog) -> None:
    machine.fails_on = {TENSORRT}
    allowed = Placement(provider="tensorrt", allow_cpu_fallback=True, device_id=1)
    sessions = Sessions(bundle, allowed)
    sessions.open("embed/rgb")
    with caplog.at_level(logging.WARNING):
        assert sessions.run("set_encoder", x=X) == [X]
    assert "set_encoder failed on TensorrtExecutionProvider and goes on without" in caplog.text
    assert (machine.runs, sessions.provider) == ([TENSORRT, CUDA], CUDA)
    assert machine.asked[-1][0][1]["device_id"] == "1"
    machine.fails_on = {TENSORRT, CUDA}
    sessions.run("set_encoder", x=X)
    assert (machine.runs[2:], sessions.provider) == ([CUDA, CPU], CPU)
    machine.fails_on = {CPU}
    with pytest.raises(EPFail):  # nothing is behind it
        sessions.run("set_encoder", x=X)


def test_bound_arrays_are_read_anew_where_onnxruntime_would_copy_them_once(machine, bundle) -> None:
    given, into = np.zeros(2, np.float32), np.ones(2, np.float32)
    run = Sessions(bundle, Placement(provider="cuda")).bound("set_encoder", {"x": given}, [into])
    for value in (3.0, 4.0):
        given[:] = value
        run()
        assert into.tolist() == [value, value]
    assert machine.runs == [CUDA, CUDA]


def test_tensorrt_has_cuda_behind_it_and_not_the_cpu(machine, bundle) -> None:
    sessions = Sessions(bundle, Placement(provider="tensorrt", device_id=2))
    sessions.open("set_encoder")
    assert [name for name, _ in machine.asked[0]] == [TENSORRT, CUDA]
    assert machine.asked[0][0][1] == {"device_id": "2"}
    assert machine.asked[0][1][1]["device_id"] == "2"
    assert sessions.provider == TENSORRT
    machine.gives = lambda role, asked: [TENSORRT]
    with pytest.raises(ConfigError, match=f"fell back to {TENSORRT}, {CPU}"):
        sessions.open("embed/rgb")


def test_a_provider_that_cannot_start_is_no_fault_of_the_bundle(machine, bundle, caplog) -> None:
    def no_library(role: str, asked: list[str]) -> list[str]:
        if TENSORRT in asked:
            raise RuntimeError("Please install TensorRT libraries\n")
        return asked

    machine.gives = no_library
    with pytest.raises(ConfigError, match=r"asked for Tensorrt.*: Please install TensorRT"):
        Sessions(bundle, Placement(provider="tensorrt")).open("set_encoder")
    sessions = Sessions(bundle, Placement(provider="tensorrt", allow_cpu_fallback=True))
    with caplog.at_level(logging.WARNING):
        for role in ("set_encoder", "embed/rgb"):
            sessions.open(role)
    assert sessions.provider == CUDA
    assert len(caplog.records) == 1
    assert "Please install TensorRT libraries; going on" in caplog.text


@pytest.mark.parametrize("error", [InvalidProtobuf, RuntimeError])
def test_a_graph_that_cannot_be_loaded_is_the_bundles_fault(machine, bundle, error) -> None:
    def broken(role: str, asked: list[str]) -> list[str]:
        raise error("no graph")

    machine.gives = broken
    with pytest.raises(BundleError, match=r"set_encoder\.onnx cannot be loaded.*: no graph"):
        Sessions(bundle, Placement()).open("set_encoder")


def test_options_name_the_gpu_and_bound_each_networks_arena(machine, bundle) -> None:
    Sessions(bundle, Placement(provider="cuda")).open("set_encoder")
    assert machine.asked[-1] == [(CUDA, {"device_id": "0", "cudnn_conv_algo_search": "HEURISTIC"})]
    limited = Placement(provider="cuda", device_id=3, gpu_mem_limit_mb=256.0)
    Sessions(bundle, limited).open("set_encoder")
    assert machine.asked[-1][0][1] == {
        "device_id": "3",
        "cudnn_conv_algo_search": "HEURISTIC",
        "gpu_mem_limit": "256000000",
        "arena_extend_strategy": "kSameAsRequested",
    }
    with pytest.raises(ConfigError, match="gpu_mem_limit_mb 256 cannot be kept by provider 'tens"):
        Sessions(bundle, Placement(provider="tensorrt", gpu_mem_limit_mb=256.0))


def test_a_provider_that_is_not_built_in_leaves_the_next_best_where_allowed(
    machine, bundle
) -> None:
    machine.available = [CUDA, CPU]
    with pytest.raises(ConfigError, match="provider 'tensorrt' is not available"):
        Sessions(bundle, Placement(provider="tensorrt"))
    allowed = Sessions(bundle, Placement(provider="tensorrt", allow_cpu_fallback=True))
    assert allowed.provider == CUDA
    machine.available = [CPU]
    assert Sessions(bundle, Placement(provider="cuda", allow_cpu_fallback=True)).provider == CPU


def test_nodes_that_onnxruntime_puts_on_the_cpu_are_counted(machine, bundle, monkeypatch) -> None:
    sessions = Sessions(bundle, Placement(provider="cuda"))
    for role in ("embed/rgb", "set_encoder"):
        sessions.open(role)
    assert sessions.nodes == {CUDA: 4, CPU: 2}
    assert sessions.provider == CUDA  # single nodes are no fallback
    monkeypatch.delattr(Session, "get_provider_graph_assignment_info")
    old = Sessions(bundle, Placement(provider="cuda"))
    old.open("set_encoder")
    assert old.nodes == {}


def test_a_graph_that_changes_after_it_was_verified_is_never_used(machine, bundle) -> None:
    sessions = Sessions(bundle, Placement())
    path = bundle.path / bundle.manifest.graphs["set_encoder"].file
    path.write_text("SET_ENCODER")
    with pytest.raises(BundleError, match=r"set_encoder\.onnx was changed"):
        sessions.open("set_encoder")
    path.unlink()
    with pytest.raises(BundleError, match=r"set_encoder\.onnx \(set_encoder\) is missing"):
        sessions.open("set_encoder")
    assert machine.asked == []
