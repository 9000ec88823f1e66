"""Training, conversion and attempts on a Ray cluster give what they give without one.

`make test-ray` runs this.
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="`make test-ray` has an environment for it")

from benchmarks.many_machines.compare import compare
from benchmarks.many_machines.job import Case
from smvae_core.errors import ConfigError
from smvae_core.robot import read_robot
from smvae_datasets.ray_cluster import LOCAL, cluster, cpus, spread
from smvae_datasets.recordings.build import build_episodes
from smvae_datasets.simulation.closed_loop.workers import Task, Worker, played
from smvae_training.ray_train import train_on_ray
from smvae_training.run import RunError
from tests.datasets.recorded import ROBOT, motion, write_bag
from tests.training.told_runs import write_episodes


def test_two_workers_train_as_one_process_and_go_on_after_one_was_killed(
    tmp_path: Path, results: dict[str, Any]
) -> None:
    """9 records are 5 and 4; the second worker dies after a checkpoint of step 2."""
    (data := tmp_path / "data").mkdir()
    write_episodes(data, 0)
    one = Case(out=str(tmp_path / "one"), data=str(data), batch_size=9, augment=True, steps=5)
    two = replace(one, out=str(tmp_path / "two"), starter="ray", lost_at=3)
    one.run()
    two.run()
    assert Path(f"{two.out}.lost").exists()
    found = compare(one, two)
    assert max(found["largest_relative_difference"].values()) < 1e-4
    assert found["weights_relative_difference"] < 1e-4
    assert not list(tmp_path.glob(".two*")), "Ray's own notes are gone"
    results["training, a worker killed"] = {
        "largest relative difference of a loss": found["largest_relative_difference"]["loss"],
        "of weights": found["weights_relative_difference"],
    }
    with pytest.raises(RunError, match="holds a run of 5 of 5 steps"):
        train_on_ray(one.config(), data, Path(two.out), LOCAL)
    several = replace(one.config().hardware, devices=9)
    with pytest.raises(ConfigError, match=r"hardware\.devices 9: the Ray cluster has \d cores"):
        train_on_ray(replace(one.config(), hardware=several), data, tmp_path / "three", LOCAL)


def content(folder: Path) -> dict[str, Any]:
    """Return what a folder of episodes holds; of facts what does not depend on time and place."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        if path.suffix != ".json":
            found[name] = path.read_bytes()
            continue
        found[name] = json.loads(path.read_text())
        facts = [found[name], *found[name].get("recordings", {}).values()]
        for each in facts:
            each.pop("conversion_s", None)
    return found


def test_recordings_are_converted_to_the_same_episodes(
    tmp_path: Path, results: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "robot.yaml").write_text(ROBOT)
    robot = read_robot(tmp_path / "robot.yaml")
    bags = [write_bag(tmp_path / f"bag{n}", motion(1.0, seed=n), "mcap") for n in range(3)]
    (broken := tmp_path / "broken.mcap").write_bytes(b"no bag")
    monkeypatch.chdir(tmp_path)
    here = build_episodes([*bags, broken], robot, tmp_path / "here", jobs=1, progress=False)
    every = [bag.relative_to(tmp_path) for bag in (*bags, broken)]
    there = build_episodes(every, robot, Path("there"), progress=False, ray=LOCAL)
    assert here["episodes"] == there["episodes"] == 3
    assert "failed" in there["recordings"]["broken"]
    assert content(tmp_path / "here") == content(tmp_path / "there")
    written = (tmp_path / "there/bag0/recording.json").stat().st_mtime_ns
    build_episodes(every, robot, Path("there"), progress=False, ray=LOCAL)
    assert (tmp_path / "there/bag0/recording.json").stat().st_mtime_ns == written
    results["conversion"] = {"recordings": len(every), "equal to those without Ray": True}


def test_attempts_are_the_same(results: dict[str, Any]) -> None:
    tasks = [Task(failure="all alive", operator="aims_wrong", number=n) for n in range(3)]
    one = Worker("ceiling", None, 500)
    alone = {task.number: str(one.play(task)) for task in tasks}
    one.close()
    found = {t.number: str(o) for t, o in played(tasks, "ceiling", None, 500, 2, ray=LOCAL)}
    assert found == alone
    results["closed loop"] = {"attempts": len(tasks), "equal to those without Ray": True}


def doubled(number: int) -> int:
    return 2 * number


def killed_once(marker: str) -> int:
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 7


def test_a_task_whose_worker_dies_is_done_again_and_other_clusters_are_named(
    tmp_path: Path,
) -> None:
    with cluster(LOCAL) as ray:
        assert cpus(ray) >= 1
        assert list(spread(ray, killed_once, [str(tmp_path / "killed")])) == [7]
        assert sorted(spread(ray, doubled, [2, 1, 0])) == [0, 2, 4]
    for address, why in (("localhost:1", "Connection refused"), ("auto", "Could not find any")):
        text = rf"no Ray cluster at '{address}' \(.*{why}.*\): give HOST:PORT"
        with pytest.raises(ConfigError, match=text), cluster(address):
            pass
