"""What viewers are sent: what a kind shows, frames over a pipe, a viewer that is no more."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from smvae_core.fusion.rules import FusionState
from smvae_core.kinds import shown as forms
from smvae_core.modality import Modality
from smvae_core.preprocessing import prepare, raw_sample
from smvae_core.presets import vision_touch
from smvae_core.view.glance import Glance, Latent, SensorGlance, TargetNames
from smvae_core.view.process import VARIABLE, NoViewer, Viewer, ViewerError, viewer_python
from smvae_core.view.scene import BANDS, Scene
from tests.declared import EVERY_KIND

#: A viewer of numpy and json alone: writes one line of JSON per frame.
LISTING = """
import json, struct, sys
import numpy as np
out = open(sys.argv[1], "w")
print("ready", flush=True)
stdin = sys.stdin.buffer
while head := stdin.read(4):
    told = json.loads(stdin.read(struct.unpack("<I", head)[0]))
    dtype, shape = np.dtype(told["dtype"]), told["shape"]
    array = np.frombuffer(stdin.read(dtype.itemsize * int(np.prod(shape))), dtype).reshape(shape)
    out.write(json.dumps(told | {"array": array.tolist()}) + "\\n")
"""
SENSORS = {m.name: m for m in vision_touch(32)}


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    script = tmp_path / "listing.py"
    script.write_text(LISTING)
    return script


def glance(step: int, *, state: FusionState = FusionState.FUSED) -> Glance:
    """Return a moment of all sensors, 10 ms after the one before."""
    mean = np.arange(8, dtype=np.float32) + step
    samples = {name: m.example_sample(step) for name, m in SENSORS.items()}
    return Glance(
        stamp_ns=step * 10_000_000,
        recorded=samples,
        predicted=samples,
        latent=Latent(mean=mean, variance=(9.0 - mean) ** 2, kl=3.0, novelty=1.5),
        sensors={name: SensorGlance(state=state, age_s=0.01) for name in SENSORS},
        targets={"hole": np.float32([1, 2])},
        chapter="first",
    )


def scene() -> Scene:
    targets = {"hole": TargetNames(fields=("x", "y"), unit="m")}
    return Scene("test", tuple(SENSORS.values()), thresholds=(2.0, 3.0), targets=targets)


@pytest.mark.parametrize("modality", EVERY_KIND, ids=lambda m: m.kind)
def test_every_kind_shows_a_sample_and_a_prediction_of_it_alike(modality: Modality) -> None:
    sample = modality.example_sample(3)
    recorded = modality.family.shown(modality, sample)
    prediction = raw_sample(modality, prepare(modality, sample))  # in a prediction's layout
    predicted = modality.family.shown(modality, prediction)
    assert (recorded.form, recorded.names) == (predicted.form, predicted.names)
    assert recorded.values.dtype == predicted.values.dtype
    if recorded.form == "curves":
        np.testing.assert_allclose(recorded.values, predicted.values, rtol=1e-6)
        assert recorded.values.shape[1] == len(recorded.names)


def test_every_form_is_some_kinds_and_is_documented() -> None:
    used = {m.family.shown(m, m.example_sample()).form for m in EVERY_KIND}
    assert used == set(get_args(forms.Form))
    assert all(f"| {form} |" in str(forms.Shown.__doc__) for form in used)


def test_a_crop_is_cut_from_a_camera_and_not_from_a_prediction() -> None:
    options = {"crop": (0, 80, 480, 560)}
    for kind, unit, channels in (("color_image", "1", 3), ("depth_image", "m", 1)):
        m = Modality(name="x", kind=kind, shape=(channels, 64, 64), unit=unit, options=options)
        wide = np.zeros((480, 640, 3), np.uint8) if channels == 3 else np.ones((480, 640), "f4")
        assert m.family.shown(m, wide).values.shape[:2] == (forms.LONGEST, forms.LONGEST)
        m, view = m.uncut, wide[:64, :64]
        assert m.family.shown(m, view).values.shape[:2] == (64, 64)
        np.testing.assert_array_equal(raw_sample(m, prepare(m, view)), view)


def test_depth_that_was_not_measured_is_not_shown_as_near() -> None:
    depth = SENSORS["depth"]
    shown = depth.family.shown(depth, np.float32([[0.0, np.nan], [1.0, 99.0]]))
    np.testing.assert_array_equal(shown.values, np.float32([[np.nan, np.nan], [1.0, np.nan]]))
    assert forms.colour_limits(shown) == pytest.approx((1.0, 1.001))
    nothing = depth.family.shown(depth, np.zeros((2, 2), np.float32))
    assert forms.colour_limits(nothing) is None


def test_frames_arrive_as_they_were_sent(listing: Path, tmp_path: Path) -> None:
    out, source = tmp_path / "frames", scene()
    sent = [source.opening(), *(f for step in range(3) for f in source.frames(glance(step)))]
    with Viewer([out], python=sys.executable, script=listing) as viewer:
        for frame in sent:
            viewer.send(*frame)
    got = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(got) == len(sent) > 40
    for (header, array), told in zip(sent, got, strict=True):
        assert {k: told[k] for k in header} == json.loads(json.dumps(header))
        np.testing.assert_array_equal(np.array(told["array"], array.dtype).ravel(), array.ravel())


def test_a_scene_holds_all_that_is_to_be_seen() -> None:
    source = scene()
    views = {p for row in source.opening()[0]["rows"] for view in row for p in view["paths"]}
    frames = {h["path"]: (h, a) for h, a in source.frames(glance(0))}
    sensors = [f"{name}/{role}" for name in SENSORS for role in ("recorded", "predicted")]
    latent = ["latent/mean", "latent/upper", "latent/lower", "latent/all", "knowledge", "novelty"]
    states = [f"{what}/{name}" for what in ("age", "state") for name in SENSORS]
    assert set(frames) == {*sensors, *latent, *states, "targets/hole", "episode"}
    for path in frames:
        assert any(path == v or path.startswith(f"{v}/") for v in views), path
    mean, upper = frames["latent/mean"][1], frames["latent/upper"][1]
    assert len(mean) == BANDS
    np.testing.assert_array_equal(mean, [4, 5, 6, 7])  # of the smallest variance
    np.testing.assert_allclose(upper - mean, 9.0 - mean)  # one deviation
    np.testing.assert_array_equal(frames["novelty"][1], np.float32([1.5, 2.0, 3.0]))


def test_readings_of_windows_that_overlap_are_sent_once() -> None:
    """Windows of 32 ms every 10 ms: each later one brings 10 new readings."""
    source = scene()
    sent = [
        (h["time_ns"], len(a))
        for step in range(4)
        for h, a in source.frames(glance(step))
        if h["path"] == "force/recorded"
    ]
    assert sent == [(0, 32), (10_000_000, 10), (20_000_000, 10), (30_000_000, 10)]


def test_a_state_is_said_when_it_changes_with_its_reason() -> None:
    source, told = scene(), []
    lost = SensorGlance(state=FusionState.STALE, reason="nothing for 2 s")
    moments = [
        Glance(stamp_ns=0, sensors={"rgb": SensorGlance(state=FusionState.FUSED)}),
        Glance(stamp_ns=1, sensors={"rgb": SensorGlance(state=FusionState.FUSED)}),
        Glance(stamp_ns=2, sensors={"rgb": lost}),
    ]
    for moment in moments:
        told += [(h["time_ns"], h["state"], h["reason"]) for h, _ in source.frames(moment)]
    assert told == [(0, "fused", ""), (2, "stale", "nothing for 2 s")]


def test_colours_of_depth_keep_their_limits() -> None:
    source, depth = scene(), SENSORS["depth"]
    limits = [
        header["limits"]
        for metres in (0.5, 2.0)
        for header, _ in source.frames(
            Glance(stamp_ns=0, recorded={"depth": np.full((32, 32), metres, np.float32)})
        )
    ]
    assert limits == [(0.5, pytest.approx(0.501))] * 2
    assert depth.family.shown_range(depth) != limits[0]


@pytest.mark.parametrize("python", ["/no/such/python", sys.executable])
def test_without_rerun_one_line_says_how_to_get_it(python: str) -> None:
    if python == sys.executable and importlib.util.find_spec("rerun"):
        pytest.skip("this Python has rerun")
    with pytest.raises(NoViewer, match=r"pip install rerun-sdk==.* --viewer-python") as caught:
        Viewer(python=python)
    assert python in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_version_that_is_named_is_the_one_that_the_script_installs() -> None:
    wanted = (Path(__file__).parents[2] / "requirements-viewer.txt").read_text().splitlines()[-1]
    assert wanted in str(NoViewer("python", "why"))


def test_a_viewer_that_dies_is_named_with_its_last_words(tmp_path: Path) -> None:
    script = tmp_path / "dies.py"
    script.write_text('import sys\nprint("ready", flush=True)\nsys.exit("out of paint")')
    big = np.zeros(1 << 20, np.float32)  # more than a pipe holds
    viewer = Viewer(python=sys.executable, script=script)
    with pytest.raises(ViewerError, match="stopped: out of paint"):
        viewer.send({"form": "bars"}, big)
    viewer = Viewer(python=sys.executable, script=script)
    with pytest.raises(ViewerError, match="failed: out of paint"):
        viewer.close()


def test_a_fault_of_ours_ends_the_viewer(listing: Path, tmp_path: Path) -> None:
    def fail() -> None:
        with Viewer([tmp_path / "x"], python=sys.executable, script=listing) as viewer:
            started.append(viewer)
            raise KeyboardInterrupt

    started: list[Viewer] = []
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert started[0]._process.returncode is not None


def test_the_viewers_python_is_found_by_option_then_environment_then_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / ".venv-view/bin/python"
    place.parent.mkdir(parents=True)
    place.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert viewer_python() == str(place)
    monkeypatch.setenv(VARIABLE, "/env/python")
    assert viewer_python() == "/env/python"
    assert viewer_python("/own/python") == "/own/python"


def test_a_latent_without_novelty_shows_none() -> None:
    latent = Latent(mean=np.zeros(2, "f4"), variance=np.ones(2, "f4"), kl=0.0, novelty=math.nan)
    paths = {h["path"] for h, _ in scene().frames(Glance(stamp_ns=0, latent=latent))}
    assert "latent/mean" in paths
    assert "novelty" not in paths
