"""The demo's summary.json and report.html, from what its stages left on disk.

`python -m smvae_training.evaluate.live runs/demo` writes them again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_datasets.vision_touch.prepared import prepare_episodes
from smvae_training.evaluate.episodes import Evaluation
from smvae_training.evaluate.insertions import pairs as insertion_pairs
from smvae_training.evaluate.insertions.section import (
    insertion_checks,
    insertion_numbers,
    insertion_section,
)
from smvae_training.evaluate.live.bag import LiveRunError
from smvae_training.evaluate.live.checks import check, live_checks
from smvae_training.evaluate.live.evaluate import LiveEvaluation, evaluate_live, numbers
from smvae_training.evaluate.live.fusion import NONE
from smvae_training.evaluate.live.section import checks_section, live_sections
from smvae_training.evaluate.measures import images
from smvae_training.evaluate.records import EvaluateConfig
from smvae_training.evaluate.report.html import Section, render_report, table_html, text_html
from smvae_training.evaluate.report.sections import evaluation_sections
from smvae_training.evaluate.results import RESULTS, write_json
from smvae_training.hardware import versions
from smvae_training.run import RunPaths, load_run


def _below(name: str) -> Any:
    return property(lambda self: self.root / name)


@dataclass(frozen=True)
class DemoPaths:
    """Where everything of a demo lies."""

    root: Path
    episodes = _below("episodes")
    run = _below("run")
    bundle = _below("bundle")
    bag = _below("bag")
    logs = _below("logs")
    live = _below("live.json")
    """What the live stage notes of its processes."""
    view = _below("view.rrd")
    """The bag in rerun, where that was there."""
    insertions = _below(insertion_pairs.RESULTS)
    """Pegs seated in simulated time."""
    video = _below(insertion_pairs.VIDEO)
    """Of some of these, where OpenCV can write one."""
    sheet = _below(insertion_pairs.SHEET)
    assisted = _below("assisted.json")
    """Pegs seated over DDS."""
    stages = _below(".stages")
    report = _below("report.html")
    summary = _below("summary.json")

    @property
    def results(self) -> Path:
        return RunPaths(self.run).evaluation / RESULTS


def write_demo_report(paths: DemoPaths) -> dict[str, Any]:
    """Write summary.json and report.html and return the summary.

    Raises:
        SMVAEError: If a stage's output is missing or cannot be used.
    """
    results = read_json(paths.results)
    evaluation = _light_evaluation(paths)
    means: dict[str, NDArray[np.float32]] = {
        m.name: evaluation.means[m.name].mean for m in images(evaluation.modalities)
    }
    found = evaluate_live(paths.bag, paths.bundle, means)
    live = numbers(found)
    processes = read_json(paths.live)
    played, assisted = read_json(paths.insertions), read_json(paths.assisted)
    pegs = insertion_numbers(played, assisted)
    checks = [
        *live_checks(live),
        *process_checks(processes, assisted),
        *held_out_checks(results),
        *insertion_checks(pegs),
    ]
    summary = make_summary(paths, results, live, processes, checks) | {"insertions": pegs}
    write_json(paths.summary, summary)
    first, *further = demo_sections(found, evaluation, results, live, summary)
    shown = insertion_section(paths.root, played, pegs)
    sections = [first, shown, *further, viewing_section(paths)]
    subtitle = "simulated, trained, exported, and seen live over ROS 2: " + (
        "every check holds" if summary["passed"] else "a check failed"
    )
    render_report(
        paths.report, title="Set Multimodal VAE: the demo", subtitle=subtitle, sections=sections
    )
    return summary


def viewing_section(paths: DemoPaths) -> Section:
    """Return where the live recording can be looked at."""
    if paths.view.is_file():
        name = paths.view.name
        html = (
            f'<p><a href="{name}">{name}</a> has the live recording, moment by moment: '
            f"<code>.venv-view/bin/rerun {name}</code> opens it.</p>"
        )
    else:
        html = text_html(
            "`scripts/setup_viewer.sh`, then `make demo` again, makes view.rrd: the live recording "
            "moment by moment in rerun. One picture of it needs neither: `smvae view "
            "runs/demo/bag --bundle runs/demo/bundle --picture bag.png`."
        )
    return Section("Look at it", html)


def _light_evaluation(paths: DemoPaths) -> Evaluation:
    """Return what the evaluation's pictures and mean images need, without scoring again."""
    run = load_run(paths.run)
    episodes = prepare_episodes(
        paths.episodes, run.model_config.modalities, action=run.config.data.action
    )
    few = EvaluateConfig(max_records=8, likelihood_records=2, train_records=8)
    return Evaluation(run, episodes, few)


