"""A bag of a live run gives the right numbers, and every kind of fault is found and named."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytest.importorskip("rosbags")
from live_bag import LATENCY_NS, BagMaker

from smvae_core.fusion.rules import FusionState
from smvae_core.modality import all_subsets, subset_name
from smvae_core.preprocessing import prepare
from smvae_core.runtime import Runtime
from smvae_training.audit.audit import percentiles
from smvae_training.audit.reproduce import Checked
from smvae_training.evaluate.live.bag import LiveRun, LiveRunError, Track, read_bag, shrunk
from smvae_training.evaluate.live.checks import live_checks
from smvae_training.evaluate.live.evaluate import (
    LiveEvaluation,
    evaluate_live,
    missing_sequences,
    numbers,
    subset_numbers,
)
from smvae_training.evaluate.live.fusion import (
    MARGIN_S,
    check_fusion,
    exceptions,
    published,
    settled,
    windows,
)
from smvae_training.evaluate.live.images import image_errors
from smvae_training.evaluate.live.replay import reproducer
from smvae_training.evaluate.live.section import live_sections


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory, runtime: Runtime) -> Path:
    return BagMaker(tmp_path_factory.mktemp("live") / "bag", runtime).make()


@pytest.fixture(scope="module")
def run(bag: Path, runtime: Runtime) -> LiveRun:
    return read_bag(bag, runtime.modalities)


@pytest.fixture(scope="module")
def found(bag: Path, bundle: Path) -> LiveEvaluation:
    return evaluate_live(bag, bundle)


def latents_of(run: LiveRun, subset: Sequence[str]) -> list[Any]:
    return [(v, w) for v, w in settled(run) if v.fused == frozenset(subset)]


def failed(live: dict[str, Any]) -> list[str]:
    return [c["name"] for c in live_checks(live) if not c["passed"]]


def test_a_faultless_run_passes_every_check(found: LiveEvaluation) -> None:
    live = numbers(found)
    assert failed(live) == []
    assert live["fused_equals_published"] == live["equal_to_offline"] == 1.0
    assert live["exceptions"] == []
    assert set(live["subsets"]) == {subset_name(s) for s in all_subsets(found.run.names)}
    assert live["stamp_to_received_ms"]["p50"] == pytest.approx(LATENCY_NS * 1e-6)
    assert live["none"]["valid"] == 0
    assert live["none"]["no_input"] == live["none"]["empty_mean"] == live["none"]["messages"] > 0


def test_images_kept_at_network_size_lose_nothing(runtime: Runtime) -> None:
    for modality in runtime.modalities:
        raw = modality.example_sample()
        np.testing.assert_array_equal(
            prepare(modality, shrunk(modality, raw)), prepare(modality, raw)
        )


def test_latents_near_a_switch_are_left_out(run: LiveRun) -> None:
    for latent, window_of in settled(run):
        before_s = (latent.stamp_ns - window_of.begin_ns) * 1e-9
        after_s = (window_of.end_ns - latent.stamp_ns) * 1e-9
        assert min(before_s, after_s) >= MARGIN_S
    assert len(windows(run.marks, run.modalities)) == len(run.marks) - 1


def test_published_follows_the_recorded_stamps(run: LiveRun) -> None:
    for latent, window_of in settled(run):
        assert published(run, latent.stamp_ns) == frozenset(window_of.subset)
    assert published(run, run.latents[0].stamp_ns - 10**9) == frozenset()


def test_a_sensor_that_was_published_but_not_fused_is_an_exception(run: LiveRun) -> None:
    latent, window_of = latents_of(run, run.names)[0]
    older = latent.stamps_ns["force"] - 20_000_000
    stale = replace(
        latent,
        states=latent.states | {"force": FusionState.STALE},
        stamps_ns=latent.stamps_ns | {"force": older},
    )
    (check,) = check_fusion(run, [(stale, window_of)])
    assert not check.right
    assert "up to 20 ms before the newest" in check.causes["force"]
    late = replace(stale, received_ns=latent.stamps_ns["force"] - 1)
    (check,) = check_fusion(run, [(late, window_of)])
    assert check.causes["force"] == "its message arrived after the latent"
    (listed,) = exceptions([check], run.marks[0].done_ns)
    assert listed["published"] == sorted(run.names)


def test_a_suspect_that_the_node_left_out_is_no_exception_and_counted(
    run: LiveRun, found: LiveEvaluation
) -> None:
    latent, window_of = latents_of(run, run.names)[0]
    rejected = replace(latent, states=latent.states | {"force": FusionState.REJECTED})
    (check,) = check_fusion(run, [(rejected, window_of)])
    assert check.causes == {"force": "the node rejected the message"}
    doubted = replace(rejected, doubted=frozenset({"force"}))
    some = replace(found, fusion=check_fusion(run, [(doubted, window_of), *settled(run)]))
    live = numbers(some)
    assert all(c.right for c in some.fusion)
    assert live["left_out"]["modalities"] == {"force": 1}
    assert live["left_out"]["share"] == pytest.approx(1.0 / len(some.fusion))
    many = replace(found, fusion=check_fusion(run, [(doubted, window_of)] * 10 + settled(run)))
    assert "sensors that are right count" in failed(numbers(many))


def test_a_sensor_that_was_fused_but_not_published_is_an_exception(run: LiveRun) -> None:
    latent, window_of = latents_of(run, ("rgb",))[0]
    used = int(run.inputs["depth"].stamps_ns[0])
    extra = replace(
        latent,
        states=latent.states | {"depth": FusionState.FUSED},
        stamps_ns=latent.stamps_ns | {"depth": used},
    )
    (check,) = check_fusion(run, [(extra, window_of)])
    assert "ms old" in check.causes["depth"]


def test_a_changed_mean_is_found(run: LiveRun, runtime: Runtime) -> None:
    latent, _ = latents_of(run, ("rgb", "depth"))[0]
    replay = reproducer(run, runtime)
    assert replay.check(latent).equal
    other = replay.check(replace(latent, mean=latent.mean + 0.01))
    assert other.mean_difference == pytest.approx(0.01, rel=1e-3)
    assert other.complete
    assert not other.equal
    surer = replay.check(replace(latent, variance=latent.variance * 0.99))
    assert surer.mean_difference < 1e-4
    assert not surer.equal


def test_a_reading_that_the_node_lost_is_named_as_the_cause(run: LiveRun, runtime: Runtime) -> None:
    latent, _ = latents_of(run, ("force",))[0]
    track, end = run.inputs["force"], latent.stamps_ns["force"]
    rows = np.flatnonzero((track.stamps_ns <= end) & (track.stamps_ns > end - 10**8))
    kept = np.delete(rows, -5)
    samples = track.samples.copy()
    samples[rows[-5]] += 100.0  # so that it matters
    track = Track(track.stamps_ns, track.received_ns, samples)
    run = replace(run, inputs=run.inputs | {"force": track})
    force = runtime.modality("force")
    readings = track.stamps_ns[kept], track.samples[kept]
    found = runtime.infer({"force": force.family.assemble(force, *readings, min_samples=3)})
    without = replace(latent, mean=found.mean, variance=found.variance)
    result = reproducer(run, runtime).check(without)
    assert not result.equal
    assert result.missing == {"force": "the node lacked one of its readings; without it, equal"}


def test_an_input_that_was_not_recorded_is_named_as_the_cause(
    run: LiveRun, runtime: Runtime
) -> None:
    latent, _ = latents_of(run, ("rgb",))[0]
    track = run.inputs["rgb"]
    keep = track.stamps_ns != latent.stamps_ns["rgb"]
    less = Track(track.stamps_ns[keep], track.received_ns[keep], track.samples[keep])
    poorer = replace(run, inputs=run.inputs | {"rgb": less})
    result = reproducer(poorer, runtime).check(latent)
    assert result.mean is None
    assert result.missing == {"rgb": "the recorder missed the message that was fused"}


def test_wrong_predicted_images_fail_the_check(found: LiveEvaluation, runtime: Runtime) -> None:
    modality = runtime.modality("depth")
    track = found.run.predicted["depth"]
    off = Track(track.stamps_ns, track.received_ns, track.samples + np.float32(0.3))
    run = replace(found.run, predicted=found.run.predicted | {"depth": off})
    replayed = found.of_fused(run.names)
    errors = image_errors(run, runtime, modality, replayed, {})
    assert errors.images == len(replayed)
    assert abs(errors.live_over_offline - 1.0) > 0.1
    live = numbers(found)
    live["subsets"]["rgb"]["images"]["depth"] = errors.to_json()
    assert failed(live) == ["predicted depth as good as offline"]


def test_the_mean_image_is_the_yardstick_when_it_is_known(
    found: LiveEvaluation, runtime: Runtime
) -> None:
    modality = runtime.modality("rgb")
    mean = {"rgb": np.full((1, *modality.shape), 0.5, np.float32)}
    errors = image_errors(found.run, runtime, modality, found.of_fused(("rgb",)), mean)
    assert errors.to_json()["ratio_to_mean_image"] == pytest.approx(errors.live / errors.mean_image)
    assert errors.max_apart_s == 0.0


def test_checks_fail_on_a_valid_latent_of_nothing_and_on_losses(found: LiveEvaluation) -> None:
    live = numbers(found)
    live["none"] |= {"valid": 1}
    live["bag"]["lost"] = {"/wrench": 3}
    assert failed(live) == ["nothing alive says so", "the recorder lost nothing"]


def test_a_subset_that_was_never_seen_fails(found: LiveEvaluation) -> None:
    fewer = replace(found, fusion=[c for c in found.fusion if c.window.name != "action"])
    assert "every subset was seen" in failed(numbers(fewer))


def test_gaps_in_the_sequence_count_as_latents_not_recorded(run: LiveRun) -> None:
    assert missing_sequences(run.latents) == 0
    assert missing_sequences([*run.latents[:5], *run.latents[8:]]) == 3
    assert np.isnan(percentiles([])["p50"])


def test_the_report_shows_every_subset(found: LiveEvaluation) -> None:
    sections = live_sections(found, numbers(found))
    html = "".join(s.html for s in sections)
    assert all(subset_name(s) in html for s in all_subsets(found.run.names))
    assert html.count("data:image/png;base64") == 3


def test_a_bag_that_is_missing_or_of_another_bundle_is_refused(
    tmp_path: Path, bag: Path, bundle: Path, run: LiveRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LiveRunError, match=r"no metadata.yaml"):
        read_bag(tmp_path, run.modalities)
    other = replace(run, model=run.model | {"sha256": "0" * 64})
    monkeypatch.setattr("smvae_training.evaluate.live.evaluate.read_bag", lambda *_: other)
    with pytest.raises(LiveRunError, match="its latents come from bundle 000000000000"):
        evaluate_live(bag, bundle)


def test_images_of_latents_with_one_stamp_are_told_apart_by_their_order() -> None:
    """A frame of one camera, then the other's of the same moment: two latents, one stamp."""
    stamps = np.array([10, 20, 20, 30], np.int64)
    track = Track(stamps_ns=stamps, received_ns=stamps, samples=np.array(["a", "b", "c", "d"]))
    assert (track.at(20), track.at(20, 1), track.at(20, 2)) == ("b", "c", None)
    assert (track.at(30), track.at(30, 1), track.at(15)) == ("d", None, None)


def test_a_latent_that_is_no_number_is_the_largest_difference() -> None:
    differences = [1e-6, float("nan"), 1e-3]
    found = SimpleNamespace(
        of_window=lambda name: [],
        of_fused=lambda subset: [Checked(latent=None, mean_difference=d) for d in differences],
        images={"rgb": {}},
    )
    assert np.isnan(subset_numbers(found, ("rgb",))["largest_difference"])
