"""The main job, end to end: simulate, train, evaluate, export, perceive live over ROS 2, report.

Called by `make demo`, which sets up and builds the workspace first. A second run reuses every stage
whose settings are the same; an interrupted stage goes on where it can, else it is redone.

Before the report, operators put pegs into holes with the help of the latents and without, in
simulated time and live.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from demo_assist import AssistOptions, run_assist
from demo_live import LiveOptions, run_live
from demo_stages import Stage, StageFailed, StageRunner, command
from rich.console import Console
from rich.table import Table

from smvae_core.errors import SMVAEError
from smvae_core.view.process import why_no_viewer
from smvae_training.evaluate.live.demo_report import DemoPaths

ROOT = Path(__file__).resolve().parent.parent
SMVAE = Path(sys.executable).parent / "smvae"
DEFAULT = ROOT / "runs" / "demo"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; the defaults are the demo."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, default=DEFAULT, help="folder of the demo (default: runs/demo)")
    add("--fresh", action="store_true", help="redo everything")
    add("--episodes", type=int, default=150, help="episodes to simulate")
    add("--steps", type=int, default=250, help="steps of 50 ms per episode, a multiple of 50")
    add("--preset", default="demo", help="preset of `smvae train`")
    add("--dwell", type=float, default=8.0, help="seconds per state of the sensors")
    add("--attempts", type=int, default=20, help="pairs of attempts to seat a peg, simulated")
    add("--live-attempts", type=int, default=2, help="attempts to seat a peg over ROS 2")
    add("--seed", type=int, default=0, help="of the episodes and of training")
    add("--viewer-python", default="", help="Python that has rerun (default: see docs/viewing.md)")
    add("--setup-seconds", type=float, default=None, help="what the set-up took, for the summary")
    return parser.parse_args(arguments)


class Work:
    """What each stage does, and the settings that its output depends on."""

    def __init__(self, options: argparse.Namespace, paths: DemoPaths) -> None:
        """Take the settings of all stages from the command line."""
        self._options, self._paths = options, paths
        seed = options.seed
        self.simulated = {"episodes": options.episodes, "steps": options.steps, "seed": seed}
        self.trained = {"preset": options.preset, "seed": seed}
        # another world than any training episode's
        self.live = LiveOptions(dwell_s=options.dwell, robot_seed=seed + 1000, schedule_seed=0)
        self.pegs = {"attempts": options.attempts, "seed": seed + 2000, "workers": 2}
        self.assisted = AssistOptions(attempts=options.live_attempts, robot_seed=seed + 3000)

    def simulate(self, resume: bool) -> None:
        """Simulate episodes; those of an interrupted attempt stay."""
        if not resume:
            shutil.rmtree(self._paths.episodes, ignore_errors=True)
        words = ["simulate", self._paths.episodes, *_options(self.simulated)]
        command("simulate", SMVAE, *words)

    def train(self, resume: bool) -> None:
        """Train; go on from a checkpoint where there is one."""
        paths = self._paths
        can_resume = resume and any((paths.run / "checkpoints").glob("*.ckpt"))
        flag = ["--resume"] if can_resume else ["--overwrite"]
        words = [*_options(self.trained), "--data", paths.episodes, "--out", paths.run]
        words += ["--no-report"]
        words += ["--data.targets", "all"]  # whatever the preset: pegs are seated by them
        command("train", SMVAE, "train", *words, *flag)

    def evaluate(self, _: bool) -> None:
        """Evaluate the run on held-out episodes."""
        command("evaluate", SMVAE, "evaluate", self._paths.run, "--data", self._paths.episodes)

    def export(self, _: bool) -> None:
        """Export the run as a bundle."""
        command("export", SMVAE, "export", self._paths.run, self._paths.bundle)

    def perceive(self, _: bool) -> None:
        """Run robot, node and recorder over ROS 2."""
        run_live(ROOT, self._paths.root, self._paths.bundle, self.live)

    def view(self, _: bool) -> None:
        """Draw the recorded bag in rerun."""
        python, paths = self._options.viewer_python, self._paths
        given = ["--viewer-python", python] if python else []
        words = [paths.bag, "--bundle", paths.bundle, "--save", paths.view, *given]
        command("view", SMVAE, "view", *words)

    def insert(self, _: bool) -> None:
        """Seat pegs in simulated time."""
        module = "smvae_training.evaluate.insertions"
        words = ["-m", module, self._paths.bundle, self._paths.root, *_options(self.pegs)]
        command("insert", sys.executable, *words)

    def assist(self, _: bool) -> None:
        """Seat pegs over ROS 2."""
        run_assist(ROOT, self._paths.root, self._paths.bundle, self.assisted)

    def report(self, _: bool) -> None:
        """Write report and summary."""
        command("report", sys.executable, "-m", "smvae_training.evaluate.live", self._paths.root)


def _options(settings: dict[str, Any]) -> list[Any]:
    """Return settings as options of a command."""
    return [word for key, value in settings.items() for word in (f"--{key}", value)]


def stages(options: argparse.Namespace, paths: DemoPaths, *, viewer: bool) -> list[Stage]:
    """Return the stages in order; the bag is drawn where there is a viewer."""
    work = Work(options, paths)
    live, assisted = vars(work.live), vars(work.assisted)
    weights, manifest = paths.run / "weights.safetensors", paths.bundle / "manifest.json"
    table = [
        (
            "simulate",
            "simulate episodes",
            work.simulated,
            paths.episodes / "dataset.json",
            work.simulate,
        ),
        ("train", "train", work.trained, weights, work.train),
        ("evaluate", "evaluate on held-out episodes", {}, paths.results, work.evaluate),
        ("export", "export the bundle", {}, manifest, work.export),
        ("live", "perceive live over ROS 2", live, paths.bag / "metadata.yaml", work.perceive),
        ("view", "draw it in rerun", {}, paths.view, work.view),
        (
            "insert",
            "seat pegs, with its latents and without",
            work.pegs,
            paths.insertions,
            work.insert,
        ),
        ("assist", "help an operator live over ROS 2", assisted, paths.assisted, work.assist),
        ("report", "report", {}, paths.summary, work.report),
    ]
    found = [
        Stage(name=name, title=title, settings=settings, output=output, work=done)
        for name, title, settings, output, done in table
    ]
    return [stage for stage in found if viewer or stage.name != "view"]


def finish_summary(paths: DemoPaths, extra: dict[str, float]) -> dict[str, Any]:
    """Put the seconds of all stages, the report's included, into summary.json."""
    from smvae_training.evaluate.live.demo_report import stage_seconds

    summary: dict[str, Any] = json.loads(paths.summary.read_text(encoding="utf-8"))
    seconds = summary.get("seconds", {}) | stage_seconds(paths) | extra
    summary["seconds"] = seconds
    temporary = paths.summary.with_suffix(".part")
    temporary.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, paths.summary)
    return summary


