"""The closed loop: attempts that pair, sensors that fail as stated, results that go on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("smvae_datasets.simulation.engine", exc_type=ImportError)

from benchmarks.closed_loop.report import (
    ALIVE,
    comparable,
    mean_within,
    operator_table,
    paired_difference,
    seated_share,
    seated_table,
    verdicts,
    wilson,
)
from benchmarks.closed_loop.store import Store
from benchmarks.tables.paired import ResultsError
from smvae_core.assistance.controller import Phase, Settings
from smvae_core.assistance.sighting import Sighting
from smvae_core.bundle import Bundle, add_readout
from smvae_core.modality import all_subsets, subset_name
from smvae_core.readout import LinearMap, Quantity, Readout
from smvae_datasets.simulation.closed_loop.attempt import STEP_S, Moment, attempt
from smvae_datasets.simulation.closed_loop.failures import (
    FAILURES,
    LATE_STEPS,
    FailingSensors,
    Failure,
)
from smvae_datasets.simulation.closed_loop.methods import Latents, Nobody, Truth
from smvae_datasets.simulation.closed_loop.outcome import Outcome
from smvae_datasets.simulation.closed_loop.workers import Task, Worker, played
from smvae_datasets.simulation.robot import SimulatedRobot
from smvae_datasets.simulation.stick_operator import OPERATORS
from tests.accused import plain_bundle, scoring_bundle
from tests.remembering import remembering_bundle

OUTCOME = Outcome(
    seated=True,
    time_s=4.0,
    peak_n=20.0,
    hand_overs=0,
    failed_s=float("nan"),
    flagged_s=float("nan"),
    missed_mm=1.0,
    missed_rad=float("nan"),
    breaches=0,
)
FROZEN = Path(__file__).parents[1] / "frozen" / "bundle"
SENSORS = ("rgb", "depth", "force", "action")


@pytest.fixture(scope="module")
def robot() -> Iterator[SimulatedRobot]:
    robot = SimulatedRobot(seed=500, render=False)
    yield robot
    robot.close()


@pytest.mark.parametrize("operator", OPERATORS)
def test_who_is_given_the_truth_seats_the_peg_gently(robot: SimulatedRobot, operator: str) -> None:
    kind = OPERATORS[operator]
    outcome = attempt(robot, Truth(), kind, Failure(), 0, 500, Settings())
    assert outcome.seated
    assert outcome.time_s < 15.0
    assert outcome.peak_n < 60.0
    assert outcome.breaches == 0


def test_an_attempt_is_the_same_whatever_ran_before(robot: SimulatedRobot) -> None:
    first, _, again = (
        attempt(robot, Truth(), OPERATORS["noisy"], Failure(), k, 500, Settings())
        for k in (1, 2, 1)
    )
    assert str(first) == str(again)  # NaN equals no NaN, but spells like one


def test_who_watches_an_attempt_sees_every_step_and_changes_nothing(robot: SimulatedRobot) -> None:
    moments: list[Moment] = []
    given = (OPERATORS["noisy"], FAILURES["rgb lost midway"], 1, 500, Settings())
    watched = attempt(robot, Truth(), *given, moments.append)
    assert str(attempt(robot, Truth(), *given)) == str(watched)
    assert len(moments) == round(watched.time_s / STEP_S)
    assert [m.time_s for m in moments] == pytest.approx(np.arange(len(moments)) * STEP_S)
    first, last = moments[0], moments[-1]
    assert first.phase is Phase.APPROACH
    assert last.phase in (Phase.INSERT, Phase.SEATED)
    assert 0.005 <= np.linalg.norm(first.aim[:2] - first.hole[:2]) <= 0.01
    np.testing.assert_allclose(last.believed[:2], last.hole[:2], atol=1e-3)


class Off:
    """Sees the hole 2 mm beside where it is, and once only."""

    assisted, perceives, flagged = True, False, False

    def __init__(self) -> None:
        self.calls = 0

    def begin(self) -> None:
        """Begin another attempt: what was seen once is not seen again."""

    def see(self, samples: object, tip: np.ndarray, hole: np.ndarray) -> Sighting | None:
        self.calls += 1
        if self.calls > 1:
            return None
        pose = hole + np.array([0.002, 0.0, 0.0, 0.0])
        return Sighting(pose=pose, std=np.array([0.002, 0.002, 0.002, 0.03]))


def test_what_was_seen_once_is_kept_and_the_rest_is_found_by_touch(robot: SimulatedRobot) -> None:
    outcome = attempt(robot, Off(), OPERATORS["aims_wrong"], Failure(), 3, 500, Settings())
    assert outcome.seated
    assert outcome.missed_mm == pytest.approx(2.0, abs=0.5)
    assert 3.0 < outcome.peak_n < 60.0


def test_an_operator_alone_presses_no_harder_than_allowed_and_seats_nothing(
    robot: SimulatedRobot,
) -> None:
    alone = Nobody(assisted=False)
    outcome = attempt(robot, alone, OPERATORS["aims_wrong"], Failure(), 0, 500, Settings())
    assert not outcome.seated
    assert outcome.time_s == 20.0
    assert outcome.breaches == 0
    assert 15.0 < outcome.peak_n < 60.0


def samples(step: int) -> dict[str, np.ndarray]:
    return {
        "rgb": np.full((4, 4, 3), 100 + step, np.uint8),
        "depth": np.full((4, 4), 1.0 + step, np.float32),
        "force": np.full((32, 6), float(step), np.float32),
        "action": np.full(4, float(step), np.float32),
    }


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_touches_its_sensors_alone_and_from_its_beginning_on(name: str) -> None:
    failure = FAILURES[name]
    sensors = FailingSensors(failure, np.random.default_rng(0))
    steps = 12
    for step in range(steps):
        given, midway = samples(step), step >= 6
        found = sensors.deliver(given, midway)
        failing = bool(failure.sensors) and (midway or not failure.midway)
        assert sensors.begun == failing
        for sensor in SENSORS:
            untouched = sensor in found and np.array_equal(found[sensor], given[sensor])
            begins_alike = failure.late and step == 0
            assert untouched != (failing and sensor in failure.sensors and not begins_alike), step
    gone = failure.absent and {"rgb", "depth"} <= set(failure.sensors)
    assert sensors.watched is not gone
    for sensor in failure.sensors if failure.frozen else ():
        np.testing.assert_array_equal(found[sensor], samples(5)[sensor])
    if failure.late:
        assert found["rgb"].max() == 100 + steps - 1 - LATE_STEPS


def test_results_go_on_where_they_ended(tmp_path: Path) -> None:
    path = tmp_path / "closed-loop-ours.json"
    store = Store(path, {"method": "ours", "seed": 1})
    store.add((ALIVE, "noisy"), 3, OUTCOME)
    store.add((ALIVE, "noisy"), 1, replace(OUTCOME, seated=False, missed_rad=0.25))
    store.write()
    again = Store(path, {"method": "ours", "seed": 1})
    assert str(again.cells) == str(
        {(ALIVE, "noisy"): dict(sorted(store.cells[ALIVE, "noisy"].items()))}
    )
    with pytest.raises(ResultsError, match="holds attempts with seed 1, these have 2"):
        Store(path, {"method": "ours", "seed": 2})


def test_a_difference_is_of_attempts_with_one_number(tmp_path: Path) -> None:
    def cells(*seated: bool) -> Store:
        store = Store(tmp_path / "none.json", {})
        for number, value in enumerate(seated):
            for operator in ("noisy", "late"):
                store.add((ALIVE, operator), number, replace(OUTCOME, seated=value))
        return store

    ours, theirs = cells(True, True, True, False), cells(True, False, False, False)
    mean, half, count = paired_difference(ours, theirs, ALIVE, ALIVE)
    assert (mean, count) == (0.5, 4)
    counted = np.sqrt((2 + 1) / 6 - (2 / 6) ** 2)
    assert half == pytest.approx(3.182 * counted / np.sqrt(6), rel=1e-3)


@pytest.mark.parametrize(("count", "differing"), [(20, 0.02), (20, 0.2), (200, 0.005), (200, 0.2)])
def test_intervals_of_differences_hold_what_is_so(count: int, differing: float) -> None:
    rng = np.random.default_rng(0)
    size = (1000, count)
    sign = np.where(rng.random(size) < 0.9, 1.0, -1.0)
    each = np.where(rng.random(size) < differing, sign, 0.0)
    found = np.array([mean_within(one)[:2] for one in each])
    assert (np.abs(found[:, 0] - 0.8 * differing) <= found[:, 1]).mean() > 0.93


def test_a_loss_to_a_learned_baseline_is_printed_as_one(tmp_path: Path) -> None:
    def cells(failure: str, *seated: bool) -> Store:
        store = Store(tmp_path / "none.json", {"bundle": "abc"})
        for number, value in enumerate(seated):
            store.add((failure, "noisy"), number, replace(OUTCOME, seated=value))
        return store

    ours = cells("rgb lost", *([True] * 4 + [False] * 16))
    assert verdicts({"ours": ours}, "ours") == ""
    better = cells("rgb lost", *([True] * 20))
    stores = {"ours": ours, "concat": better, "oracle": better}
    said = verdicts(stores, "ours")
    assert "in 0 of 1 deciding cells, over 20 to 20 attempts" in said
    assert "- **Loss**, rgb lost: -80 ± 22 (20) to concat" in said
    assert "oracle" not in said
    assert "in 1 of 1 deciding cells" in verdicts({"ours": better, "concat": ours}, "ours")
    assert "in 1 of 1 deciding cells" in verdicts({"ours": ours, "concat": ours}, "ours")


def test_a_baseline_stands_beside_ours_once_it_played_the_same_attempts(tmp_path: Path) -> None:
    def cells(numbers: int, *failures: str) -> Store:
        store = Store(tmp_path / "none.json", {"bundle": "abc"})
        for failure in failures:
            for number in range(numbers):
                store.add((failure, "noisy"), number, OUTCOME)
        return store

    stores = {
        "ours": cells(3, ALIVE, "rgb lost", "rgb noisy"),
        "concat": cells(3, ALIVE, "rgb lost"),
        "router": cells(2, ALIVE, "rgb lost"),
        "poe": cells(3, ALIVE),
        "oracle": cells(4, ALIVE, "rgb lost", "depth lost"),
    }
    assert list(comparable(stores)) == ["ours", "concat", "oracle"]
    assert list(comparable({"router": stores["router"]})) == ["router"]


def test_wilsons_interval_is_the_published_one() -> None:
    assert wilson(0.8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)
    assert wilson(0.0, 10)[0] == pytest.approx(0.0, abs=1e-12)


def test_attempts_in_the_same_cell_do_not_count_as_independent(tmp_path: Path) -> None:
    """Where a cell decides all its attempts, as many count as there are cells."""
    store = Store(tmp_path / "none.json", {"bundle": "abc"})
    rng = np.random.default_rng(0)
    for number in range(400):
        alike = number % 5 > 0
        for operator in OPERATORS:
            store.add((ALIVE, operator), number, replace(OUTCOME, seated=alike))
            own = bool(rng.random() < 0.8)
            store.add(("rgb lost", operator), number, replace(OUTCOME, seated=own))
            store.add(("depth lost", operator), number, OUTCOME)
    cell = seated_share(store, ALIVE)
    assert cell == (960, 1200, *wilson(0.8, 400))
    assert seated_share(store, ALIVE, ["noisy"]) == (320, 400, *wilson(0.8, 400))
    free = seated_share(store, "rgb lost")
    assert free is not None
    low, high = wilson(free.seated / 1200, 1200)
    assert free.high - free.low == pytest.approx(high - low, rel=0.1)
    assert seated_share(store, "depth lost") == (1200, 1200, *wilson(1.0, 400))
    assert seated_share(store, "force lost") is None


def test_a_method_without_sensors_stands_in_the_table_for_every_failure(tmp_path: Path) -> None:
    alone = Store(tmp_path / "alone.json", {})
    ours = Store(tmp_path / "ours.json", {"bundle": "abc"})
    alone.add((ALIVE, "noisy"), 0, replace(OUTCOME, seated=False))
    for failure in (ALIVE, "rgb lost"):
        ours.add((failure, "noisy"), 0, OUTCOME)
    text = seated_table({"alone": alone, "ours": ours})
    assert "depth lost" not in text
    assert "| rgb lost | 0 % (0 to 79) of 1 | 100 % (21 to 100) of 1 |" in text
    assert "| ours | noisy | 100 % (21 to 100) of 1 | 4.0 | 20 | 0 % | 0 |" in operator_table(
        {"ours": ours}
    )


def test_workers_change_nothing() -> None:
    tasks = [Task(failure=ALIVE, operator="aims_wrong", number=n) for n in range(2)]
    one = Worker("ceiling", None, 500)
    found = dict(played(tasks, "ceiling", None, 500, 2))
    assert {t.number: str(o) for t, o in found.items()} == {
        t.number: str(one.play(t)) for t in tasks
    }


def test_the_command_runs_workers_and_reports(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.closed_loop", "ceiling", "--attempts", "1"]
    where = ["--out", str(tmp_path), "--picture", str(tmp_path / "picture.png")]
    more = ["--operators", "aims_wrong", "--workers", "2", "--report", *where]
    done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "ceiling: 1 of 1 attempts, 0.00 h left" in done.stdout
    assert "| ceiling | aims_wrong | 100 %" in done.stdout
    assert (tmp_path / "picture.png").is_file()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_bundle(tmp_path_factory.mktemp("plain") / "bundle")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The frozen bundle with a readout that always puts the tip 1 cm beside the hole."""
    return telling(Path(shutil.copytree(FROZEN, tmp_path_factory.mktemp("told") / "bundle")))


