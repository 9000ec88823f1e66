"""`smvae audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tyro

from smvae_training.audit.options import AuditOptions
from smvae_training.commands.arguments import parse
from smvae_training.commands.tables import table

AUDIT_HELP = """Check a recording's latents: does the bundle give them again from their samples?

Every latent lists the stamps of its samples. Where the recording holds them all, mean and variance
are made again. They must agree within 1e-3: the mean absolute, the variance relative. At least 99 %
of the latents must have all their samples in the recording; for the others the missing sensor is
named. Topics and settings are those that the node said in ~/model_info, if that was recorded.

It also shows the latency by stamps (p50, p99), and for each subset how often a recorded target lies
in its 90 % interval. Targets are those that the bundle's robot declares, or those of --targets.
Exit status: 0 it holds, 1 it does not, 2 bad input.

examples:
  smvae audit runs/demo/bag --bundle runs/demo/bundle
  smvae audit bag --bundle bundle --topics rgb=/camera/image --json
  smvae audit bag --bundle bundle --targets offset=/ground_truth:pose.position"""


def audit(arguments: list[str], prog: str) -> int:
    """Run `smvae audit`."""

    def options(
        bag: tyro.conf.Positional[Path],
        bundle: Path,
        config: tyro.conf.OmitArgPrefixes[AuditOptions],
        json: tyro.conf.FlagCreatePairsOff[bool] = False,
    ) -> tuple[Path, Path, AuditOptions, bool]:
        """Collect the arguments.

        Args:
            bag: Folder of a rosbag2 bag, or one .mcap or .db3 file, with the node's ~/latent.
            bundle: Folder written by `smvae export`, the one that the node ran.
            config: How it is read.
            json: Print everything as JSON.
        """
        return bag, bundle, config, json

    bag, bundle, config, as_json = parse(options, arguments, prog, description=AUDIT_HELP)
    from smvae_training.audit.audit import audit as run
    from smvae_training.evaluate.results import json_text

    found = run(bag, bundle, config)
    if as_json:
        print(json_text(found), end="")
    else:
        _print(found)
    return 0 if found["holds"] else 1


def _print(found: dict[str, Any]) -> None:
    """Print a table of the subsets, and each latent that is not as it should be."""
    from rich.console import Console

    covered = list(dict.fromkeys(n for s in found["subsets"].values() for n in s["targets"]))
    columns = ("latents", "complete", "equal", "mean off", "variance off", "p50 [ms]", "p99 [ms]")
    inside_90 = (f"{name} in 90 %" for name in covered)
    subsets = table(f"latents on {found['topic']}", ("fused",), (*columns, *inside_90))
    for label, s in found["subsets"].items():
        counts = (str(s[key]) for key in ("latents", "complete", "reproduced"))
        off = (f"{s[key]:.1e}" for key in ("mean_difference", "variance_difference"))
        times = (f"{s['stamp_to_received_ms'][key]:.1f}" for key in ("p50", "p99"))
        inside = (_percent(s["targets"].get(name)) for name in covered)
        subsets.add_row(label, *counts, *off, *times, *inside)
    console = Console()
    console.print(subsets)
    for each in found["incomplete_latents"]:
        lacks = "; ".join(f"{name}: {why}" for name, why in each["missing"].items())
        console.print(f"latent {_place(each)} lacks {lacks}", highlight=False)
    for each in found["different_latents"]:
        mean = f"mean off by {each['mean_difference']:.3g}"
        variance = f"variance by {each['variance_difference']:.3g} of it"
        console.print(f"latent {_place(each)} differs: {mean}, {variance}", highlight=False)
    for name, why in found["targets_left_out"].items():
        console.print(f"target {name} is left out: {why}", highlight=False)
    late = found["stamp_to_received_ms"]
    console.print(f"stamp to received: p50 {late['p50']:.1f} ms, p99 {late['p99']:.1f} ms")
    counts = found["latents"]
    made = f"{counts['reproduced']} of {counts['checked']} latents made again"
    console.print(f"holds: {made}" if found["holds"] else f"does not hold: {made}")
    for why in found["why_not"]:
        console.print(f"  {why}", highlight=False)


def _percent(covered: dict[str, Any] | None) -> str:
    return f"{covered['inside_90']:.1%} of {covered['latents']}" if covered else ""


def _place(latent: dict[str, Any]) -> str:
    return f"{latent['sequence']} (epoch {latent['epoch']}, stamp {latent['stamp_ns']})"