def show(console: Console, summary: dict[str, Any], paths: DemoPaths, missing: str) -> None:
    """Print the short table, the checks, and where to look; `missing` says why not in rerun."""
    table = Table(title="live, by the sensors that were on", box=None, pad_edge=False)
    for column in ("sensors", "latents", "fused", "p50/p99 ms", "offline", "rgb", "depth"):
        table.add_column(column, justify="left" if column == "sensors" else "right", no_wrap=True)
    for name, both in summary["subsets"].items():
        live, ratios = both["live"], both["ratios_to_mean_image"]
        latency = live["stamp_to_received_ms"]
        shown = [name, str(live["latents"]), _text(live["fused_equals_published"], 3)]
        shown += [f"{_text(latency['p50'], 1)}/{_text(latency['p99'], 0)}"]
        shown += [_text(live["equal_to_offline"], 3)]
        for image, found in live["images"].items():
            held_out = ratios.get(image, {}).get("all", {}).get("whole", {}).get("mean")
            shown += [f"{_text(found['ratio_to_mean_image'])}/{_text(held_out)}"]
        table.add_row(*shown)
    console.print(table)
    console.print(
        "fused: share whose fused set is what was published; p50/p99: stamp to received;\n"
        "offline: share equal to Runtime on the recorded inputs; rgb, depth: squared\n"
        "error over that of the training mean image, live / held out",
        style="dim",
    )
    none = summary["none"]
    console.print(
        f"none: {none['messages']} messages, {none['no_input']} NO_INPUT, {none['valid']} valid"
    )
    pegs = summary["insertions"]
    live = pegs["live"]
    console.print(
        f"pegs seated: {pegs['seated_helped']} of {pegs['pairs']} with help, "
        f"{pegs['seated_alone']} without; live over ROS 2 {live['seated']} of {live['attempts']}",
        highlight=False,
    )
    for check in summary["checks"]:
        sign = "[green]holds[/green]" if check["passed"] else "[red]FAILS[/red]"
        console.print(f"{sign}  {check['name']} ({check['required']})", highlight=False)
        if not check["passed"]:
            console.print(f"       got {check['got']}", highlight=False, markup=False)
    console.print(f"\nreport:  {paths.report}\nsummary: {paths.summary}", highlight=False)
    console.print(
        f"video:   {paths.video if paths.video.is_file() else paths.sheet}", highlight=False
    )
    if missing:
        console.print(f"no view.rrd: {missing}", highlight=False, style="dim")
    else:
        console.print(f"rerun:   {paths.view}", highlight=False)


def _text(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def main(arguments: list[str] | None = None) -> int:
    """Run the demo: 0 if every check holds, 1 if one fails, 2 if a stage fails, 130 on Ctrl-C."""
    options = parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # both end what was started, in order
        signal.signal(number, signal.default_int_handler)
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 100)  # a log file has no edge to keep the table from
    paths = DemoPaths(options.out.resolve())
    start = time.monotonic()
    try:
        if options.fresh:
            shutil.rmtree(paths.root, ignore_errors=True)
        paths.root.mkdir(parents=True, exist_ok=True)
        missing = why_no_viewer(options.viewer_python)
        if missing:
            paths.view.unlink(missing_ok=True)  # of a recording before this one
        todo = stages(options, paths, viewer=not missing)
        runner = StageRunner(paths.stages, console, len(todo))
        for stage in todo:
            runner.run(stage)
    except KeyboardInterrupt:
        console.print("\nstopped; run again to go on from here")
        return 130
    except (StageFailed, SMVAEError) as err:
        console.print(f"demo: {err}", style="red", highlight=False, markup=False)
        return 2
    extra = {} if options.setup_seconds is None else {"setup": options.setup_seconds}
    summary = finish_summary(paths, extra)
    show(console, summary, paths, missing)
    console.print(f"{time.monotonic() - start:.0f} s for this run", style="dim")
    failed = [c["name"] for c in summary["checks"] if not c["passed"]]
    if failed:
        console.print(f"failed: {', '.join(failed)}", style="red", highlight=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
