"""The tables of README, made from the JSON files of the results: `python -m benchmarks.tables`.

Each stands between two comments, `<!-- table NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.closed_loop.report import ALIVE, paired_difference, seated_share
from benchmarks.closed_loop.store import Store
from benchmarks.paper.job import RESULTS
from benchmarks.paper.variants import METHODS
from benchmarks.tables.markdown import table
from benchmarks.tables.paired import Results, paired_values, read_results
from benchmarks.tables.pairs import DEFAULT, QUANTITIES
from benchmarks.tables.robot import SUBSETS
from smvae_training.evaluate.likelihood.summary import reach, standard_error

README = RESULTS.parent.parent / "README.md"

#: What a reader calls a failure. Where a camera is wrong, the node's default leaves it out.
FAILURES = {
    ALIVE: "all alive",
    "rgb lost": "RGB lost",
    "depth lost": "depth lost",
    "cameras lost midway": "both cameras lost midway",
    "cameras lost": "both cameras lost from the start",
    "rgb noisy": "RGB noisy",
    "lens half covered": "half of the lens covered",
}
#: The learned baseline that stands beside ours: sensors side by side, dropped in training.
BASELINE = "concat"
AGES_S = (0.25, 0.5, 1.0, 2.0)


def pegs(folder: Path) -> str:
    """Return the pegs seated by what is lost, and the paired lead over a learned baseline."""
    ours, baseline = _store(folder, "ours"), _store(folder, BASELINE)
    alone, truth = _store(folder, "alone"), _store(folder, "ceiling")
    rows = [["operator alone", _seated(alone, ALIVE), ""]]
    for failure, name in FAILURES.items():
        lead, half, count = paired_difference(ours, baseline, failure, failure)
        ahead = f"{100 * lead:+.0f} ± {100 * half:.0f} ({count})"
        rows.append([f"with latents, {name}", _seated(ours, failure), _marked(ahead, lead)])
    rows.append(["with the truth", _seated(truth, ALIVE), ""])
    return table(["who commands", "pegs seated", "points ahead of a plain network"], rows)


def cameras(folder: Path) -> str:
    """Return the error of the colour image by the time since every camera died."""
    bent = folder / "outage-bent"
    runs = [_read(p) for p in sorted(bent.glob("outage-bent-observed.seed*.json"))]
    held = _rows(_read(folder / "outage-hold.json")["rows"], "rgb")
    robot = [_rows(run["rows"], "rgb") for run in runs]
    humanoid = _read(folder / "outage-humanoid.seed0.json")
    real = _rows([*humanoid["rows"], *humanoid["held"]], "cam_high")
    rows = []
    for age_s in AGES_S:
        frame = f"last frame held for {age_s:g} s"
        ours = [each[f"rgb+depth lost for {age_s:g} s"] for each in robot]
        now = [each["force+action of now"] for each in robot]
        cells = [float(np.mean(ours)), float(np.mean(now)), held[frame]]
        seen = [real[f"cam_high lost for {age_s:g} s"], real["joints+action of now"], real[frame]]
        rows.append([f"{age_s:g} s", *_no_better(cells), *_no_better(seen)])
    names = ("with memory", "without", "last frame held")
    columns = [f"{robot}: {name}" for robot in ("simulated", "humanoid") for name in names]
    return table(["cameras dead for", *columns], rows)


def likelihoods(folder: Path) -> str:
    """Return where our model leads and loses, beside the best peer of each measure."""
    rows: list[list[str]] = []
    for title, name in (("MNIST", "mnist-binarised"), ("Fashion-MNIST", "fashion-grey")):
        results = read_results(folder, name)
        for key, quantity in (("image+label/joint", "joint"), ("image/marginal", "marginal")):
            rows.append(_likelihood(results, f"{title}, {QUANTITIES[quantity]} [nats]", [key]))
        rows.append(_score(results, f"{title}, label from the image", ("labels", "accuracy")))
    rows.append(_score(results, "Fashion-MNIST, image of the right class from a label",
                       ("coherence", "label_to_image")))  # fmt: skip
    results = read_results(folder, "simulated-robot")
    keys = [f"{subset}/predictive" for subset in SUBSETS]
    rows.append(_likelihood(results, "simulated robot, mean of 15 subsets [nats]", keys))
    rows.append(_likelihood(results, "simulated robot, all four sensors [nats]", keys[-1:]))
    return table(["measure", "smvae", "best peer", "smvae minus that"], rows)


TABLES: Mapping[str, Callable[[Path], str]] = {
    "pegs": pegs,
    "cameras": cameras,
    "likelihoods": likelihoods,
}


def filled(text: str, folder: Path = RESULTS) -> str:
    """Return a page with the tables that it marks made anew.

    Raises:
        KeyError: If it marks a table that is not made here.
    """

    def made(mark: re.Match[str]) -> str:
        return f"{mark[1]}\n{TABLES[mark[2]](folder)}\n{mark[3]}"

    return re.sub(r"(<!-- table (\w+) -->).*?(<!-- end -->)", made, text, flags=re.S)


def _store(folder: Path, method: str) -> Store:
    return Store(folder / f"closed-loop-{method}.json", {})


def _seated(store: Store, failure: str) -> str:
    """Return how many were seated of how many, and the 95 % interval of the share."""
    return str(seated_share(store, failure))


def _marked(text: str, lead: float) -> str:
    """Return a difference, in bold where ours is not ahead."""
    return f"**{text}**" if lead <= 0 else text


def _no_better(errors: Sequence[float]) -> list[str]:
    """Return errors, the first one ours; in bold those than which ours is no smaller."""
    ours, *others = (f"{error:.2f}" for error in errors)
    return [ours, *(f"**{other}**" if float(other) <= float(ours) else other for other in others)]


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _rows(rows: Sequence[Mapping[str, Any]], image: str) -> dict[str, float]:
    """Return an image's error over that of the mean image, by condition."""
    return {row["condition"]: row["errors"][image]["mean"] for row in rows}


