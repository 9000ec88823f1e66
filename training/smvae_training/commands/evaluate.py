"""`smvae evaluate`: episodes and image sets, by what the run was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tyro

from smvae_training.commands.arguments import parse
from smvae_training.commands.tables import table
from smvae_training.evaluate.images.settings import ImageEvaluateConfig
from smvae_training.evaluate.records import EvaluateConfig
from smvae_training.threads import use_cores

EVALUATE_HELP = """Score a run on held-out data; write results.json and report.html with pictures.

Episodes: all subsets and targets, baselines, probes. Image sets (flags under --images): likelihoods
under both proposals with sanity checks, label accuracy and calibration, coherence, entropies.

examples:
  smvae evaluate runs/mnist                              (--images.items 2000 for smaller errors)
  smvae evaluate run --data episodes
  smvae evaluate run --data episodes --out scores --max-records 3000 --likelihood-records 500"""


def evaluate(arguments: list[str], prog: str) -> int:
    """Run `smvae evaluate`."""

    def options(
        run: tyro.conf.Positional[Path],
        config: tyro.conf.OmitArgPrefixes[EvaluateConfig],
        images: ImageEvaluateConfig,
        data: Path | None = None,
        out: Path | None = None,
    ) -> tuple[Path, Path | None, Path | None, EvaluateConfig, ImageEvaluateConfig]:
        """Collect the arguments.

        Args:
            run: Folder written by `smvae train`.
            data: The data that it was trained on; an image set is looked for as in training.
            config: How much is scored of episodes.
            images: How much is scored of image sets.
            out: Folder of results.json and report.html; RUN/evaluation by default.
        """
        return run, data, out, config, images

    run, data, out, config, images = parse(options, arguments, prog, description=EVALUATE_HELP)
    from smvae_training.commands.figures import data_of
    from smvae_training.evaluate.results import REPORT, RESULTS
    from smvae_training.run import RunPaths, load_run

    use_cores()
    loaded = load_run(run)
    found = data_of(loaded, data)
    if loaded.config.data.source == "episodes":
        from smvae_training.evaluate.episodes import evaluate as evaluate_run

        assert found is not None, "episodes are never looked for"
        _print_scores(evaluate_run(run, found, out, config))
    else:
        from smvae_training.evaluate.images.evaluate import evaluate_image_run
        from smvae_training.evaluate.images.sections import score_lines
        from smvae_training.trainer import prepare_data

        records = prepare_data(loaded.config, found)
        print(*score_lines(evaluate_image_run(loaded, records, out, images)), sep="\n")
    folder = out or RunPaths(run).evaluation
    print(f"{folder / REPORT}\n{folder / RESULTS}")
    return 0


def _print_scores(results: dict[str, Any]) -> None:
    """Print the errors of every subset, of images as ratio to the mean's, and which checks hold."""
    from rich.console import Console

    from smvae_training.evaluate.results import headline

    title, rows = headline(results)
    scores = table(title, ("observed", *next(iter(rows.values()))))
    for subset, cells in rows.items():
        scores.add_row(subset, *cells.values())
    Console().print(scores)
    passed = sum(check["passed"] for check in results["checks"])
    print(f"requirements that hold: {passed} of {len(results['checks'])}")
