"""A bag at whose moments the model gives no numbers: counted as ERROR, and no row, nor picture."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytest.importorskip("rosbags")
from small_bag import SmallBag, read_by

from smvae_core.bags import Bag, BagError
from smvae_core.fusion.rules import FusionState
from smvae_core.runtime import Posterior, Runtime
from smvae_training.evaluate.bag.evaluate import LATENTS, REPORT, SHEET, SUMMARY, evaluate_bag
from smvae_training.evaluate.bag.inputs import find_inputs
from smvae_training.evaluate.bag.options import BagOptions
from smvae_training.evaluate.bag.replay import BagReplay, Moment
from smvae_training.evaluate.bag.settings import node_settings

NAMES = ("rgb", "depth", "force", "action")
FORCE = 2


#: A reading [N] that is taken, and at which the model of these tests breaks.
OVERLOAD_N = 9000.0


@pytest.fixture(autouse=True)
def _breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every model give no numbers from a force window that holds an overload."""
    observe, posteriors = Runtime.observe, Runtime.posteriors
    overloaded: dict[int, bool] = {}

    def watched(self: Runtime, name: str, sample: Any, *key: Any, **prepared: Any) -> None:
        if name == "force":
            overloaded[id(self)] = bool(np.max(sample) >= OVERLOAD_N)
        observe(self, name, sample, *key, **prepared)

    def broken(self: Runtime, subsets: Any) -> Any:
        found = posteriors(self, subsets)
        for subset, posterior in zip(subsets, found, strict=True):
            if "force" in subset and overloaded[id(self)]:
                posterior.log_var[0] = np.inf
                posterior.mean[1] = np.nan
        return found

    monkeypatch.setattr(Runtime, "observe", watched)
    monkeypatch.setattr(Runtime, "posteriors", broken)


class Overloaded(SmallBag):
    """From reading `first` to reading `last` the sensor is in overload."""

    first, last = 200, 400
    count = 0

    def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
        if topic == "/wrench":
            self.count += 1
            if self.first <= self.count < self.last:
                message.wrench.force.x = OVERLOAD_N
        super().write(topic, type_name, message, received_ns)


def overloaded(path: Path, bundle: Path, last: int = 400) -> Path:
    maker = Overloaded(path, Runtime(bundle))
    maker.last = last
    return maker.play((NAMES, 20))


def test_moments_without_numbers_are_counted_and_left_out(bundle: Path, tmp_path: Path) -> None:
    bag, out = overloaded(tmp_path / "bag", bundle), tmp_path / "out"
    evaluate_bag(bag, bundle, out, BagOptions(video=False))
    summary = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
    with np.load(out / LATENTS) as file:
        columns = dict(file)
    errors, latents = summary["latents"]["not_finite"], summary["latents"]["count"]
    assert errors >= 3
    assert latents == len(columns["mean"]) >= 8
    for name in ("mean", "log_var", "kl"):
        assert np.isfinite(columns[name]).all(), name
    assert (columns["state"][:, FORCE] == FusionState.FUSED).any()
    assert (out / SHEET).is_file()
    text = (out / REPORT).read_text(encoding="utf-8")
    assert "the output was not finite (ERROR)" in text


def test_a_dropped_force_of_no_finite_latent_leaves_its_subsets_out_of_the_table(
    bundle: Path, tmp_path: Path
) -> None:
    bag, out = overloaded(tmp_path / "bag", bundle), tmp_path / "out"
    found = evaluate_bag(bag, bundle, out, BagOptions(video=False, drop="force"))
    assert found["latents"]["not_finite"] == 0
    table = found["subsets"]
    assert table["action"]["action"]["moments"] > table["force"]["action"]["moments"] > 0
    assert np.isfinite(table["force"]["rgb"]["squared_error"])


def test_a_bag_without_one_finite_moment_says_so(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = np.full(8, np.nan, np.float32)
    broken = [Posterior(nothing, nothing)]
    monkeypatch.setattr(Runtime, "posteriors", lambda _, subsets: broken * len(subsets))
    bag = SmallBag(tmp_path / "bag", Runtime(bundle)).play((NAMES, 8))
    with pytest.raises(BagError, match=r"not one latent .*; [1-9]\d* moments of no finite"):
        evaluate_bag(bag, bundle, tmp_path / "out", BagOptions(video=False))


class Ear:
    """Keeps the moments."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []

    def on_sample(self, *_: Any) -> None: ...

    def on_moment(self, moment: Moment) -> None:
        self.moments.append(moment)


def test_a_force_reading_that_breaks_is_a_rejection_by_name(bundle: Path, tmp_path: Path) -> None:
    """It is converted when it comes, not when it is used: no reading may stop the rest."""

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("by the driver's field of view")

    runtime, ear = Runtime(bundle), Ear()
    with Bag(SmallBag(tmp_path / "bag", runtime).play((NAMES, 8))) as opened:
        settings = node_settings(runtime.modalities)
        inputs = find_inputs(opened, runtime.modalities, settings)
        inputs = read_by(inputs, "/wrench", broken)
        replay = BagReplay(opened, runtime, settings, inputs)
        replay.run(ear)
    assert len(ear.moments) >= 8
    status = replay.engine.collector.observe(0.0).status["force"]
    assert set(status.reject_reasons) == {"unforeseen ZeroDivisionError"}
    assert not any("force" in m.perceived.observation.samples for m in ear.moments)
