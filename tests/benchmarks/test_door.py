"""The door's closed loop: what needs no robosuite, and an attempt where .venv-door has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks.closed_loop.report import read_stores
from benchmarks.door.__main__ import about_of, main
from benchmarks.door.assistance import APPROACH, LIMITS, DoorAssistance
from benchmarks.door.attempt import TRUTH_STD, DoorLatents, across
from benchmarks.door.failures import ALIVE, FAILURES
from benchmarks.door.operator import HOVER_M, DoorOperator, OperatorKind
from benchmarks.door.outcome import DoorOutcome
from benchmarks.door.report import OPERATOR, DoorStore, paired_difference, path_of, section
from benchmarks.door.timing import READING_MS, SEE_STEPS, STEP_MS, STEP_S, WINDOW
from benchmarks.tables.paired import ResultsError
from smvae_core.assistance.sighting import Sighting
from smvae_core.bundle import MANIFEST, Bundle, add_readout
from smvae_core.modality import all_subsets, subset_name
from smvae_core.readout import LinearMap, Quantity, Readout
from smvae_core.robot import read_robot
from smvae_datasets.simulation.closed_loop.methods import Truth

REPOSITORY = Path(__file__).parents[2]
ROBOT = REPOSITORY / "benchmarks" / "door" / "robot.yaml"
FROZEN = REPOSITORY / "tests" / "frozen" / "bundle"
SIMULATOR = REPOSITORY / ".venv-door" / "bin" / "python"
HANDLE = np.array([0.1, -0.2, 0.0, 0.0])
STEADY = OperatorKind(aim_m=(0.05, 0.05), tremor=0.0)
OUTCOME = DoorOutcome(
    opened=True,
    time_s=11.0,
    hinge_rad=0.31,
    peak_n=40.0,
    placed_mm=2.0,
    missed_mm=3.0,
    refused=float("nan"),
)


def reach(seen: Sighting | None, seed: int) -> tuple[np.ndarray, DoorOperator]:
    """Return where a gripper that goes where it is told, begins to close; and its operator."""
    operator = DoorOperator(np.random.default_rng(seed), STEADY, STEP_S)
    assistance = DoorAssistance()
    tip = HANDLE + np.array([-0.06, 0.05, 0.2, 0.0])
    for step in range(300):
        if seen is not None and step % SEE_STEPS == 0:
            assistance.see(seen, SEE_STEPS * STEP_S)
        wanted = operator.command(tip - HANDLE, 0.0)
        if operator.holds:
            return tip, operator
        motion = assistance.step(wanted, tip, np.zeros(4), STEP_S, holds=False)
        assert np.linalg.norm(motion[:3]) <= LIMITS.max_speed + 1e-9
        tip = tip + motion * STEP_S
    raise AssertionError(f"it never closed, in phase {operator.phase}")


@pytest.mark.parametrize("seed", range(6))
def test_an_operator_alone_closes_where_they_aim_and_a_helped_one_at_the_handle(seed: int) -> None:
    alone, operator = reach(None, seed)
    np.testing.assert_allclose(alone[:2] - HANDLE[:2], operator.aim_error[:2], atol=0.01)
    helped, _ = reach(Sighting(pose=HANDLE, std=np.array([0.001] * 3 + [np.inf])), seed)
    assert np.linalg.norm(helped[:2] - HANDLE[:2]) < 0.005
    assert helped[2] < HANDLE[2] + HOVER_M


def test_a_doubtful_handle_moves_nobody() -> None:
    aside = HANDLE + np.array([0.0, 0.07, 0.0, 0.0])
    doubtful, operator = reach(Sighting(pose=aside, std=np.array([0.5] * 3 + [np.inf])), 0)
    np.testing.assert_allclose(doubtful[:2] - HANDLE[:2], operator.aim_error[:2], atol=0.01)


def test_the_approach_frame_is_a_rotation_that_keeps_unknown_axes_unknown() -> None:
    np.testing.assert_allclose(APPROACH @ APPROACH.T, np.eye(4))
    assert np.linalg.det(APPROACH) == pytest.approx(1.0)
    base = Sighting(pose=np.array([1.0, 2.0, 3.0, 0.4]), std=np.array([0.1, 0.2, np.inf, 0.3]))
    seen = across(base)
    np.testing.assert_allclose(seen.pose[:3], [1.0, -3.0, 2.0])
    np.testing.assert_allclose(seen.std, [0.1, np.inf, 0.2, np.inf])


def test_the_truth_is_told_in_the_base_frame() -> None:
    told = Truth(TRUTH_STD).see({}, np.zeros(4), HANDLE)
    assert told is not None
    np.testing.assert_allclose(told.pose, HANDLE)


def test_latents_tell_the_handle_by_the_surer_of_two_targets(tmp_path: Path) -> None:
    bundle = Bundle.load(Path(shutil.copytree(FROZEN, tmp_path / "bundle")))
    nothing = np.zeros((5, bundle.manifest.latent_dim))
    place = np.array([0.4, -0.25, 0.16, 0.0, 1.0])
    vague = LinearMap(weights=nothing[:3], bias=np.zeros(3), residual=np.full(3, 0.5))
    sure = LinearMap(weights=nothing, bias=place, residual=np.full(5, 0.01))
    maps = {"offset": vague, "handle": sure}
    readout = Readout(
        targets={name: Quantity(unit="m") for name in maps},
        subsets={subset_name(s): maps for s in all_subsets(bundle.manifest.names)},
    )
    latents = DoorLatents(add_readout(bundle, readout))
    samples = {m.name: m.example_sample() for m in bundle.manifest.modalities}
    told = [
        across(seen)
        for subset in all_subsets(bundle.manifest.names)
        if (seen := latents.see({n: samples[n] for n in subset}, np.zeros(4), HANDLE))
    ]
    assert told
    for seen in told:
        np.testing.assert_allclose(seen.pose[:3], [0.4, -0.16, -0.25], atol=1e-6)
        np.testing.assert_allclose(seen.std, [0.01, 0.01, 0.01, np.inf])


def test_an_operator_opens_in_order_and_gives_up_what_slipped() -> None:
    operator = DoorOperator(np.random.default_rng(0), replace(STEADY, aim_m=(0.0, 0.0)), STEP_S)
    phases, latch = [], 0.0
    offset = np.array([0.0, 0.0, HOVER_M, 0.0])
    for _ in range(400):
        motion = operator.command(offset, latch)
        if operator.phase == "turn":
            latch += 0.05
        elif operator.phase != "close":
            offset = offset + motion * STEP_S
        phases.append(operator.phase)
    assert list(dict.fromkeys(phases)) == ["advance", "close", "turn", "pull", "over"]
    assert offset[2] > 0.1


def test_robot_yaml_says_what_an_attempt_samples() -> None:
    robot = read_robot(ROBOT)
    sensors = {m.name: m for m in robot.modalities}
    assert sensors["wrench"].shape == (6, WINDOW)
    assert sensors["wrench"].options.rate_hz == 1000 / READING_MS
    assert sensors["joints"].shape == (7,)
    assert robot.episodes.rate_hz == 1000 / (SEE_STEPS * STEP_MS)
    lost = {name for failure in FAILURES.values() for name in failure.sensors}
    assert lost == {name for name, m in sensors.items() if m.is_image}
    assert {t.name for t in robot.targets} == {"offset", "handle", "hinge"}


def test_results_are_read_back_and_are_none_of_the_pegs(tmp_path: Path) -> None:
    store = DoorStore(path_of(tmp_path, "ours"), {"method": "ours", "bundle": "x"})
    store.add((ALIVE, OPERATOR), 3, OUTCOME)
    store.add((ALIVE, OPERATOR), 4, replace(OUTCOME, opened=False))
    store.write()
    again = DoorStore(path_of(tmp_path, "ours"), {"method": "ours"})
    assert [o.opened for o in again.cells[ALIVE, OPERATOR].values()] == [True, False]
    assert read_stores(tmp_path) == {}
    alone = DoorStore(path_of(tmp_path, "alone"), {"method": "alone"})
    for number in (3, 4):
        alone.add((ALIVE, OPERATOR), number, replace(OUTCOME, opened=False))
    alone.write()
    text = section(tmp_path)
    assert "| ours | all alive | 50 % (9 to 91) of 2 |" in text
    assert "| ours, all alive | +50 ± 420 (2) |  |" in text


def test_attempts_go_on_with_a_bundle_that_is_exported_again(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FROZEN, tmp_path / "bundle"))
    store = DoorStore(path_of(tmp_path, "ours"), about_of("ours", 5, Bundle.load(folder)))
    store.add((ALIVE, OPERATOR), 3, OUTCOME)
    store.write()
    manifest = json.loads((folder / MANIFEST).read_text())

    def again(**facts: object) -> DoorStore:
        (folder / MANIFEST).write_text(json.dumps(manifest | facts))
        return DoorStore(path_of(tmp_path, "ours"), about_of("ours", 5, Bundle.load(folder)))

    assert again(created="2030-01-01T00:00:00+00:00").cells.keys() == {(ALIVE, OPERATOR)}
    with pytest.raises(ResultsError, match="holds attempts with bundle"):
        again(noise_scale=manifest["noise_scale"] | {"rgb": 9.0})


def test_a_difference_is_of_attempts_with_one_number() -> None:
    worse = replace(OUTCOME, opened=False)
    ours, theirs = dict.fromkeys(range(4), OUTCOME), dict.fromkeys(range(1, 6), worse)
    mean, half, count = paired_difference(ours, theirs)
    assert (mean, count) == (1.0, 3)
    assert half > 0.5  # three alike do not say that all are
    assert paired_difference(ours, {})[2] == 0


@pytest.mark.skipif(bool(find_spec("robosuite")), reason="robosuite is here")
@pytest.mark.parametrize("job", [["play", "alone"], ["record", "bags"]])
def test_who_has_no_robosuite_is_told_where_it_is(
    job: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["door", *job, *(["--out", "."] if job[0] == "play" else [])])
    assert main() == 2
    assert "scripts/setup_door.sh" in capsys.readouterr().err


@pytest.mark.skipif(not SIMULATOR.exists(), reason="no robosuite: scripts/setup_door.sh makes one")
def test_the_truth_opens_a_door_and_a_bag_holds_its_episode(tmp_path: Path) -> None:
    def door(*words: str) -> None:
        command = [str(SIMULATOR), "-m", "benchmarks.door", *words]
        environment = {**os.environ, "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
        subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, timeout=400)

    door("play", "ceiling", "--attempts", "1", "--out", str(tmp_path))
    (cell,) = json.loads(path_of(tmp_path, "ceiling").read_text(encoding="utf-8"))["cells"]
    assert cell["opened"] == [1]
    assert cell["hinge_rad"][0] > 0.3
    door("record", str(tmp_path / "bags"), "--episodes", "1")
    assert (tmp_path / "bags" / "000" / "metadata.yaml").is_file()
