"""`smvae compare`: paired by group on the same records, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.cli import main
from smvae_training.evaluate.compare import (
    EACH_ALL,
    MEAN,
    CompareError,
    compare,
    sentence,
    verdict,
)
from smvae_training.evaluate.episodes import Evaluation
from smvae_training.evaluate.records import EvaluateConfig
from smvae_training.evaluate.results import RESULTS, write_json
from smvae_training.evaluate.sensor_value import mean_with_error
from smvae_training.presets import debug
from smvae_training.run import RunPaths, load_run
from smvae_training.trainer import train_on

SETTINGS = EvaluateConfig(max_records=40, likelihood_records=2, samples=1)
Evaluated = Callable[..., Path]


def test_one_held_out_group_tells_nothing_of_chance() -> None:
    """It was said to be no different beyond chance, whatever the errors were."""
    told = sentence("b", {"mean": 1.761, "standard_error": np.nan, "groups": 1}, "a")
    assert told.startswith("whether b is better than a is not known: its error differs by 176.1 %")
    assert told.endswith("one held-out group tells nothing of chance.")
    near = sentence("b", {"mean": 0.01, "standard_error": 0.02, "groups": 6}, "a")
    assert near.startswith("b is no different, beyond chance, from a")


@pytest.fixture(scope="module")
def evaluated(episodes: PreparedEpisodes, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """Train and evaluate a run of a few steps; same arguments, same run."""
    made: dict[str, Path] = {}

    def make(name: str, seed: int = 0, sensors: slice = slice(None), records: int = 40) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp("runs") / name
            chosen = episodes.sensors[sensors]
            kept = {m.name: episodes.arrays[m.name] for m in chosen}
            data = replace(episodes, sensors=chosen, arrays=kept, recorded=None)
            plain = debug()
            config = replace(
                plain,
                seed=seed,
                data=replace(plain.data, held_out=0.6),
                model=replace(plain.model, modalities=chosen),
            )
            train_on(config, data, RunPaths(folder), None, "memory")
            settings = replace(SETTINGS, max_records=records)
            results = Evaluation(load_run(folder), data, settings).results()
            write_json(RunPaths(folder).evaluation / RESULTS, results)
            made[name] = folder
        return made[name]

    return make


def errors_of(run: Path) -> dict[str, Any]:
    text = (RunPaths(run).evaluation / RESULTS).read_text(encoding="utf-8")
    return dict(json.loads(text)["groups"]["errors"])


def test_a_difference_is_the_mean_ratio_over_groups_with_its_standard_error(
    evaluated: Evaluated,
) -> None:
    first, second = evaluated("first"), evaluated("second", seed=1)
    found = compare([first, second])
    assert found["groups"] == 3
    rise = found["targets"]["rgb"]["rgb+depth"]["second"]
    ratios = np.divide(*(errors_of(r)["rgb+depth"]["rgb"] for r in (second, first)))
    assert rise["mean"] == pytest.approx(ratios.mean() - 1.0)
    assert rise["standard_error"] == pytest.approx(ratios.std(ddof=1) / np.sqrt(3))
    assert set(found["targets"]) == {"rgb", "depth", "force", "action", "offset", "contact", "hole"}
    assert len(found["targets"]["rgb"]) == 16  # and their mean
    assert found["left_out"] == {}
    back = compare([second, first])["targets"]["rgb"]["rgb+depth"]["first"]
    assert np.sign(back["mean"]) == -np.sign(rise["mean"])


def test_a_run_with_fewer_sensors_is_compared_where_both_can_be(evaluated: Evaluated) -> None:
    found = compare([evaluated("first"), evaluated("no camera", sensors=slice(2, 4))])
    assert set(found["targets"]) == {"force", "action", "offset", "contact", "hole"}
    assert set(found["targets"]["force"]) == {MEAN, EACH_ALL, "force", "action", "force+action"}
    assert found["left_out"] == dict.fromkeys(("rgb", "depth"), "no camera does not predict it")


def test_what_cannot_be_compared_is_refused_with_the_reason(
    evaluated: Evaluated, tmp_path: Path
) -> None:
    first = evaluated("first")
    with pytest.raises(CompareError, match="two evaluated runs are needed, got 1"):
        compare([first])
    with pytest.raises(CompareError, match="the same run twice"):
        compare([first, first])
    with pytest.raises(CompareError, match=r"nothing: expected a run that `smvae evaluate` has"):
        compare([first, tmp_path / "nothing"])
    with pytest.raises(CompareError, match="same --max-records"):
        compare([first, evaluated("few", records=20)])
    results = json.loads((RunPaths(first).evaluation / RESULTS).read_text(encoding="utf-8"))

    def changed(name: str, change: Callable[[dict[str, Any]], Any]) -> Path:
        copied = json.loads(json.dumps(results))
        change(copied)
        write_json(tmp_path / name / RESULTS, copied)
        return tmp_path / name

    old = changed("old", lambda r: r.pop("groups"))
    with pytest.raises(CompareError, match=r"no errors by group.*evaluate the run again"):
        compare([first, old])
    moved = changed("moved", lambda r: r["groups"].update(names=["trial0", "trial3", "trial4"]))
    with pytest.raises(CompareError, match=r"held to other groups \(trial0, trial2\)"):
        compare([first, moved])
    other = changed("other", lambda r: r["groups"].update(truth=dict.fromkeys("ab", "0")))
    with pytest.raises(CompareError, match="no target in common: rgb: other does not predict it"):
        compare([first, other])
    scaled = changed("scaled", lambda r: r["groups"]["truth"].update(rgb="0"))
    assert "values differ" in compare([first, scaled])["left_out"]["rgb"]


def test_a_verdict_needs_an_interval_without_nought() -> None:
    def judged(mean: float, error: float, groups: int = 60) -> bool | None:
        return verdict({"mean": mean, "standard_error": error, "groups": groups})

    assert judged(-0.1, 0.04) is True
    assert judged(0.1, 0.04) is False
    assert judged(0.1, 0.06) is None
    assert judged(0.1, 0.04, groups=3) is None  # 4.3 standard errors of three groups
    assert judged(0.1, float("nan"), groups=1) is None


@pytest.mark.parametrize("groups", [2, 3, 6])
def test_few_groups_that_are_alike_seldom_differ(groups: int) -> None:
    """Two standard errors of two groups said so in 30 of 100 comparisons."""
    rng = np.random.default_rng(0)
    alike = [mean_with_error(one) for one in rng.standard_normal((2000, groups))]
    assert np.mean([verdict(one) is not None for one in alike]) < 0.07


def test_the_command_writes_a_table_a_report_and_json(
    evaluated: Evaluated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(evaluated("first")), str(evaluated("second", seed=1))]
    out = tmp_path / "comparison.html"
    assert main(["compare", *runs, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"second is (better|worse|no different)", shown)
    assert "mean of subsets" in shown
    html = out.read_text(encoding="utf-8")
    links = re.findall(r'<a href="#([^"]+)"', html)
    assert set(links) == set(re.findall(r'<section id="([^"]+)"', html))
    assert "Is second better?" in html
    assert main(["compare", *runs, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reference"] == "first"
    assert main(["compare", runs[0], str(tmp_path)]) == 2
    assert "expected a run that `smvae evaluate` has scored" in capsys.readouterr().err
    (tmp_path / "config.json").touch()
    assert main(["compare", runs[0], str(tmp_path)]) == 2
    assert "no evaluation in it; `smvae evaluate" in capsys.readouterr().err