def telling(path: Path) -> Bundle:
    """Add such a readout to a bundle."""
    bundle = Bundle.load(path)
    nothing = np.zeros((3, bundle.manifest.latent_dim))
    beside = LinearMap(weights=nothing, bias=np.array([0.01, 0, 0]), residual=np.full(3, 0.002))
    subsets = {subset_name(s): {"offset": beside} for s in all_subsets(bundle.manifest.names)}
    return add_readout(bundle, Readout(targets={"offset": Quantity(unit="m")}, subsets=subsets))


def test_latents_are_of_what_is_delivered_and_put_the_hole_beside_the_tip(told: Bundle) -> None:
    latents = Latents(told)
    tip = np.array([0.5, 0.0, 0.1, 0.0])
    samples = {m.name: m.example_sample() for m in told.manifest.modalities}
    for subset in all_subsets(told.manifest.names):
        seen = latents.see({name: samples[name] for name in subset}, tip, tip)
        assert latents.flagged or seen is not None
        if seen is not None:
            np.testing.assert_allclose(seen.pose[:3], [0.49, 0.0, 0.1])
            assert np.isinf(seen.std[3])
    assert latents.see({}, tip, tip) is None
    assert not latents.flagged


def test_a_remembered_camera_makes_a_remembered_sighting(tmp_path: Path) -> None:
    latents = Latents(telling(remembering_bundle(tmp_path / "bundle")))
    tip = np.array([0.5, 0.0, 0.1, 0.0])
    samples = {m.name: m.example_sample() for m in latents.modalities}
    alive = {name: samples[name] for name in ("force", "action")}
    never, all_there, lost = (latents.see(s, tip, tip) for s in (alive, samples, alive))
    assert never is not None
    assert all_there is not None
    assert lost is not None
    assert (never.remembered, all_there.remembered, lost.remembered) == (False, False, True)


