"""`smvae view` as a user: a run, episodes and a bag, to a picture and to rerun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytest.importorskip("rosbags")
from small_bag import SmallBag

from smvae_core.errors import ConfigError
from smvae_core.fusion.rules import FusionState
from smvae_core.runtime import Runtime
from smvae_core.view.glance import Glance
from smvae_core.view.process import PLACE, VARIABLE
from smvae_datasets.vision_touch.prepared import PreparedEpisodes, prepare_episodes
from smvae_training.cli import main
from smvae_training.evaluate.bag.evaluate import evaluate_bag
from smvae_training.evaluate.bag.options import BagOptions
from smvae_training.run import load_run
from smvae_training.view.options import ViewOptions
from smvae_training.view.page import Page
from smvae_training.view.records import PAUSE_NS, record_glances, timeline
from smvae_training.view.source import Opened, open_source, what

ROOT = Path(__file__).resolve().parents[2]
#: What has rerun: by environment, or where `scripts/setup_viewer.sh` puts it.
VIEWER = Path(os.environ.get(VARIABLE, ROOT / PLACE))
#: Counts the rows of each entity of an .rrd file, by rerun's own reader.
COUNTING = """
import collections, json, sys
from rerun.chunk import RrdReader
reader, rows = RrdReader(sys.argv[1]), collections.Counter()
for chunk in reader.stream():
    rows[chunk.entity_path] += chunk.num_rows
json.dump({"rows": rows, "blueprints": len(reader.blueprints())}, sys.stdout)
"""


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory, runtime: Runtime) -> Path:
    return SmallBag(tmp_path_factory.mktemp("small") / "bag", runtime).standard()


def glances_of(source: Opened) -> list[Glance]:
    found: list[Glance] = []
    source.play(found.append)
    return found


def test_records_are_seen_as_the_runtime_sees_them(
    episodes: PreparedEpisodes, runtime: Runtime
) -> None:
    rows = np.arange(14)
    seen = list(record_glances(episodes, rows, runtime, dropped={"rgb"}))
    assert len(seen) == 14
    last = seen[-1]
    again = Runtime(runtime.bundle).infer(
        {n: last.recorded[n] for n in last.recorded if n != "rgb"}
    )
    assert last.latent is not None
    np.testing.assert_array_equal(last.latent.mean, again.mean)
    np.testing.assert_array_equal(
        last.recorded["rgb"].transpose(2, 0, 1), episodes.arrays["rgb"][13]
    )
    np.testing.assert_array_equal(last.predicted["rgb"], runtime.reconstruct("rgb", again.mean))
    states = {name: sensor.state for name, sensor in last.sensors.items()}
    assert states == dict.fromkeys(("depth", "force", "action"), FusionState.FUSED) | {
        "rgb": FusionState.DISABLED
    }
    assert set(last.targets) == set(episodes.targets)
    assert [g.chapter for g in seen] == ["trial0"] * 12 + ["trial1"] * 2


def test_groups_follow_each_other_in_time(episodes: PreparedEpisodes) -> None:
    times = timeline(episodes, np.arange(24))
    assert (np.diff(times) > 0).all()
    assert times[12] - times[11] == PAUSE_NS


def test_every_latent_of_a_bag_is_seen_and_an_image_once(
    bag: Path, bundle: Path, tmp_path: Path
) -> None:
    evaluate_bag(bag, bundle, tmp_path, BagOptions(video=False, subsets="none"))
    with np.load(tmp_path / "latents.npz") as file:
        columns = dict(file)
    source = open_source(bag, ViewOptions(bundle=bundle), tmp_path)
    seen = glances_of(source)
    np.testing.assert_array_equal([g.stamp_ns for g in seen], columns["stamp_ns"])
    means = np.stack([g.latent.mean for g in seen if g.latent is not None])
    np.testing.assert_array_equal(means, columns["mean"])
    states = [[int(g.sensors[n].state) for n in columns["modalities"]] for g in seen]
    np.testing.assert_array_equal(states, columns["state"])
    fused = columns["state"][:, 0] == int(FusionState.FUSED)
    images = np.unique(columns["sample_stamp_ns"][fused, 0])
    assert sum("rgb" in g.recorded for g in seen) == len(images) > 20


@pytest.mark.parametrize("of", ["run", "bag", "episodes"])
def test_a_picture_needs_no_display_and_no_rerun(
    of: str,
    trained: Path,
    folder: Path,
    bag: Path,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv(VARIABLE, "/no/such/python")
    through = [] if of == "run" else ["--bundle", str(bundle)]
    path = {"run": trained, "bag": bag, "episodes": folder}[of]
    out = tmp_path / "seen.png"
    limit = ["--max-records", "60"]
    assert main(["view", str(path), *through, "--picture", str(out), *limit]) == 0
    assert str(out) in capsys.readouterr().out
    picture = cv2.imread(str(out))
    assert min(picture.shape[:2]) > 600
    assert picture.std() > 20


def test_the_picture_shows_what_was_recorded_beside_what_was_predicted(
    episodes: PreparedEpisodes, runtime: Runtime
) -> None:
    page = Page(runtime.modalities, title="x")
    for glance in record_glances(episodes, np.arange(60), runtime):
        page.add(glance)
    figure = page.figure()
    shown = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    assert len(shown) == 2 * 2 * 6  # two cameras, both roles, six moments
    first = episodes.arrays["rgb"][0].transpose(1, 2, 0)
    np.testing.assert_array_equal(shown[0], first)
    labels = " ".join(t.get_text() for axis in figure.axes for t in axis.texts)
    assert all(
        f"{m}\n{role}" in labels for m in ("rgb", "depth") for role in ("recorded", "predicted")
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["{folder}", "--picture", "x.png"], "seen through a model: name the --bundle"),
        (["{bag}", "--bundle", "{bundle}"], "no display"),
        (
            ["/nowhere", "--picture", "x.png"],
            "/nowhere: expected a run, a recording",
        ),
        (["/nowhere"], "/nowhere: expected a run, a recording"),  # said before the display
        (["{bag}", "--bundle", "{bundle}", "--save", "{out}"], "pip install rerun-sdk"),
        (["{bag}", "--bundle", "{bundle}", "--picture", "x.png", "--drop", "rbg"], "'rgb'"),
    ],
)
def test_what_cannot_be_seen_is_one_line(
    arguments: list[str],
    expected: str,
    bag: Path,
    folder: Path,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(VARIABLE, "/no/such/python")
    places: dict[str, Any] = {"bag": bag, "folder": folder, "bundle": bundle, "out": "x.rrd"}
    assert main(["view", *(a.format(**places) for a in arguments)]) == 2
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("smvae view: error: ")
    assert expected in err
    assert not [*tmp_path.iterdir()]


class Unstamped(SmallBag):
    """As a camera's driver without a clock records them: every stamp is zero."""

    def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
        if hasattr(message, "header"):
            message.header.stamp.sec = message.header.stamp.nanosec = 0
        super().write(topic, type_name, message, received_ns)


