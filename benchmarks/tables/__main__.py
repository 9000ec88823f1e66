"""Write RESULTS.md and README's tables from `benchmarks/results`: `python -m benchmarks.tables`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.closed_loop.report import section as closed_loop_section
from benchmarks.command import status_of
from benchmarks.data_speed.report import section as data_section
from benchmarks.door.report import section as door_section
from benchmarks.growth.report import draw as draw_growth
from benchmarks.growth.report import section as growth_section
from benchmarks.live.report import section as live_section
from benchmarks.many_machines.report import section as many_section
from benchmarks.paper.ablation_toy import toy_section
from benchmarks.paper.experiments import EXPERIMENTS, Experiment
from benchmarks.paper.job import RESULTS
from benchmarks.runtime_speed.report import section as runtime_section
from benchmarks.tables.markdown import table
from benchmarks.tables.paired import Results, name_seeds, read_results
from benchmarks.tables.pairs import likelihood_columns, pair_section
from benchmarks.tables.published import TABLE_1, contradictions
from benchmarks.tables.readme import README, filled
from benchmarks.tables.robot import in_order, picture, robot_section
from benchmarks.tables.robot_figure import draw_errors
from benchmarks.tables.views import view_section
from benchmarks.train_speed.report import section as train_section
from smvae_core.files import write_text

OUT = RESULTS.parent / "RESULTS.md"
#: By `Experiment.kind`.
SECTIONS = {"pairs": pair_section, "subsets": robot_section, "views": view_section}

HEAD = """# Results

`python -m benchmarks.tables` writes this page from `benchmarks/results/*.json`. Do not edit it by
hand. Why things were chosen: [docs/decisions](../docs/decisions/README.md).

The sections from the closed loop on name their own commands. To remake those before takes hours on
a CPU. Stopped and started again, it goes on where it was:

```
scripts/setup_peers.sh                              # .venv-peers: this package and MultiVae
make setup && .venv/bin/smvae simulate episodes --episodes 68 --steps 250   # 17,000 robot steps
. .venv-peers/bin/activate
queue="python -m benchmarks.paper.run_queue"        # tune, train and score what has no result yet
$queue --experiments mnist-binarised mnist-ablation mnist-ablation-long fashion-grey
$queue --experiments simulated-robot simulated-robot-shared-noise --data episodes
$queue --experiments simulated-robot-views --data episodes
python -m benchmarks.paper.ablation_toy
python -m benchmarks.tables                         # this file
```

Log likelihoods are in nats, and higher is better. ± is the standard error over items, and
behind a slash over seeds; scores have the one over seeds alone.

| what | how |
|---|---|
| estimator | one for all methods: K importance samples per item |
| random numbers | the same standard normals for every method |
| mixtures | sampled by strata, weighed with the density of the mixture |
| log p(y) | from 5000 draws of the prior |
| log p(x\\|y) | log p(x,y) - log p(y) |
| training weights | never enter |
| checked on every run | log p(x,y) <= log p(x) for every item, and log p(x\\|y) as above |
| the same for every method | records, networks, likelihoods, batches, steps, annealing, schedule |
| learning rates tried | {1e-4, 5e-4, 1e-3} for each method, at a tenth of the steps |
| learning rate of a method | the best on validation records; the next best where that diverges |
| training seconds | wall time on a shared machine: passes per step compare methods, these do not |
"""


def published_section() -> str:
    """Return the paper's Table 1 with what each row contradicts."""
    rows = [
        [
            data_set,
            method,
            *("-" if v is None else f"{v:.2f}" for v in values),
            "; ".join(contradictions(values)).replace("|", "\\|") or "none",
        ]
        for data_set, methods in TABLE_1.items()
        for method, values in methods.items()
    ]
    text = (
        "## The paper's Table 1: published, internally inconsistent\n\n"
        "The table is as printed, with the inequalities that each row breaks. Networks, budget and "
        "data were others, so it cannot be compared with the tables above. CelebA was not run here "
        "(no data at hand). Its loader, preset and tests are there."
    )
    return (
        f"{text}\n\n{table(['data', 'method', *likelihood_columns(), 'contradicts itself'], rows)}"
    )


def hardware_line(results: dict[str, Results]) -> str:
    """Return where the runs were made."""
    found = {
        json.dumps(n["hardware"] | {"cpus": n["versions"]["cpu_count"]}, sort_keys=True)
        for r in results.values()
        for n in r.numbers
    }
    return "Hardware: " + "; ".join(
        ", ".join(f"{k} {v}" for k, v in json.loads(f).items()) for f in sorted(found)
    )


def missing_line(experiment: Experiment, results: dict[str, Results]) -> str:
    """Return which of the experiment's runs have no result yet, empty where all have one."""
    missing = []
    for method in experiment.methods:
        have = results[method].seeds if method in results else ()
        seeds = [s for s in experiment.seeds if s not in have]
        if seeds:
            missing.append(f"{method} ({name_seeds(seeds)})" if have else method)
    return f" Not run yet: {', '.join(missing)}." if missing else ""


def render(folder: Path = RESULTS) -> str:
    """Return the text of RESULTS.md.

    Raises:
        ResultsError: If result files contradict each other's budgets.
    """
    sections = [HEAD]
    for experiment in EXPERIMENTS.values():
        results = read_results(folder, experiment.name)
        title = f"## {experiment.title}"
        if not results:
            sections.append(f"{title}\n\nNot run yet.")
            continue
        about = (
            f"{experiment.epochs} epochs, {experiment.test_items} held-out items, "
            f"K = {experiment.samples}. {hardware_line(results)}."
            f"{missing_line(experiment, results)}"
        )
        section = SECTIONS[experiment.kind](experiment, results)
        sections.append(f"{title}\n\n{about}\n\n{section}")
    sections += [
        closed_loop_section(folder),
        door_section(folder),
        data_section(folder),
        runtime_section(folder),
        live_section(folder),
        many_section(folder),
        train_section(folder),
        growth_section(folder),
        toy_section(folder),
        published_section(),
    ]
    return "\n\n".join(s.strip() for s in sections) + "\n"


def draw(folder: Path = RESULTS, out: Path = OUT.parent) -> None:
    """Write the pictures that RESULTS.md shows, of what has results."""
    for experiment in EXPERIMENTS.values():
        results = read_results(folder, experiment.name)
        if results and experiment.kind == "subsets":
            draw_errors(out / picture(experiment), in_order(experiment, results))
    draw_growth(folder, out)


def write() -> None:
    """Write RESULTS.md, README's tables and the pictures, and print where.

    Raises:
        ResultsError: If result files contradict each other's budgets.
    """
    write_text(OUT, render())
    write_text(README, filled(README.read_text(encoding="utf-8")))
    draw()
    print(OUT.relative_to(Path.cwd()) if OUT.is_relative_to(Path.cwd()) else OUT)


def main() -> int:
    """Write the files and the pictures; return the exit status."""
    return status_of("tables", write)


if __name__ == "__main__":
    sys.exit(main())
