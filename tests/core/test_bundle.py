"""A bundle survives whatever cuts its replacement short, and takes only what was verified."""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smvae_core import bundle as bundles
from smvae_core.bundle import MANIFEST, Bundle, Manifest, add_readout, roles, write_bundle
from smvae_core.errors import BundleError
from smvae_core.preprocessing import Statistics
from smvae_core.presets import VISION_TOUCH
from smvae_core.readout import LinearMap, Quantity, Readout
from smvae_core.robot import Qos, read_robot

FORCE = tuple(m for m in VISION_TOUCH if m.name == "force")
#: What `write_bundle` asks of the system, by the name of its audit event.
CALLS = ("open", "os.", "shutil.", "tempfile.")
CRASHED = 9


def write(out: Path, name: str, readout: Readout | None = None) -> Bundle:
    """Write a bundle whose graphs hold nothing but their role and the bundle's name."""
    manifest = Manifest(
        name=name,
        modalities=FORCE,
        statistics={"force": Statistics()},
        latent_dim=2,
        embedding_dim=3,
        graphs={},
        noise_scale={},
    )
    graphs = {role: f"{role} of {name}".encode() for role in roles(("force",))}
    return write_bundle(out, manifest, graphs, readout=readout)


def straight() -> Readout:
    linear = LinearMap(weights=np.zeros((3, 2)), bias=np.zeros(3), residual=np.ones(3))
    return Readout(
        targets={"offset": Quantity(unit="m", fields=("x", "y", "z"))},
        subsets={"force": {"offset": linear}},
    )


class Watch:
    """Stops the process, or fails the call, at the nth call to the system."""

    def __init__(self) -> None:
        self.stop_at = self.count = -1
        self.crash = False
        sys.addaudithook(self)  # can never be removed

    def __call__(self, event: str, _: object) -> None:
        if self.stop_at < 0 or not event.startswith(CALLS):
            return
        self.count += 1
        if self.count == self.stop_at:
            if self.crash:
                os._exit(CRASHED)
            raise OSError(5, "as if the disk failed")

    @contextmanager
    def at(self, number: int, crash: bool) -> Iterator[None]:
        self.stop_at, self.count, self.crash = number, 0, crash
        try:
            yield
        finally:
            self.stop_at = -1


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


def test_a_failing_call_leaves_one_whole_bundle(watch: Watch, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    for number in itertools.count(1):
        write(out, "old")
        try:
            with watch.at(number, crash=False):
                write(out, "new")
        except OSError:
            pass
        except BundleError:
            assert Bundle.load(out).manifest.name == "new"  # all but its last look was done
        else:
            if watch.count < number:
                break
        assert Bundle.load(out).manifest.name in ("old", "new")
        assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".replaced")] == [
            "bundle"
        ]
    assert number > 20, "calls were watched"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_crash_at_any_call_leaves_one_whole_bundle(watch: Watch, tmp_path: Path) -> None:
    names = []
    for number in itertools.count(1):
        out = tmp_path / str(number) / "bundle"
        write(out, "old")
        child = os.fork()
        if child == 0:
            with watch.at(number, crash=True):
                write(out, "new")
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        names.append(Bundle.load(out).manifest.name)
        write(out, "next")
        assert Bundle.load(out).manifest.name == "next"
        assert [p.name for p in out.parent.iterdir()] == ["bundle"], "what the dead one left"
        if status == 0:
            break
        assert status == CRASHED
    assert names == sorted(names, key=["old", "new"].index)
    assert names.count("old") > 10


def test_a_folder_in_which_nothing_can_be_written_is_named() -> None:
    """/proc takes no folder, as a disk that is mounted to be read only."""
    with pytest.raises(OSError, match=r"'/proc'$"):
        write(Path("/proc/bundle"), "new")


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    with bundles._workshop(out) as working:
        write(out, "new")
        assert working.is_dir()
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_what_a_crash_left_aside_comes_back_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "bundle"
    write(out, "old")
    shutil.move(out, tmp_path / ".bundle.replaced")
    with caplog.at_level(logging.WARNING):
        assert Bundle.load(out).manifest.name == "old"
    assert "an export was cut short, the bundle before it is back" in caplog.text
    shutil.move(out, tmp_path / ".bundle.replaced")
    assert write(out, "new").manifest.name == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_a_readout_is_added_to_verified_graphs_alone(tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle", "old")
    before = bundle.manifest.graphs
    added = add_readout(bundle, straight())
    assert added.manifest.graphs == before
    graph = added.path / added.manifest.graphs["set_encoder"].file
    graph.write_bytes(graph.read_bytes()[::-1])
    with pytest.raises(BundleError, match=r"set_encoder\.onnx was changed"):
        add_readout(added, straight())
    with pytest.raises(BundleError, match=r"set_encoder\.onnx was changed"):
        Bundle.load(added.path)


def test_a_readout_that_was_changed_after_loading_is_refused(tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle", "old", straight())
    assert bundle.readout().subsets.keys() == {"force"}
    file = bundle.path / "readout.json"
    file.write_text(file.read_text().replace("0.0", "0.5"))
    with pytest.raises(BundleError, match=r"readout\.json was changed"):
        bundle.readout()


def test_the_manifest_carries_the_robot_where_runtimes_of_before_read_past_it(tmp_path: Path):
    robot = read_robot(Path(__file__).resolve().parents[1] / "robots" / "my_arm.yaml")
    plain = write(tmp_path / "plain", "plain")
    assert plain.manifest.robot is None
    assert plain.manifest.parameters() == plain.manifest.qos() == {}
    manifest = replace(plain.manifest, robot=robot, training={"seed": 3})
    graphs = {role: plain.read_graph(role) for role in plain.manifest.graphs}
    found = write_bundle(tmp_path / "declared", manifest, graphs).manifest
    assert (found.robot, found.training) == (robot, {"seed": 3})
    assert found.parameters() == robot.parameters()
    assert found.qos()["wrist"] == Qos(reliability="best_effort", depth=1)
    data = json.loads((tmp_path / "declared" / MANIFEST).read_text())
    assert "robot" not in data  # a key that `Manifest` of before had not
    assert data["training"]["robot"]["name"] == "my_arm"
    data["training"]["robot"]["sensors"][0]["settings"]["max_skew_s"] = "much"
    (tmp_path / "declared" / MANIFEST).write_text(json.dumps(data))
    with pytest.raises(BundleError, match="max_skew_s must be a float"):
        Bundle.load(tmp_path / "declared")
