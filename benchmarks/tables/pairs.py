"""Tables of a data set of an image and its label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.paper.experiments import Experiment
from benchmarks.paper.variants import METHODS
from benchmarks.tables.markdown import spell, table_of
from benchmarks.tables.paired import Results, difference, paired_name, summarise
from smvae_training.evaluate.likelihood.summary import standard_error

DEFAULT = "smvae"
PROPOSALS = ("image+label", "image")
MODELS_OWN = "log p(y\\|x) of the model"
_ABOUT_LABELS = (
    f"'{MODELS_OWN}' is log p(x,y) - log p(x), both by q(z\\|x). This is Bayes' rule with prior "
    "and decoders alone. Where draws of q(z\\|x) name the label better, the encoder has learnt to "
    "classify beyond its own model."
)
QUANTITIES = {"joint": "log p(x,y)", "marginal": "log p(x)", "conditional": "log p(x\\|y)"}
_KEYS = [f"{p}/{q}" for p in PROPOSALS for q in QUANTITIES]
#: (results, key of the likelihood) -> cell.
Cell = Callable[[Results, str], str]


def pair_section(experiment: Experiment, results: dict[str, Results]) -> str:
    """Return the tables of a data set of an image and a label."""
    tried = [m for m in results if m not in experiment.methods]
    ordered = [results[m] for m in (*experiment.methods, *tried) if m in results]

    def likelihoods(first: str, name: Callable[[Results], str], cell: Cell) -> str:
        def of(key: str) -> Callable[[Results], str]:
            return lambda found: cell(found, key) if key in found.items else "-"

        keys = zip(likelihood_columns(), _KEYS, strict=True)
        columns = {first: name} | {title: of(key) for title, key in keys}
        others = [found for found in ordered if found.method != DEFAULT or first == "method"]
        return table_of(others, columns)

    parts = [likelihoods("method", label, lambda f, key: spell(summarise(f.items[key])))]
    if DEFAULT in results:
        ours = results[DEFAULT]
        parts.append(
            f"`{DEFAULT}` minus each, paired by seed and item (± over items / over seeds):\n\n"
            + likelihoods(
                "minus",
                lambda found: paired_name(ours, found),
                lambda found, key: spell(difference(ours, found, key), sign=True),
            )
        )
        parts.append(_verdict(results))
    return "\n\n".join([*parts, quality_table(ordered), settings_table(ordered)])


def _verdict(results: dict[str, Results]) -> str:
    """Return where a peer wins, in words; nothing is left out."""
    ours, lines = results[DEFAULT], []
    peers = [r for m, r in results.items() if METHODS[m].peer]
    if not peers:
        return "No peer has a result yet."
    for proposal in PROPOSALS:
        for quantity, title in QUANTITIES.items():
            key = f"{proposal}/{quantity}"
            gaps = {r.method: difference(ours, r, key) for r in peers if key in r.items}
            best = min(gaps, key=lambda method: np.nan_to_num(gaps[method].mean, nan=-np.inf))
            won = "ahead of" if gaps[best].mean > 0 else "LOSES to"
            lines.append(
                f"- {title}, q(z\\|{given_name(proposal)}): {won} the best peer, "
                f"{paired_name(ours, results[best])}, by {spell(gaps[best], sign=True)}"
            )
    return "\n".join(lines)


def settings_table(ordered: Sequence[Results]) -> str:
    """Return budgets, learning rates, effective samples, checks and hardware."""
    return table_of(
        ordered,
        {
            "method": lambda f: f.method,
            "what": lambda f: METHODS[f.method].about if f.method in METHODS else "",
            "learning rate": _learning_rates,
            "steps x batch": lambda f: "{steps} x {batch_size}".format(**f.numbers[0]["budget"]),
            "embedding / decoder passes per step": lambda f: "{embedding:g} / {decoder:g}".format(
                **f.numbers[0]["budget"]["passes"]
            ),
            "training seconds, all seeds": lambda f: (
                f"{sum(n['budget']['training_seconds'] for n in f.numbers):.0f}"
            ),
            "median effective samples of K": _effective,
            "checks that hold": _checks,
            "code": lambda f: ", ".join(sorted({n["code"] for n in f.numbers})),
        },
    )


def _checks(found: Results) -> str:
    passed = [c["passed"] for n in found.numbers for c in n["scores"]["checks"]]
    return f"{sum(passed)} of {len(passed)}"


def _learning_rates(found: Results) -> str:
    """Return the rates of all seeds, and those that were better at a tenth of it but diverged."""
    used = sorted({n["budget"]["lr"] for n in found.numbers})
    diverged = sorted({lr for n in found.numbers for lr in n["budget"].get("diverged", {})})
    text = ", ".join(f"{lr:g}" for lr in used)
    return f"{text} ({', '.join(diverged)} diverged)" if diverged else text


def _effective(found: Results) -> str:
    proposals = found.numbers[0]["scores"].get("likelihoods", {}).get("proposals", {})
    values = [proposals.get(proposal) for proposal in PROPOSALS]
    return " / ".join(f"{v['ess_joint']['median']:.1f}" if v else "-" for v in values)


def label(found: Results) -> str:
    """Return the method and how many seeds of it there are."""
    count = len(found.seeds)
    return f"{found.method} ({count} seed{'s' if count > 1 else ''})"


def given_name(proposal: str) -> str:
    """Return a proposal in the paper's letters, 'x,y' or 'x'."""
    return proposal.replace("image", "x").replace("label", "y").replace("+", ",")


def likelihood_columns() -> list[str]:
    """Return the heading of each likelihood under each proposal."""
    return [f"{name}, q(z\\|{given_name(p)})" for p in PROPOSALS for name in QUANTITIES.values()]


def quality_table(ordered: Sequence[Results]) -> str:
    """Return label accuracy, calibration, coherence and entropies, means over seeds."""
    paths: dict[str, tuple[str, ...]] = {
        "label accuracy from the image": ("labels", "accuracy", "mean"),
        "its calibration error": ("labels", "calibration_error"),
        "log p(y\\|x) by draws of q(z\\|x)": ("labels", "log_score", "mean"),
        MODELS_OWN: (),
        "coherence label to image": ("coherence", "label_to_image", "mean"),
        "coherence of joint draws": ("coherence", "joint_from_prior", "mean"),
        "share of pairs whose entropy falls or stays": ("entropies", "share_not_rising"),
    }

    def of(path: Sequence[str]) -> Callable[[Results], str]:
        return lambda found: mean_of_seeds(found, path) if path else _models_own(found)

    columns: dict[str, Callable[[Results], str]] = {"method": lambda found: found.method}
    columns |= {title: of(path) for title, path in paths.items()}
    return f"{table_of(ordered, columns)}\n\n{_ABOUT_LABELS}"


def _models_own(found: Results) -> str:
    """Return log p(x,y) - log p(x), both by the same draws of q(z|x)."""
    if "image/joint" not in found.items:
        return "-"
    return _over_seeds((found.items["image/joint"] - found.items["image/marginal"]).mean(axis=1))


def mean_of_seeds(found: Results, path: Sequence[str]) -> str:
    """Return one of the scores, mean and standard error over seeds."""
    values = [_get(n["scores"], path) for n in found.numbers]
    return _over_seeds([v for v in values if v is not None])


def _over_seeds(values: Sequence[float] | NDArray[np.float64]) -> str:
    if not len(values):
        return "-"
    error = standard_error(values)
    return f"{np.mean(values):.3f}" + (f" ± {error:.3f}" if error == error else "")


def _get(data: Any, path: Sequence[str]) -> float | None:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return None if data is None else float(data)
