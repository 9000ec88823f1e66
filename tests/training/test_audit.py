"""`smvae audit`: a real recording holds; a false latent and a missing sample are named."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

pytest.importorskip("rosbags")
from live_bag import MS, START_NS
from small_bag import SmallBag

from smvae_core.bags import BagError
from smvae_core.errors import BundleError, ConfigError
from smvae_core.estimate_calibration import EstimateCalibration
from smvae_core.modality import all_subsets, subset_name
from smvae_core.model import SMVAE
from smvae_core.model.export import export_bundle
from smvae_core.robot import Channel, RecordedTarget, Robot, Sensor
from smvae_core.runtime import Runtime
from smvae_core.target import DecodedTarget
from smvae_training.audit.audit import audit
from smvae_training.audit.coverage import Teller
from smvae_training.audit.options import AuditOptions
from smvae_training.cli import main
from smvae_training.evaluate.bag.evaluate import evaluate_bag
from smvae_training.evaluate.bag.options import BagOptions
from smvae_training.evaluate.live.bag import LATENT
from tests.model.conftest import example_statistics, small_config

FROZEN = Path(__file__).parents[1] / "frozen"
EVERY = ("rgb", "depth", "force", "action")
SEEN = ("rgb", "force", "action")
STEPS, READINGS = 110, 25
Change = Callable[[Any, int], Any]


class ChangedBag(SmallBag):
    """Writes what a topic's n-th message becomes; None: it is lost."""

    def __init__(self, path: Path, runtime: Runtime, changes: dict[str, Change]) -> None:
        super().__init__(path, runtime)
        self.changes = changes
        self.counts: dict[str, int] = {}

    def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
        number = self.counts[topic] = self.counts.get(topic, -1) + 1
        if topic in self.changes:
            message = self.changes[topic](message, number)
        if message is not None:
            super().write(topic, type_name, message, received_ns)


@pytest.fixture
def changed(tmp_path: Path, runtime: Runtime) -> Callable[..., Path]:
    """Record all sensors with changes by topic."""

    def make(changes: dict[str, Change], steps: int = STEPS) -> Path:
        return ChangedBag(tmp_path / "bag", runtime, changes).play((SEEN, steps))

    return make


def lose(*numbers: int) -> Change:
    return lambda message, number: None if number in numbers else message


def shock(row: int) -> Change:
    def change(message: Any, number: int) -> Any:
        if number == row:
            message.wrench.force.z = 1000.0
        return message

    return change


def falsify(field: str, row: int, factor: float = 1.01) -> Change:
    def change(message: Any, number: int) -> Any:
        if number == row:
            values = np.array(getattr(message, field))
            values[np.abs(values).argmax()] *= factor
            object.__setattr__(message, field, values)
        return message

    return change


def test_every_latent_of_a_node_recorded_over_dds_is_made_again() -> None:
    found = audit(FROZEN / "bag", FROZEN / "bundle")
    assert found["holds"]
    assert found["why_not"] == []
    counts = found["latents"]
    assert counts["checked"] == counts["complete"] == counts["reproduced"] > 100
    assert counts["recorded"] > counts["checked"]  # NO_INPUT is no latent
    assert {"rgb+depth+force+action", "force+action", "rgb"} <= set(found["subsets"])
    assert 0.0 < found["stamp_to_received_ms"]["p50"] < found["stamp_to_received_ms"]["p99"] < 1e3
    assert max(s["mean_difference"] for s in found["subsets"].values()) <= 1e-3


@pytest.mark.parametrize("field", ["mean", "variance"])
def test_one_false_latent_is_found(changed: Any, bundle: Path, field: str) -> None:
    found = audit(changed({LATENT: falsify(field, 41)}), bundle)
    assert not found["holds"]
    assert [each["sequence"] for each in found["different_latents"]] == [41]
    assert found["different_latents"][0][f"{field}_difference"] > 1e-3
    assert found["latents"]["reproduced"] == STEPS - 1


@pytest.mark.parametrize(
    ("topic", "sensor", "lost", "count"),
    [
        ("/rgb/image", "rgb", (70,), 1),
        ("/rgb/image", "rgb", (70, 80), 2),
        ("/wrench", "force", (READINGS * 71 - 1,), 1),
        ("/wrench", "force", tuple(range(READINGS * 71 - 12, READINGS * 71 - 2)), 1),
    ],
    ids=["one image", "two images", "the newest reading", "readings inside a window"],
)
def test_a_missing_sample_is_named_by_its_sensor(
    changed: Any, bundle: Path, topic: str, sensor: str, lost: tuple[int, ...], count: int
) -> None:
    found = audit(changed({topic: lose(*lost)}), bundle)
    holds = count == 1  # of 110
    assert found["missing"] == {sensor: count}
    assert found["incomplete_latents"][0]["sequence"] == 70
    assert found["latents"]["reproduced"] == STEPS - count
    assert found["holds"] == holds
    assert holds or sensor in found["why_not"][0]