def make_summary(
    paths: DemoPaths,
    results: Mapping[str, Any],
    live: Mapping[str, Any],
    processes: Mapping[str, Any],
    checks: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return summary.json."""
    overall = {k: v for k, v in live.items() if k not in ("subsets", NONE)}
    return {
        "versions": versions() | processes.get("versions", {}),
        "seconds": stage_seconds(paths),
        "passed": all(c["passed"] for c in checks),
        "checks": checks,
        "subsets": {
            name: {
                "evaluation": results["subsets"].get(name, {}),
                "ratios_to_mean_image": results["ratios"].get(name, {}),
                "live": found,
            }
            for name, found in live["subsets"].items()
        },
        NONE: live[NONE],
        "live": overall,
        "processes": processes,
        "data": results["data"],
        "training": {k: results["training"][k] for k in ("step", "total_steps", "seconds")},
        "baselines": results["baselines"].get("training_mean", {}),
        "probe": results["probe"],
    }


def stage_seconds(paths: DemoPaths) -> dict[str, float]:
    """Return how long each stage took when it was really done."""
    stamps = sorted(paths.stages.glob("*.json"), key=lambda p: p.stat().st_mtime)
    return {p.stem: read_json(p)["seconds"] for p in stamps}


def process_checks(
    processes: Mapping[str, Any], assisted: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return what must hold of the processes of both live stages."""
    torch = processes["torch_on_the_robot"]
    clean = torch["import_fails"] and not torch["libraries_mapped"]
    codes = {name: p["exit_code"] for name, p in processes["processes"].items()}
    codes |= {f"{name}, helping": p["exit_code"] for name, p in assisted["processes"].items()}
    asked = not processes["forced"] and not assisted["forced"]
    ended = asked and all(code == 0 for code in codes.values())
    return [
        check("no torch on the robot", clean, "torch unimportable, no libtorch mapped", torch),
        check("every process ended when asked", ended, "exit code 0 on SIGINT", codes),
    ]


def held_out_checks(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the evaluation's requirements, one check per rule."""
    rules: dict[str, list[Mapping[str, Any]]] = {}
    for each in results["checks"]:
        rules.setdefault(f"{each['rule']} in the subset", []).append(each)
    found = []
    for rule, members in rules.items():
        failed = [m for m in members if not m["passed"]]
        keys = ("target", "subset", "condition", "region")
        got = {"hold": f"{len(members) - len(failed)} of {len(members)}"} | {
            ", ".join(str(m[k]) for k in keys): m["value"] for m in failed[:5]
        }
        required = f"held-out error over the mean image's: {members[0]['requirement']}"
        found.append(check(rule, not failed, required, got))
    return found


def demo_sections(
    found: LiveEvaluation,
    evaluation: Evaluation,
    results: dict[str, Any],
    live: dict[str, Any],
    summary: dict[str, Any],
) -> list[Section]:
    """Return all sections of the demo's report: checks, live, evaluation, set-up."""
    known = with_nan(results)
    first = checks_section(summary["checks"])
    rows = [[stage, seconds] for stage, seconds in summary["seconds"].items()]
    rows += [[f"version: {k}", v] for k, v in summary["versions"].items()]
    cpu = {n: p.get("cpu_cores") for n, p in summary["processes"]["processes"].items()}
    rows += [[f"cores used live: {name}", cores] for name, cores in cpu.items()]
    return [
        first,
        *live_sections(found, live, known),
        *evaluation_sections(evaluation, known),
        Section("Stages", table_html(["stage", "seconds"], rows)),
    ]


def with_nan(value: Any) -> Any:
    """Return parsed JSON with null as NaN, the inverse of `jsonable`."""
    if isinstance(value, dict):
        return {k: with_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [with_nan(v) for v in value]
    return math.nan if value is None else value


def read_json(path: Path) -> Any:
    """Return a stage's JSON file.

    Raises:
        LiveRunError: If it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise LiveRunError(path, f"cannot be read: {err}") from err
