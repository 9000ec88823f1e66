"""`smvae evaluate-bag --outage`: messages that never come, and what memory makes of their loss."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytest.importorskip("rosbags")
from small_bag import SmallBag

from smvae_core.bags import Bag
from smvae_core.errors import ConfigError, UnknownModality
from smvae_core.fusion.rules import FusionState
from smvae_core.runtime import Posterior, Runtime
from smvae_training.cli import main
from smvae_training.evaluate.bag.evaluate import LATENTS, REPORT, SUMMARY
from smvae_training.evaluate.bag.inputs import find_inputs
from smvae_training.evaluate.bag.outage import Outage, inside_90
from smvae_training.evaluate.bag.replay import BagReplay
from smvae_training.evaluate.bag.settings import node_settings
from smvae_training.evaluate.live.images import as_network
from tests.remembering import MODALITIES, NAMES, remembering_bundle

LOST = "rgb,depth:0.5:0.9"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return remembering_bundle(tmp_path_factory.mktemp("memory") / "bundle")


@pytest.fixture(scope="module")
def bag(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of all sensors."""
    return SmallBag(tmp_path_factory.mktemp("bag") / "bag", Runtime(bundle)).play((NAMES, 40))


@pytest.fixture(scope="module")
def out(bag: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes, and prints into printed.txt."""
    folder = tmp_path_factory.mktemp("evaluated")
    words = ["evaluate-bag", str(bag), "--bundle", str(bundle), "--out", str(folder)]
    quick = ["--no-video", "--subsets", "none", "--no-audit"]
    with (folder / "printed.txt").open("w") as file, redirect_stdout(file):
        assert main([*words, *quick, "--outage", LOST, "force:1.6:0.3"]) == 0
    return folder


def test_lost_cameras_are_remembered_and_compared_by_time_since_their_loss(out: Path) -> None:
    with np.load(out / LATENTS, allow_pickle=False) as file:
        columns = dict(file)
    summary = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
    seconds = (columns["received_ns"] - columns["received_ns"][0]) * 1e-9
    rgb = columns["state"][:, 0]
    assert set(rgb[(seconds > 0.8) & (seconds < 1.2)]) == {int(FusionState.REMEMBERED)}
    assert set(rgb[seconds > 1.6]) == {int(FusionState.FUSED)}
    lost = summary["outages"]["sensors"]
    assert list(lost) == ["rgb", "depth", "force"]
    assert list(lost["rgb"]) == ["alive", "0 to 0.25 s", "0.25 to 0.5 s", "0.5 to 1 s"]
    there = int((rgb != int(FusionState.ABSENT)).sum())
    assert sum(row["latents"] for row in lost["rgb"].values()) == there
    for row in lost["rgb"].values():
        assert row["ratio"] > 0.0
        assert 0.0 <= row["inside_90"] <= 1.0
    late = rgb == int(FusionState.REMEMBERED)
    assert np.isfinite(columns["rgb_squared_error"][late]).all(), "still compared with"
    assert "force_rmse_force_N" in lost["force"]["alive"]
    assert summary["memory_s"] == 5.0
    assert "Lost sensors" in (out / REPORT).read_text(encoding="utf-8")
    printed = (out / "printed.txt").read_text()
    assert "depth by time since its loss, memory_s 5" in printed
    assert "force by time since its loss" in printed


class Seen:
    """Keeps the moments of a replay by stamp and subset."""

    def __init__(
        self,
        bag: Path,
        bundle: Path,
        memory_s: float,
        drop: str,
        outage: str,
        ahead_s: float = 0.0,
    ) -> None:
        self.moments: dict[tuple[int, tuple[str, ...]], Any] = {}
        runtime = Runtime(bundle)
        outages = [Outage.parse(text, MODALITIES) for text in outage.split()]
        with Bag(bag) as opened:
            settings = node_settings(
                MODALITIES, drop=drop.split(), memory_s=memory_s, predict_ahead_s=ahead_s
            )
            inputs = find_inputs(opened, MODALITIES, settings)
            dropped = lambda name, at_s: any(o.drops(name, at_s) for o in outages)  # noqa: E731
            BagReplay(opened, runtime, settings, inputs, dropped).run(self)

    def on_sample(self, *_: Any) -> None: ...

    def on_moment(self, moment: Any) -> None:
        observation = moment.perceived.observation
        self.moments[observation.reference_ns, observation.subset] = moment

    def states(self, name: str) -> set[FusionState]:
        states = {m.perceived.observation.status[name].state for m in self.moments.values()}
        return states - {FusionState.ABSENT}


def test_without_memory_they_are_stale_and_what_is_left_alone_counts(
    bag: Path, bundle: Path
) -> None:
    lost = Seen(bag, bundle, 0.0, "", LOST)
    assert lost.states("rgb") == {FusionState.FUSED, FusionState.STALE}
    dropped = Seen(bag, bundle, 0.0, "rgb depth", "")
    both = lost.moments.keys() & dropped.moments.keys()
    assert len(both) > 10
    for key in both:
        mean = lost.moments[key].perceived.posterior.mean
        np.testing.assert_array_equal(mean, dropped.moments[key].perceived.posterior.mean)
    remembering = Seen(bag, bundle, 5.0, "", LOST)
    assert remembering.states("rgb") == {FusionState.FUSED, FusionState.REMEMBERED}
    means = [
        (m.perceived.posterior.mean, remembering.moments[key].perceived.posterior.mean)
        for key, m in lost.moments.items()
        if key in remembering.moments
    ]
    assert max(np.abs(a - b).max() for a, b in means) > 0.01


def test_latents_ahead_are_compared_with_what_the_bag_held_then(bag: Path, bundle: Path) -> None:
    now, ahead = Seen(bag, bundle, 5.0, "", LOST), Seen(bag, bundle, 5.0, "", LOST, 0.1)
    assert list(ahead.moments) == list(now.moments)
    compared = 0
    for key, moment in ahead.moments.items():
        answers_ns = moment.perceived.answers_ns
        assert answers_ns == key[0] + 100_000_000
        assert moment.received_ns == now.moments[key].received_ns
        later = next((m for (ns, _), m in now.moments.items() if ns == answers_ns), None)
        if later is None or "rgb" not in moment.everything.samples:
            continue
        stamp_ns = moment.everything.status["rgb"].stamp_ns
        assert abs(stamp_ns - answers_ns) < 60_000_000, "an image every 50 ms"
        compared += stamp_ns == later.everything.status["rgb"].stamp_ns
    assert compared > 20


def test_looking_ahead_needs_a_memory(
    bag: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = Path(__file__).parents[1] / "frozen" / "bundle"
    quick = ["--no-video", "--subsets", "none", "--no-audit", "--predict-ahead-s"]

    def refused(path: Path, *words: str) -> str:
        out = str(tmp_path / "out")
        assert main(["evaluate-bag", str(bag), "--bundle", str(path), "--out", out, *words]) == 2
        return " ".join(capsys.readouterr().err.split())

    assert "must be 0, got 0.1: the bundle has no memory" in refused(frozen, *quick, "0.1")
    assert "must lie in [0, 0.5], got 0.6" in refused(bundle, *quick, "0.6")
    without = refused(bundle, *quick, "0.1", "--memory-s", "0")
    assert "predict_ahead_s 0.1 needs memory_s above 0" in without


def test_an_outage_is_refused_in_one_line(
    bag: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate-bag", str(bag), "--bundle", str(bundle), "--out", str(tmp_path)]
    assert main([*words, "--outage", "rgb:2"]) == 2
    expected = "outage: expected SENSORS:START:LENGTH in seconds, such as 'rgb,depth:2.0:1.0'"
    assert expected in " ".join(capsys.readouterr().err.split())
    assert main([*words, "--outage", "rgb,depth:500:1"]) == 2
    behind = "rgb,depth would be lost from 500 s on, and the bag lasts "
    assert behind in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "text", ["", "rgb", "rgb:1", "rgb:1:0", "rgb:-1:1", "rgb:a:1", "rgb:1:inf"]
)
def test_an_outage_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigError, match="outage: expected"):
        Outage.parse(text, MODALITIES)


def test_an_outage_of_an_unknown_sensor() -> None:
    with pytest.raises(UnknownModality, match="rbg"):
        Outage.parse("rbg:1:1", MODALITIES)
    assert Outage.parse("rgb, depth:1:2", MODALITIES).sensors == ("rgb", "depth")


def test_an_interval_holds_what_is_predicted_and_not_what_is_far(bundle: Path) -> None:
    runtime = Runtime(bundle)
    mean, log_var = np.zeros(8, np.float32), np.full(8, -20.0, np.float32)
    posterior, action = Posterior(mean, log_var), runtime.modality("action")

    def share(sample: Any) -> float:
        return inside_90(runtime, action, posterior, (sample, as_network(action, sample)))

    predicted = runtime.reconstruct("action", mean)
    units = np.array(runtime.manifest.statistics["action"].scale, np.float32)
    scale = runtime.manifest.scale("action", mean) * units
    assert share(predicted) == 1.0
    assert share(predicted + 1.6 * scale) == 1.0
    assert share(predicted + 1.7 * scale) == 0.0