def test_a_reading_that_the_node_lacked_explains_its_latent(
    bundle: Path, runtime: Runtime, tmp_path: Path
) -> None:
    row = READINGS * 71 - 6
    maker = ChangedBag(tmp_path / "bag", runtime, {"/wrench": shock(row)})
    add, lacked = maker.collector.add, START_NS + (row + 1) * 2 * MS

    def add_all_but_one(name: str, stamp_ns: int, *rest: Any) -> Any:
        return None if (name, stamp_ns) == ("force", lacked) else add(name, stamp_ns, *rest)

    maker.collector.add = add_all_but_one  # type: ignore[method-assign]
    found = audit(maker.play((SEEN, STEPS)), bundle)
    assert found["holds"]
    (one,) = found["incomplete_latents"]
    assert "node lacked" in one["missing"]["force"]


def test_coverage_counts_the_recorded_targets_inside_the_interval(tmp_path: Path) -> None:
    bundle = FROZEN / "bundle"
    runtime, readout = Runtime(bundle), Runtime(bundle).bundle.readout()
    blind = ("force", "action")
    maker = TruthBag(tmp_path / "bag", runtime, readout, {EVERY: 1.0, blind: 3.0})
    options = AuditOptions(targets=("offset=/truth:point",))
    found = audit(maker.play((EVERY, 20), (blind, 10)), bundle, options)
    of_all, of_blind = (found["subsets"][subset_name(s)]["targets"] for s in (EVERY, blind))
    assert of_all["offset"]["inside_90"] == of_all["offset"]["known"] == 1.0
    assert of_all["offset"]["latents"] == pytest.approx(20, abs=3)
    assert of_blind["offset"]["inside_90"] == 0.0


def declaring(bundle: Path, to: Path, *targets: RecordedTarget) -> Path:
    """Return a copy of a bundle whose robot declares targets."""
    sensors = tuple(
        Sensor(modality=m, channel=Channel(topic=f"/{m.name}"))
        for m in Runtime(bundle).bundle.manifest.modalities
    )
    robot = Robot(name="arm", sensors=sensors, targets=targets)
    shutil.copytree(bundle, to)
    found = json.loads((to / "manifest.json").read_text())
    found["training"]["robot"] = robot.to_json()
    (to / "manifest.json").write_text(json.dumps(found))
    return to


def target(name: str, topic: str, *select: str) -> RecordedTarget:
    return RecordedTarget(name=name, channel=Channel(topic=topic), select=select)


def test_coverage_is_of_the_targets_that_the_robot_declares(tmp_path: Path) -> None:
    declared = (
        target("offset", "/truth", "point"),
        target("contact", "/truth", "point.x"),
        target("weight", "/truth", "point.x"),
    )
    runtime = Runtime(FROZEN / "bundle")
    maker = TruthBag(tmp_path / "bag", runtime, runtime.bundle.readout(), {EVERY: 1.0})
    bag = maker.play((EVERY, 20))
    found = of_robot(bag, declaring(FROZEN / "bundle", tmp_path / "bundle", *declared))
    said = found["subsets"][subset_name(EVERY)]["targets"]
    assert list(said) == ["offset"]
    assert said["offset"]["inside_90"] == 1.0
    none = "the bundle gives no interval of it"
    assert found["targets_left_out"] == {"contact": none, "weight": none}
    wrong = (target("offset", "/truth", "point.k"), target("offset", "/nowhere", "point"))
    for number, each in enumerate(wrong):
        found = of_robot(bag, declaring(FROZEN / "bundle", tmp_path / f"{number}", each))
        why = found["targets_left_out"]["offset"]
        assert ("has no 'k'", "nothing on /nowhere")[number] in why
        assert found["holds"]