def _peers(results: Mapping[str, Results]) -> Iterator[Results]:
    return (found for name, found in results.items() if METHODS[name].peer)


def _likelihood(results: Mapping[str, Results], title: str, keys: Sequence[str]) -> list[str]:
    """Return a row: mean log likelihood of ours and of the best peer, and their difference.

    Its 95 % interval is over seeds.
    """
    ours = results[DEFAULT]
    able = [found for found in _peers(results) if all(key in found.items for key in keys)]

    def mean_of(found: Results) -> float:
        return float(np.mean([found.items[key] for key in keys]))

    best = max(able, key=mean_of)
    each = np.mean([paired_values(ours, best, key) for key in keys], axis=0).mean(axis=1)
    mean, half = float(each.mean()), reach(len(each)) * standard_error(each)
    digits = 0 if abs(mean) > 100 else 2
    shown = _marked(f"{mean:+.{digits}f} ± {half:.{digits}f}", mean)
    told = [f"{mean_of(ours):.{digits}f}", f"{mean_of(best):.{digits}f} ({best.method})"]
    return [title, *told, shown]


def _score(results: Mapping[str, Results], title: str, path: Sequence[str]) -> list[str]:
    """Return a row: a share between 0 and 1, mean over seeds."""

    def share(found: Results) -> float:
        values = []
        for numbers in found.numbers:
            score: Any = numbers["scores"]
            for key in (*path, "mean"):
                score = score[key]
            values.append(float(score))
        return float(np.mean(values))

    ours, best = share(results[DEFAULT]), max(_peers(results), key=share)
    lead = ours - share(best)
    shown = _marked(f"{lead:+.3f}", lead)
    return [title, f"{ours:.3f}", f"{share(best):.3f} ({best.method})", shown]
