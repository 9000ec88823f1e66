"""`smvae evaluate-bag`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tyro

from smvae_training.commands.arguments import parse
from smvae_training.commands.tables import table
from smvae_training.evaluate.bag.options import BagOptions

EVALUATE_BAG_HELP = """Replay a recorded bag offline through a bundle, as the node would see it.

Reads rosbag2 (mcap and sqlite3) and ROS 1 bags, without ROS. Writes latents.npz (every latent with
its errors), summary.json, report.html, contact_sheet.png and predictions.mp4. Deterministic: the
bag's receive times stand for the clock. A dropped sensor is still compared with what the model
predicts of it.

examples:
  smvae evaluate-bag runs/demo/bag --bundle runs/demo/bundle --out replay
  smvae evaluate-bag bag --bundle bundle --out replay --drop rgb,depth
  smvae evaluate-bag bag --bundle bundle --out replay --topics rgb=/camera/color/image_raw
  smvae evaluate-bag bag --bundle bundle --out replay --params-file perception.yaml
  smvae evaluate-bag bag --bundle bundle --out replay --outage rgb,depth:2.0:1.0   # lose them
  smvae evaluate-bag bag --bundle bundle --out replay --strict   # exit 1 if a message was lost"""


def evaluate_bag(arguments: list[str], prog: str) -> int:
    """Run `smvae evaluate-bag`."""

    def options(
        bag: tyro.conf.Positional[Path],
        bundle: Path,
        out: Path,
        config: tyro.conf.OmitArgPrefixes[BagOptions],
    ) -> tuple[Path, Path, Path, BagOptions]:
        """Collect the arguments.

        Args:
            bag: Folder of a rosbag2 bag, or one .mcap, .db3 or .bag file.
            bundle: Folder written by `smvae export`.
            out: Folder for the results, made if missing.
            config: What is done.
        """
        return bag, bundle, out, config

    bag, bundle, out, config = parse(options, arguments, prog, description=EVALUATE_BAG_HELP)
    from smvae_training.evaluate.bag import evaluate

    summary = evaluate.evaluate_bag(bag, bundle, out, config)
    _print_scores(summary)
    if why_not := summary["video"]["why_not"]:
        hint = "; see the contact sheet" if (out / evaluate.SHEET).exists() else ""
        print(f"no video: {why_not}{hint}")
    print(f"{out / evaluate.REPORT}\n{out / evaluate.SUMMARY}\n{out / evaluate.LATENTS}")
    for line in summary["warnings"]:
        print(f"warning: {line}", file=sys.stderr)
    return 1 if config.strict and summary["warnings"] else 0


def _print_scores(summary: dict[str, Any]) -> None:
    """Print what was fused and the errors of the predictions."""
    from rich.console import Console

    latents = summary["latents"]
    rate = f"{latents['rate_hz']:.1f} per second"
    fused = ", ".join(f"{name} {n}" for name, n in latents["fused"].items())
    print(f"{latents['count']} latents, {rate}, fused from: {fused}")
    columns = ("error", "latents", "mean", "median", "95 %")
    errors = table("errors of what each latent predicts", columns)
    for name, found in summary["errors"].items():
        cells = (f"{found[key]:.4g}" for key in ("mean", "median", "p95"))
        errors.add_row(name, str(found["count"]), *cells)
    Console().print(errors)
    for name, found in summary["targets"].items():
        Console().print(_labelled(f"{name} by what the latent rests on", "rests on", found))
    outages = summary["outages"]
    if not outages:
        return
    memory = f"memory_s {summary['memory_s']:g}" if summary["memory_s"] else "without memory"
    for kind in ("sensors", "targets"):
        for name, found in outages[kind].items():
            title = f"{name} by time since its loss, {memory}"
            Console().print(_labelled(title, "lost for", found))


def _labelled(title: str, first: str, found: dict[str, dict[str, float]]) -> Any:
    """Return a table of numbers by label."""
    made = table(title, (first, *next(iter(found.values()), {})))
    for label, row in found.items():
        made.add_row(label, *(f"{value:.4g}" for value in row.values()))
    return made
