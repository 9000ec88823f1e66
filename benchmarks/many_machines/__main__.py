"""Train on two workers what one process trains: `python -m benchmarks.many_machines`.

    scripts/test_ray.sh                     # once: the environment that has Ray, .venv-ray
    smvae simulate EPISODES --episodes 12 --steps 100
    .venv-ray/bin/python -m benchmarks.many_machines --data EPISODES --work WORK

One process trains with the whole batch. Two workers share it, on this machine, over gloo: of one
torchrun, of two torchruns as on two machines, and of Ray Train. With BatchNorm frozen the losses
must be the same within 1e-4, also where one worker is killed and where the batch is odd. As users
train, each worker's BatchNorm sees half a batch: then the difference is told. Runs are kept in WORK
and not done again.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.command import parser_of, status_of
from benchmarks.many_machines.compare import compare, play
from benchmarks.many_machines.job import Case
from benchmarks.turns.machine import machine
from smvae_core.files import write_text

RESULTS = Path(__file__).parents[1] / "results" / "many-machines.json"
STARTERS = ["torchrun", "two torchruns", "ray"]
#: Comparison -> how it differs from the first; `lost_at` of the workers alone.
COMPARISONS: dict[str, dict[str, Any]] = {
    "BatchNorm frozen": {},
    "BatchNorm frozen, an odd batch, augmentation": {"odd": 1, "augment": True},
    "BatchNorm frozen, one worker killed": {"lost_at": 7},
    "BatchNorm of each worker's rows": {"norms": "batch"},
}


def case(given: argparse.Namespace, name: str, starter: str, **changes: Any) -> Case:
    """Return a training of a comparison."""
    odd = changes.pop("odd", 0)
    if starter == "self":
        changes.pop("lost_at", None)
    slug = "".join(c if c.isalnum() else "-" for c in f"{name}.{starter}")
    return Case(
        out=str(given.work / slug),
        data=str(given.data),
        starter=starter,  # type: ignore[arg-type]
        preset=given.preset,
        batch_size=given.batch_size + odd,
        steps=given.steps,
        checkpoint_every=5,
        **changes,
    )


def finished(of: Case) -> bool:
    """Return whether a training was played to its end before."""
    weights = Path(of.out) / "config.json"
    if not weights.is_file():
        return False
    found = json.loads(weights.read_text(encoding="utf-8"))
    return bool(found["step"] >= found["total_steps"])


def train_all(given: argparse.Namespace) -> None:
    """Train what is not trained yet, and write each comparison once it is done.

    Raises:
        SMVAEError: If a training fails.
    """
    given.work.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for name, changes in COMPARISONS.items():
        one = case(given, name, "self", **changes)
        every = [case(given, name, starter, **changes) for starter in given.starters]
        for each in (one, *every):
            if not finished(each):
                print(f"{name}: {each.starter}", flush=True)
                play(each)
        found[name] = {each.starter: compare(one, each) for each in every}
        about = {k: getattr(given, k) for k in ("preset", "batch_size", "steps")}
        text = json.dumps({"machine": machine(), **about, "comparisons": found}, indent=1)
        write_text(given.out, text + "\n")


def main() -> int:
    """Train, compare, write; return the exit status."""
    parser = parser_of("benchmarks.many_machines", __doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of episodes in the Vision&Touch layout")
    add("--work", type=Path, required=True, help="folder for the runs; made if missing")
    add("--preset", default="demo", help="settings of the runs (default: demo)")
    add("--batch-size", type=int, default=32, help="records per step, of all workers together")
    add("--steps", type=int, default=30)
    add("--starters", nargs="+", choices=STARTERS, default=STARTERS)
    add("--out", type=Path, default=RESULTS, help="JSON file to write")
    given = parser.parse_args()
    if "ray" in given.starters and importlib.util.find_spec("ray") is None:
        parser.error("Ray is not installed: take .venv-ray/bin/python, or --starters torchrun")
    return status_of("many_machines", lambda: train_all(given))


if __name__ == "__main__":
    sys.exit(main())
