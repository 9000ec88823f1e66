"""`smvae evaluate-bag`: the numbers against the runtime by hand, determinism, drops, storages."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytest.importorskip("rosbags")
from small_bag import SmallBag

from smvae_core.fusion.rules import FusionState
from smvae_core.modality import all_subsets, subset_name
from smvae_core.runtime import Runtime
from smvae_training.evaluate.bag.evaluate import (
    LATENTS,
    REPORT,
    SHEET,
    SUMMARY,
    VIDEO,
    evaluate_bag,
)
from smvae_training.evaluate.bag.options import BagOptions
from smvae_training.evaluate.bag.pictures import count_frames
from smvae_training.evaluate.live.bag import LiveRun, read_bag
from smvae_training.evaluate.live.images import as_network

QUICK = {"video": False, "subsets": "none"}
NAMES = ("rgb", "depth", "force", "action")
Columns = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory, runtime: Runtime) -> Path:
    return SmallBag(tmp_path_factory.mktemp("small") / "bag", runtime).standard()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, bag: Path, bundle: Path) -> Path:
    """Everything, with the defaults."""
    folder = tmp_path_factory.mktemp("evaluated")
    evaluate_bag(bag, bundle, folder)
    return folder


@pytest.fixture(scope="module")
def summary(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / SUMMARY).read_text(encoding="utf-8")))


def columns_of(folder: Path) -> Columns:
    with np.load(folder / LATENTS, allow_pickle=False) as file:
        return dict(file)


def evaluated(bag: Path, bundle: Path, out: Path, **options: Any) -> Columns:
    evaluate_bag(bag, bundle, out, BagOptions(**QUICK | options))
    return columns_of(out)


@pytest.fixture(scope="module")
def recorded(bag: Path, runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> LiveRun:
    """The same bag through the other reader, which wants a schedule: one is written beside it."""
    path = tmp_path_factory.mktemp("marked") / "bag"
    maker = SmallBag(path, runtime)
    with maker.writer:
        maker.mark("0", (), [])
        every, blind = ("rgb", "depth", "wrench", "action"), ("wrench", "action")
        for sensors, steps in ((every, 20), (blind, 12), (every, 10)):
            for _ in range(steps):
                maker.step(sensors)
    return read_bag(path, runtime.modalities)


def by_hand(runtime: Runtime, run: LiveRun, columns: Columns, row: int) -> np.ndarray:
    """Return the mean of what a row says was fused, from the samples that it names."""
    samples = {}
    for index, name in enumerate(NAMES):
        if columns["state"][row, index] != FusionState.FUSED:
            continue
        stamp, track = int(columns["sample_stamp_ns"][row, index]), run.inputs[name]
        sample = track.at(stamp)
        assert sample is not None
        if name == "force":
            last = track.before(stamp) + 1
            force = runtime.modality(name)
            readings = track.stamps_ns[:last], track.samples[:last]
            sample = force.family.assemble(force, *readings, min_samples=3)
        samples[name] = sample
    return runtime.infer(samples).mean


def test_every_latent_and_error_equals_the_runtime_by_hand(
    out: Path, runtime: Runtime, recorded: LiveRun
) -> None:
    columns = columns_of(out)
    assert len(columns["mean"]) > 40
    rgb, scored = runtime.modality("rgb"), 0
    for row in range(len(columns["mean"])):
        mean = by_hand(runtime, recorded, columns, row)
        np.testing.assert_allclose(columns["mean"][row], mean, rtol=1e-4, atol=1e-5)
        if columns["state"][row, 0] == FusionState.FUSED:
            truth = recorded.inputs["rgb"].at(int(columns["sample_stamp_ns"][row, 0]))
            drawn = runtime.reconstruct("rgb", columns["mean"][row])
            assert truth is not None
            error = np.square(as_network(rgb, truth) - as_network(rgb, drawn)).mean()
            assert columns["rgb_squared_error"][row] == pytest.approx(error, rel=1e-4)
            scored += 1
    assert scored > 20


def test_the_same_bag_gives_the_same_bytes(bag: Path, bundle: Path, out: Path, tmp_path: Path):
    evaluate_bag(bag, bundle, tmp_path, BagOptions(**QUICK))
    assert (tmp_path / LATENTS).read_bytes() == (out / LATENTS).read_bytes()


def test_both_storages_and_the_bare_file_give_the_same_latents(
    bag: Path, bundle: Path, runtime: Runtime, out: Path, tmp_path: Path
) -> None:
    sqlite = SmallBag(tmp_path / "sqlite", runtime, "sqlite3").standard()
    (file,) = bag.glob("*.mcap")
    for number, path in enumerate((sqlite, file)):
        columns = evaluated(path, bundle, tmp_path / str(number))
        for name, values in columns_of(out).items():
            np.testing.assert_array_equal(columns[name], values, err_msg=f"{path.name}: {name}")


def test_the_cameras_off_time_shows_in_states_and_errors(out: Path, summary: dict[str, Any]):
    columns = columns_of(out)
    fused = columns["state"] == FusionState.FUSED
    blind = ~fused[:, 0] & ~fused[:, 1] & fused[:, 2]
    assert blind.sum() > 5
    assert np.isnan(columns["rgb_squared_error"][blind]).all()
    assert np.isfinite(columns["force_rmse_force_N"][blind]).all()
    assert np.isfinite(columns["rgb_squared_error_next"][fused[:, 0]]).sum() > 10
    counts = summary["latents"]["fused"]
    assert sum(counts.values()) == summary["latents"]["count"] == len(fused)
    assert counts["rgb+depth+force+action"] > 20
    assert summary["modalities"]["rgb"]["messages"] == 30


def test_dropped_cameras_are_never_fused_but_still_compared_with(
    bag: Path, bundle: Path, tmp_path: Path, runtime: Runtime, recorded: LiveRun
) -> None:
    columns = evaluated(bag, bundle, tmp_path, drop="rgb, depth")
    assert set(columns["state"][:, 0]) == set(columns["state"][:, 1]) == {FusionState.DISABLED}
    assert np.isfinite(columns["rgb_squared_error"]).sum() > 20
    assert np.isfinite(columns["depth_squared_error"]).sum() > 20
    for row in range(0, len(columns["mean"]), 5):
        mean = by_hand(runtime, recorded, columns, row)
        np.testing.assert_allclose(columns["mean"][row], mean, rtol=1e-4, atol=1e-5)


def test_the_subset_table_holds_every_subset_and_target(out: Path, summary: dict[str, Any]) -> None:
    table = summary["subsets"]
    assert list(table) == [subset_name(s) for s in all_subsets(NAMES)]
    for scores in table.values():
        assert set(scores) == set(NAMES)
        assert scores["rgb"]["squared_error"] > 0
        assert {"psnr_db", "ratio", "moments"} <= set(scores["rgb"])
        assert scores["depth"]["mae_m"] > 0
    blind, every = table["force+action"], table["rgb+depth+force+action"]
    assert blind["force"]["moments"] > every["force"]["moments"] > 5


def test_few_moments_are_kept_evenly(bag: Path, bundle: Path, tmp_path: Path) -> None:
    options = BagOptions(moments=7, video=False, max_rate_hz=30.0)
    found = evaluate_bag(bag, bundle, tmp_path, options)
    assert found["subset_every"] in (8, 16)
    assert 3 <= found["subsets"]["action"]["action"]["moments"] <= 7


@pytest.mark.parametrize(("trigger", "rate"), [("rgb", 200.0), ("timer", 10.0), ("any", 5.0)])
def test_triggers_and_rates_are_the_nodes(
    bag: Path, bundle: Path, tmp_path: Path, trigger: str, rate: float
) -> None:
    columns = evaluated(bag, bundle, tmp_path, trigger=trigger, max_rate_hz=rate)
    if trigger == "rgb":  # one latent per image, at its stamp
        assert len(columns["mean"]) == 30
        np.testing.assert_array_equal(columns["stamp_ns"], columns["sample_stamp_ns"][:, 0])
    else:
        span_s = 42 * 0.05
        # the node, too, makes two at once after a silence, and one after the last message
        assert 0.7 * span_s * rate <= len(columns["mean"]) <= span_s * rate + 3
        assert np.diff(columns["received_ns"])[1:].min() >= 0.9e9 / rate


def test_pictures_and_report_are_whole(out: Path, summary: dict[str, Any]) -> None:
    sheet = cv2.imread(str(out / SHEET))
    assert sheet.shape[0] > 1000
    assert sheet.std() > 10
    text = (out / REPORT).read_text(encoding="utf-8")
    for title in ("Pictures", "Errors over time", "Every subset", "Latent and uncertainty"):
        assert f"<h2>{title}</h2>" in text
    assert "http" not in text.replace("http-equiv", "")
    video = summary["video"]
    if video["file"]:
        assert count_frames(out / VIDEO) == video["frames"] == summary["latents"]["count"]
    else:
        assert "no mp4" in video["why_not"]


def test_a_looped_recording_begins_a_second_epoch(
    bundle: Path, runtime: Runtime, tmp_path: Path
) -> None:
    maker = SmallBag(tmp_path / "looped", runtime)
    with maker.writer:
        sensors = ("rgb", "depth", "wrench", "action")
        for _ in range(40):
            maker.step(sensors)
        shift_ns = 40 * 50_000_000
        maker.now_ns -= shift_ns
        write, maker.collector = maker.write, type(maker.collector)(maker.modalities)
        maker.write = lambda t, n, m, r: write(t, n, m, r + shift_ns)  # type: ignore[method-assign]
        for _ in range(20):
            maker.step(sensors)
    columns = evaluated(tmp_path / "looped", bundle, tmp_path / "out")
    assert set(columns["epoch"]) >= {1, 2}
    assert (np.diff(columns["epoch"]) >= 0).all()
    assert (np.diff(columns["received_ns"]) > 0).all()
    for epoch in set(columns["epoch"]):
        assert (np.diff(columns["stamp_ns"][columns["epoch"] == epoch]) >= 0).all()
    assert len(columns["epoch"]) > 40


def test_the_report_opens_with_answers_and_the_recorded_latents_are_audited(
    out: Path, summary: dict[str, Any], bag: Path, bundle: Path, tmp_path: Path
) -> None:
    assert summary["live"]["holds"] is True
    assert summary["live"]["latents"]["reproduced"] == summary["live"]["latents"]["checked"] > 30
    assert list(summary["sensors"]["loss"]) == list(NAMES)
    assert all(v["groups"] > 5 for v in summary["sensors"]["loss"].values())
    text = (out / REPORT).read_text(encoding="utf-8")
    titles = re.findall("<h2>([^<]*)</h2>", text)
    assert titles[0] == "Answers"
    assert "Yes: " in text
    links = re.findall(r'<a href="#([^"]+)"', text)
    assert set(links) == set(re.findall(r'<section id="([^"]+)"', text))
    evaluate_bag(bag, bundle, tmp_path, BagOptions(**QUICK, audit=False))
    quick = json.loads((tmp_path / SUMMARY).read_text(encoding="utf-8"))
    assert quick["live"] == {"not_audited": "not asked for"}
    assert quick["sensors"] == {}
