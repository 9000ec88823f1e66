"""What configure demands of a bundle before it is used, without ROS."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from smvae_ros.infer.loading import Interrupted, load, verified, warm_up

from smvae_core.bundle import Bundle
from smvae_core.errors import BundleError, ConfigError
from smvae_core.modality import all_subsets
from smvae_core.runtime import Runtime
from smvae_core.settings import PARAMETERS

VALUES = {p.name: p.default for p in PARAMETERS}


def go_on() -> bool:
    return False


@pytest.fixture
def changed(bundle: Path, tmp_path: Path) -> Callable[[Callable[[Any, Path], None]], Path]:
    """Make a copy of the bundle with another manifest; its hashes are right again afterwards."""

    def make(change: Callable[[Any, Path], None]) -> Path:
        copy = tmp_path / "changed"
        shutil.copytree(bundle, copy)
        manifest = json.loads((copy / "manifest.json").read_text())
        change(manifest, copy)
        for graph in manifest["graphs"].values():
            data = (copy / graph["file"]).read_bytes()
            graph |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        (copy / "manifest.json").write_text(json.dumps(manifest))
        return copy

    return make


def test_every_subset_is_run_and_nothing_stays_observed(bundle, monkeypatch) -> None:
    ran: list[tuple[str, ...]] = []
    healthy = Runtime.novelty

    def noted(self: Runtime, subset: Any, posterior: Any) -> float:
        ran.append(tuple(subset))
        return healthy(self, subset, posterior)

    monkeypatch.setattr(Runtime, "novelty", noted)
    runtime = load(verified(str(bundle), ""), VALUES, go_on)
    names = runtime.manifest.names
    assert ran == all_subsets(names)
    with pytest.raises(ConfigError, match="was not observed"):
        runtime.posterior(names[:1])


def test_a_pinned_hash_must_match(bundle) -> None:
    sha256 = Bundle.load(bundle).sha256
    assert verified(str(bundle), sha256).sha256 == sha256
    with pytest.raises(ConfigError, match=f"has SHA-256 {sha256}, expected 00ff"):
        verified(str(bundle), "00ff")
    with pytest.raises(BundleError, match="no such folder"):
        verified("/nowhere", "")


def test_a_network_of_another_modality_is_named(changed) -> None:
    def swap(manifest: Any, copy: Path) -> None:
        graphs = manifest["graphs"]
        shutil.copyfile(copy / graphs["embed/rgb"]["file"], copy / graphs["embed/action"]["file"])

    bundle = verified(str(changed(swap)), "")
    with pytest.raises(BundleError, match="network embed/action cannot be run"):
        load(bundle, VALUES, go_on)


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_model_that_gives_no_numbers_is_refused(changed) -> None:
    def explode(manifest: Any, _: Path) -> None:
        scale = manifest["statistics"]["action"]["scale"]
        manifest["statistics"]["action"]["scale"] = [1e-44] * len(scale)

    bundle = verified(str(changed(explode)), "")
    with pytest.raises(BundleError, match="subset action gives numbers that are not finite"):
        load(bundle, VALUES, go_on)


def test_loading_is_given_up_when_the_process_is_to_end(bundle, runtime) -> None:
    with pytest.raises(Interrupted, match="told to end"):
        load(verified(str(bundle), ""), VALUES, lambda: True)
    answers = iter([False, False, True])
    with pytest.raises(Interrupted):
        warm_up(Runtime(bundle), lambda: next(answers))
    assert next(answers, None) is None  # asked between subsets


def test_the_gpu_and_its_limit_reach_the_sessions(bundle, monkeypatch) -> None:
    """A limit that the provider cannot keep is refused, wherever onnxruntime runs."""
    with pytest.raises(ConfigError, match="gpu_mem_limit_mb 64 cannot be kept by provider 'tens"):
        load(
            verified(str(bundle), ""),
            VALUES | {"provider": "tensorrt", "gpu_mem_limit_mb": 64.0},
            go_on,
        )
    asked: dict[str, Any] = {}
    healthy = Runtime.__init__

    def noted(self: Runtime, *args: Any, **options: Any) -> None:
        asked.update(options)
        healthy(self, *args, **options)

    monkeypatch.setattr(Runtime, "__init__", noted)
    load(verified(str(bundle), ""), VALUES | {"device_id": 2, "gpu_mem_limit_mb": 64.0}, go_on)
    assert (asked["device_id"], asked["gpu_mem_limit_mb"]) == (2, 64.0)
