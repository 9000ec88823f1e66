"""Pegs seated in the demo: who plays which pair, what must hold, what is shown."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("smvae_datasets.simulation.engine", exc_type=ImportError)

from smvae_core.bundle import Bundle, add_readout
from smvae_core.modality import all_subsets, subset_name
from smvae_core.readout import LinearMap, Quantity, Readout
from smvae_datasets.simulation.closed_loop.failures import FAILURES
from smvae_datasets.simulation.closed_loop.workers import Task
from smvae_training.evaluate.bag.pictures import count_frames
from smvae_training.evaluate.insertions.__main__ import main
from smvae_training.evaluate.insertions.film import LAST_S, film
from smvae_training.evaluate.insertions.pairs import (
    ALIVE,
    LOST,
    RESULTS,
    SHEET,
    VIDEO,
    least_seated,
    plan,
)
from smvae_training.evaluate.insertions.section import (
    insertion_checks,
    insertion_numbers,
    insertion_section,
)

FROZEN = Path(__file__).parents[1] / "frozen" / "bundle"


def test_the_seed_draws_who_loses_a_camera_and_operators_take_turns() -> None:
    tasks = plan(20, 7)
    assert [t.number for t in tasks] == list(range(20))
    assert plan(20, 7) == tasks
    assert [t.failure for t in plan(20, 8)] != [t.failure for t in tasks]
    failures = Counter(t.failure for t in tasks)
    assert failures == {ALIVE: 14, **dict.fromkeys(LOST, 2)}
    assert all(FAILURES[name].midway and FAILURES[name].absent for name in LOST)
    assert max(Counter(t.operator for t in tasks).values()) == 7


def reached(count: int, attempts: int, share: float) -> float:
    return sum(
        math.comb(attempts, k) * share**k * (1 - share) ** (attempts - k)
        for k in range(count, attempts + 1)
    )


@pytest.mark.parametrize("attempts", [1, 2, 5, 20, 100])
def test_a_model_of_ninety_per_cent_passes_with_99_of_100_and_no_lower_bound_is_asked(
    attempts: int,
) -> None:
    least = least_seated(attempts)
    assert reached(least, attempts, 0.9) >= 0.99 - 1e-9
    assert reached(least + 1, attempts, 0.9) < 0.99
    assert least_seated(20) == 14


def outcome(seated: bool, peak_n: float = 20.0, breaches: int = 0) -> dict[str, Any]:
    return {"seated": seated, "time_s": 5.0, "peak_n": peak_n, "breaches": breaches,
            "missed_mm": None}  # fmt: skip


def results(helped: int, alone: int = 0, **changes: Any) -> dict[str, Any]:
    pairs = [
        {
            "number": n,
            "failure": ALIVE if n % 2 else LOST[0],
            "operator": "noisy",
            "helped": outcome(n < helped, **changes),
            "alone": outcome(n < alone),
        }
        for n in range(20)
    ]
    shown = [{"operator": "noisy", "failure": ALIVE, "number": 1}]
    return {"pairs": pairs, "seed": 3, "shown": shown, "no_video": ""}


@pytest.mark.parametrize(
    ("found", "live", "failing"),
    [
        (results(14), 1, []),
        (results(20, alone=2), 2, []),
        (results(13), 1, ["operators seat pegs with help"]),
        (results(20, alone=14), 1, ["operators seat pegs with help"]),
        (results(20, peak_n=61.0), 1, ["help is gentle"]),
        (results(20, breaches=1), 1, ["help is gentle"]),
        (results(20), 0, ["pegs are seated live over ROS 2"]),
        (results(0), 0, ["operators seat pegs with help", "pegs are seated live over ROS 2"]),
    ],
)
def test_what_the_closed_loop_must_show(
    found: dict[str, Any], live: int, failing: list[str]
) -> None:
    numbers = insertion_numbers(found, {"attempts": 2, "seated": live, "each": []})
    checks = insertion_checks(numbers)
    assert [c["name"] for c in checks if not c["passed"]] == failing
    json.dumps([numbers, checks], allow_nan=False)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frozen bundle with a readout that always puts the tip 1 cm beside the hole."""
    copy = Path(shutil.copytree(FROZEN, tmp_path_factory.mktemp("told") / "bundle"))
    bundle = Bundle.load(copy)
    nothing = np.zeros((3, bundle.manifest.latent_dim))
    beside = LinearMap(weights=nothing, bias=np.array([0.01, 0, 0]), residual=np.full(3, 0.002))
    subsets = {subset_name(s): {"offset": beside} for s in all_subsets(bundle.manifest.names)}
    add_readout(bundle, Readout(targets={"offset": Quantity(unit="m")}, subsets=subsets))
    return copy