def test_a_bag_without_a_moment_says_what_was_refused(
    bundle: Path, runtime: Runtime, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tuple(m.name for m in runtime.modalities)
    bag = Unstamped(tmp_path / "bag", runtime).play((names, 2))
    picture = ["--picture", str(tmp_path / "bag.png")]
    assert main(["view", str(bag), "--bundle", str(bundle), *picture]) == 2
    said = capsys.readouterr().err
    assert "there is not one moment to see: rgb: 0 received, 2 rejected (2 x zero stamp)" in said


def test_a_file_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"x\.png: expected a file that ends in \.rrd"):
        ViewOptions(save=Path("x.png"))
    with pytest.raises(ConfigError, match=r"--max-records must be at least 1, got 0"):
        ViewOptions(max_records=0)


def test_live_without_a_workspace_is_one_line(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("smvae_training.commands.view.LIVE", "no_such_workspace.viewer")
    assert main(["view", str(bundle), "--live"]) == 2
    assert "source ros2_ws/install/setup.bash" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="live there is no picture"):
        ViewOptions(live=True, picture=Path("x.png"))


def test_live_is_the_workspaces_viewer(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("smvae_tools")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert main(["view", str(bundle), "--live"]) == 1
    assert "viewer: there is no display" in capfd.readouterr().err


def test_what_lies_at_a_path_is_told_by_what_is_there(
    trained: Path, folder: Path, bag: Path, tmp_path: Path
) -> None:
    assert what(trained) == "run"
    assert what(folder) == "episodes"
    assert what(bag) == what(next(bag.glob("*.mcap"))) == "bag"


@pytest.mark.skipif(not VIEWER.exists(), reason="no viewer: scripts/setup_viewer.sh makes one")
def test_rerun_reads_back_every_moment(trained: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run.rrd"
    arguments = ["--save", str(out), "--viewer-python", str(VIEWER)]
    assert main(["view", str(trained), *arguments]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["run.rrd"]
    run = load_run(trained)
    held_out = len(run.split(prepare_episodes(folder, run.model_config.modalities)).held_out)
    counted = subprocess.run(
        [str(VIEWER), "-c", COUNTING, str(out)],
        check=True,
        capture_output=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
    )
    found = json.loads(counted.stdout)
    rows = found["rows"]
    assert found["blueprints"] == 1
    names = [m.name for m in run.model_config.modalities]
    for name in names:
        readings = 32 if name == "force" else 1
        static = 1 if name in ("force", "action") else 0  # the names of the lines
        for role in ("recorded", "predicted"):
            assert rows[f"/{name}/{role}"] == held_out * readings + static
    assert rows["/latent/mean"] == rows["/novelty"] == held_out + 1
    assert rows["/latent/all"] == held_out