def test_a_frozen_camera_is_told_to_the_latents_again_and_again(
    robot: SimulatedRobot, told: Bundle
) -> None:
    frozen = FAILURES["rgb frozen midway"]
    outcome = attempt(robot, Latents(told), OPERATORS["noisy"], frozen, 0, 500, Settings())
    assert 0.0 < outcome.failed_s < 10.0
    assert outcome.breaches == 0
    assert outcome.peak_n < 60.0


def test_a_camera_that_is_there_and_wrong_leaves_what_the_others_see(
    plain: Path, tmp_path: Path
) -> None:
    """As if it were lost; where suspects stay in, nothing is seen of a set that is novel."""
    odd = scoring_bundle(plain, tmp_path / "odd", lambda s: 9.0 if "rgb" in s else 0.5)
    bundle = telling(odd)
    tip = np.array([0.5, 0.0, 0.1, 0.0])
    samples = {m.name: m.example_sample() for m in bundle.manifest.modalities}
    latents, keeping = Latents(bundle), Latents(bundle, leave_out=False)
    assert latents.see(samples, tip, tip) is not None
    assert latents.flagged
    assert keeping.see(samples, tip, tip) is None
    assert keeping.flagged
    del samples["rgb"]
    assert latents.see(samples, tip, tip) is not None
    assert not latents.flagged