def test_pairs_are_played_filmed_and_reported(told: Path, tmp_path: Path) -> None:
    words = ["--attempts", "2", "--workers", "2", "--seed", "5"]
    assert main([str(told), str(tmp_path), *words]) == 0
    found = json.loads((tmp_path / RESULTS).read_text())
    assert [pair["number"] for pair in found["pairs"]] == [0, 1]
    assert found["bundle"] == Bundle.load(told).sha256
    assert (tmp_path / SHEET).is_file()
    assert found["no_video"] or (tmp_path / VIDEO).is_file()
    numbers = insertion_numbers(found, {"attempts": 2, "seated": 1, "each": []})
    html = insertion_section(tmp_path, found, numbers).html
    assert f"{numbers['seated_helped']} of 2 pegs seated" in html
    assert found["no_video"] or f'href="{VIDEO}"' in html


def test_the_film_shows_each_step_and_what_is_lost(told: Path, tmp_path: Path) -> None:
    task = Task(failure="cameras lost midway", operator="aims_wrong", number=0)
    video, sheet = tmp_path / "a.mp4", tmp_path / "a.png"
    missing = film(told, [task], 5, video, sheet)
    picture = cv2.imread(str(sheet))
    assert picture is not None
    assert picture.shape[0] > picture.shape[1]
    red = (picture[..., 2] > 180) & (picture[..., :2].max(axis=-1) < 80)
    rows = np.array_split(red, 6)
    assert rows[-1].sum() > rows[0].sum()  # "lost" is written in red
    if not missing:
        assert count_frames(video) > LAST_S * 20


@pytest.mark.parametrize(
    ("targets", "said"),
    [({}, "has no readout; `smvae readout"), ({"contact": Quantity(unit="")}, "tells contact")],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_bundle_that_tells_nothing_of_the_hole_is_refused_in_a_line(
    targets: dict[str, Quantity],
    said: str,
    workers: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path(shutil.copytree(FROZEN, tmp_path / "bundle"))
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"readout": None}))
    bundle = Bundle.load(folder)
    if targets:
        nothing = np.zeros((1, bundle.manifest.latent_dim))
        linear = LinearMap(weights=nothing, bias=np.zeros(1), residual=np.ones(1))
        subsets = {subset_name(s): {"contact": linear} for s in all_subsets(bundle.manifest.names)}
        add_readout(bundle, Readout(targets=targets, subsets=subsets))
    assert main([str(folder), str(tmp_path), "--attempts", "1", "--workers", workers]) == 2
    err = capsys.readouterr().err
    assert err.startswith("insertions: ")
    assert said in err
    assert err.count("\n") == 1


MODULE = "smvae_training.evaluate.insertions"


def interrupted(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Press Ctrl-C, which a terminal sends to all of its processes, and wait for the end."""
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=240.0)
    return process.returncode, said


def heed_ctrl_c() -> None:
    """Tests that were started in the background are deaf to SIGINT, and so are their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )


def test_ctrl_c_while_it_imports_is_one_line(tmp_path: Path) -> None:
    process = started("-X", "importtime", "-m", MODULE, "bundle", str(tmp_path))
    assert process.stderr is not None
    while not (line := process.stderr.readline()).rstrip().endswith("smvae_core.modality"):
        assert line, "it ended before it had imported anything"
    code, said = interrupted(process)
    assert code == 130
    assert said.rstrip().endswith("insertions: stopped")
    assert "Traceback" not in said


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()


def test_ctrl_c_while_its_workers_begin_is_one_line(told: Path, tmp_path: Path) -> None:
    process = started("-m", MODULE, str(told), str(tmp_path), "--attempts", "6")
    while len(children(process.pid)) < 3:  # two workers, and what tracks their resources
        assert process.poll() is None
        time.sleep(0.01)
    code, said = interrupted(process)
    assert code == 130
    assert "Traceback" not in said