@pytest.fixture(scope="module")
def estimating(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle that tells of an offset, but by force and action alone not of its x."""
    torch.manual_seed(0)
    offset = DecodedTarget(
        name="offset", mean=(0.1,) * 3, deviation=(0.2,) * 3, unit="m", fields=("x", "y", "z")
    )
    model = SMVAE(small_config(targets=(offset,))).eval()
    factors = {subset_name(s): {"offset": np.full(3, 0.5)} for s in all_subsets(EVERY)}
    factors["force+action"] = {"offset": np.array([np.nan, 0.5, 0.5])}
    calibration = EstimateCalibration(subsets=factors, names=EVERY)
    out = tmp_path_factory.mktemp("estimating") / "bundle"
    return export_bundle(model, example_statistics(model), out, estimates=calibration)


def test_estimates_come_before_a_readout_and_what_is_not_known_counts_by_itself(
    estimating: Path, tmp_path: Path
) -> None:
    runtime, blind = Runtime(estimating), ("force", "action")
    maker = TruthBag(tmp_path / "bag", runtime, runtime.estimates, {EVERY: 1.0, blind: 3.0})
    bag = maker.play((EVERY, 20), (blind, 10))
    asked = ("offset=/truth:point",)
    found = audit(bag, estimating, AuditOptions(targets=asked))
    of_all, of_blind = (
        found["subsets"][subset_name(s)]["targets"]["offset"] for s in (EVERY, blind)
    )
    assert (of_all["known"], of_all["inside_90"]) == (1.0, 1.0)
    assert of_all["rmse"] == pytest.approx(of_all["rmse_x"], rel=0.3) != 0.0
    assert of_blind["known"] == pytest.approx(2 / 3)
    assert of_blind["inside_90"] == 0.0
    assert np.isnan(of_blind["rmse_x"])
    assert of_blind["rmse_y"] > 2.0 * of_all["rmse_y"]
    options = BagOptions(targets=asked, video=False, subsets="none", outage=("rgb:0.2:0.4",))
    summary = evaluate_bag(bag, estimating, tmp_path / "out", options)
    said = summary["targets"]["offset"]
    assert {subset_name(EVERY), "force+action", "depth+force+action"} <= set(said)
    assert said[subset_name(EVERY)]["known"] == 1.0
    assert said[subset_name(EVERY)]["inside_90"] > 0.9
    assert said["force+action"]["known"] == pytest.approx(2 / 3)
    lost = summary["outages"]["targets"]["offset"]
    assert lost["alive"]["known"] == 1.0
    assert sum(row["latents"] for row in lost.values()) <= sum(r["latents"] for r in said.values())
    assert "share of the numbers that are not NaN" in (tmp_path / "out/report.html").read_text()


def test_without_estimates_or_readout_a_declared_target_is_left_out(
    bundle: Path, tmp_path: Path
) -> None:
    bag = SmallBag(tmp_path / "bag", Runtime(bundle)).play((EVERY, 20))
    declared = declaring(bundle, tmp_path / "bundle", target("offset", "/truth", "point"))
    why = "the bundle has neither estimates nor a readout"
    assert of_robot(bag, declared)["targets_left_out"] == {"offset": why}


def of_robot(bag: Path, bundle: Path) -> dict[str, Any]:
    """Audit what another manifest's node recorded."""
    options = AuditOptions(topics=("rgb=/rgb/image", "depth=/depth/image", "force=/wrench"))
    return audit(bag, bundle, options)


class TruthBag(SmallBag):
    """Records a target that lies so many standard deviations from what each latent says.

    And at 0 where it says nothing.
    """

    def __init__(self, path: Path, runtime: Runtime, told: Teller, off: dict[Any, float]):
        super().__init__(path, runtime)
        self.told, self.off = told, off

    def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
        super().write(topic, type_name, message, received_ns)
        if topic != LATENT:
            return
        fused = tuple(m.name for m in message.modalities if m.state == 1)
        said = self.told.apply(fused, message.mean, message.variance)["offset"]
        point = np.nan_to_num(said.value + self.off.get(fused, 1.0) * said.std)
        truth = self.type("geometry_msgs/msg/PointStamped")(
            header=message.header,
            point=self.type("geometry_msgs/msg/Point")(**dict(zip("xyz", point, strict=True))),
        )
        super().write("/truth", "geometry_msgs/msg/PointStamped", truth, received_ns)


def test_the_command_says_by_its_exit_status_whether_it_holds(
    changed: Any, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = ["audit", str(FROZEN / "bag"), "--bundle", str(FROZEN / "bundle"), "--json"]
    assert main(frozen) == 0
    assert json.loads(capsys.readouterr().out)["holds"] is True
    bag = changed({LATENT: falsify("mean", 3), "/rgb/image": lose(5)}, steps=12)
    assert main(["audit", str(bag), "--bundle", str(bundle)]) == 1
    out = capsys.readouterr().out
    assert "does not hold: 10 of 12" in out
    assert "latent 3 (epoch 1" in out
    assert re.search(r"latent 5 \(epoch 1.*\) lacks rgb", out.replace("\n", " "))
    assert main(["audit", str(tmp_path / "no bag"), "--bundle", str(bundle)]) == 2
    assert "no such file" in capsys.readouterr().err


def test_what_cannot_be_audited_is_refused_in_one_line(
    bundle: Path, runtime: Runtime, tmp_path: Path
) -> None:
    with pytest.raises(BagError, match="come from bundle"):
        audit(FROZEN / "bag", bundle)
    frozen = FROZEN / "bag", FROZEN / "bundle"
    with pytest.raises(BagError, match=r"no latents on /other/latent; it has .*/smvae/latent"):
        audit(*frozen, AuditOptions(latent="other/latent"))
    with pytest.raises(ConfigError, match="NAME=TOPIC:PATH"):
        audit(*frozen, AuditOptions(targets=("offset",)))
    with pytest.raises(ConfigError, match=r"no interval of 'ofset'.*Did you mean 'offset'"):
        audit(*frozen, AuditOptions(targets=("ofset=/truth:point",)))
    with pytest.raises(BagError, match="nothing on /truth"):
        audit(*frozen, AuditOptions(targets=("offset=/truth:point",)))
    silent = ChangedBag(tmp_path / "bag", runtime, {LATENT: lambda *_: None}).play((EVERY, 3))
    with pytest.raises(BagError, match="no smvae_msgs/msg/LatentState in it"):
        audit(silent, bundle)
    told = SmallBag(tmp_path / "told", runtime).play((EVERY, 3))
    with pytest.raises(BundleError, match="has no readout"):
        audit(told, bundle, AuditOptions(targets=("offset=/truth:point",)))
