"""Sections of the evaluation report; the demo's report uses them too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smvae_core.modality import Modality
from smvae_training.evaluate.measures import blind
from smvae_training.evaluate.ratios import REGIONS
from smvae_training.evaluate.records import Records
from smvae_training.evaluate.report.answers import (
    SETUP,
    answers_of,
    doubt_section,
    messages_section,
    sensors_section,
)
from smvae_training.evaluate.report.figures import choose_moments, curves, figure_7
from smvae_training.evaluate.report.html import (
    Section,
    answers_section,
    figure_html,
    render_report,
    table_html,
    text_html,
    with_error,
)
from smvae_training.evaluate.results import TITLE, subtitle
from smvae_training.run import RunPaths
from smvae_training.steps.callbacks import read_metrics

if TYPE_CHECKING:
    from smvae_training.evaluate.episodes import Evaluation

#: Figure 7 beside the report, for a README or a slide.
PICTURE = "figure7.png"
#: Scores without a unit.
PLAIN = (
    *("missing", "r2", "f1", "f1_always"),
    *("unknown", "coverage", "accuracy", "accuracy_of_constant"),
)
UNITS = {"psnr_db": "PSNR [dB]", "ssim": "SSIM", "mae_m": "MAE [m]"}


def write_report(out: Path, evaluation: Evaluation, results: dict[str, Any]) -> Path:
    """Write report.html of an evaluation."""
    sections = evaluation_sections(evaluation, results, out.with_name(PICTURE))
    return render_report(out, title=TITLE, sections=sections, subtitle=subtitle(results))


def evaluation_sections(
    evaluation: Evaluation, results: dict[str, Any], picture: Path | None = None
) -> list[Section]:
    """Return all sections of an evaluation, in reading order; Figure 7 also goes to `picture`."""
    modalities, sensors = evaluation.modalities, results["sensors"]
    sections = [
        pictures_section(evaluation, picture),
        sensors_section(sensors),
        doubt_section(sensors),
        messages_section(results["data"].get("messages", {})),
        summary_section(results),
        ratio_section(results),
        subset_section(results, modalities),
        baseline_section(results, modalities),
        probe_section(results),
        estimates_section(results),
        curves_section(RunPaths(evaluation.run.path).metrics),
        setup_section(results),
    ]
    found = [section for section in sections if section is not None]
    return [answers_section(answers_of(results), found), *found]


def pictures_section(evaluation: Evaluation, picture: Path | None = None) -> Section:
    """Return Figure 7 of the paper for this model; with `picture`, save it as a PNG too."""
    index = choose_moments(evaluation.episodes, evaluation.held_out)
    predictor = evaluation.predict(Records.of(evaluation.episodes, index, len(index)))
    subsets = [s for s in (blind(evaluation.modalities), evaluation.names) if s]
    figure = figure_7(predictor, evaluation.episodes, index, evaluation.modalities, subsets)
    if picture is not None:
        figure.savefig(picture, dpi=80, bbox_inches="tight")
    name = evaluation.episodes.group_names[int(evaluation.episodes.group[index[0]])]
    caption = (
        f"As Figure 7 of the paper. Trajectory {name}, the first held out; {len(index)} moments "
        "spread evenly over it (moved to the first event if none shows it). Left: what was "
        "recorded. Right: decoded posterior means."
    )
    return Section("Pictures", figure_html(figure, caption=caption))


def summary_section(results: dict[str, Any]) -> Section:
    """Return the requirements: how many hold, and the nearest to failing of each rule."""
    rules: dict[str, list[dict[str, Any]]] = {}
    for check in results["checks"]:
        rules.setdefault(check["rule"], []).append(check)
    rows, marks = [], []
    for rule, found in rules.items():
        passed = sum(c["passed"] for c in found)
        worst = max(found, key=lambda c: c["value"] if c["value"] == c["value"] else float("inf"))
        where = ", ".join(worst[k] for k in ("target", "subset", "condition", "region"))
        rows.append(
            [rule, found[0]["requirement"], f"{passed} of {len(found)}", worst["value"], where]
        )
        marks.append([None, None, passed == len(found), None, None])
    header = ["subset holds", "requirement", "hold", "worst", "where"]
    text = text_html(
        "Mean squared error of decoded images over that of the training mean image, on held-out "
        "trajectories, paired per trajectory."
    )
    return Section("Requirements", text + table_html(header, rows, marks=marks))


def ratio_section(results: dict[str, Any]) -> Section:
    """Return the ratio table of every image, mean and standard error over trajectories."""
    verdict = {
        tuple(c[k] for k in ("subset", "target", "condition", "region")): c["passed"]
        for c in results["checks"]
    }
    targets = list(next(iter(results["ratios"].values())))
    some = next(iter(results["ratios"].values()))
    columns = [(c, r) for c in next(iter(some.values()), ()) for r in REGIONS]
    parts = []
    for target in targets:
        rows: list[list[Any]] = []
        marks: list[list[bool | None]] = []
        for subset, found in results["ratios"].items():
            near = results["nearest_record_ratios"][subset][target]["all"]["whole"]
            cells = [found[target][c][r] for c, r in columns]
            rows.append([subset, *(with_error(ratio, 3) for ratio in (*cells, near))])
            marks.append([None, *(verdict[subset, target, c, r] for c, r in columns), None])
        header = ["observed", *(f"{c}, {r}" for c, r in columns), "nearest record: all, whole"]
        parts.append(table_html(header, rows, caption=f"target: {target}", marks=marks))
    text = text_html(
        "Below 1 is better than the training mean image. 'whole' is all pixels, 'varying' the 20 % "
        "with the largest variance over training images; depth counts pixels with a return."
    )
    return Section("Ratios to the mean image", text + "".join(parts))


def subset_section(results: dict[str, Any], modalities: Sequence[Modality]) -> Section:
    """Return all scores of the 15 subsets, one table per target."""
    parts = []
    for modality in modalities:
        scores = {s: found[modality.name] for s, found in results["subsets"].items()}
        keys = [k for k in next(iter(scores.values())) if "log_likelihood" not in k]
        rows = []
        for subset, found in scores.items():
            keys_of = {"mean": "", "standard_error": "_standard_error"}
            each = {k: found[f"log_likelihood_per_dim{v}"] for k, v in keys_of.items()}
            rows.append([subset, with_error(each, 3), *(found[k] for k in keys)])
        header = ["observed", "E[log p(x|z)] per dimension [nats]", *map(_heading, keys)]
        parts.append(table_html(header, rows, caption=f"target: {modality.name}"))
    n, samples = results["data"]["likelihood_records"], results["settings"]["samples"]
    text = text_html(
        f"Errors: decoded posterior mean, {results['data']['scored_records']} records. Likelihoods "
        f"and SSIM: {n} records, {samples} samples each, normalised units, ± standard error over "
        "trajectories."
    )
    return Section("Subsets", text + "".join(parts))


def baseline_section(results: dict[str, Any], modalities: Sequence[Modality]) -> Section:
    """Return the training mean and the nearest training record beside the model."""
    baselines = results["baselines"]
    keys = [(m.name, k) for m in modalities for k in baselines["training_mean"][m.name]]
    rows = [["training mean", *(baselines["training_mean"][n][k] for n, k in keys)]]
    for subset, found in baselines["nearest_record"].items():
        rows.append([f"nearest in {subset}", *(found[n][k] for n, k in keys)])
        ours = results["subsets"][subset]
        rows.append([f"model from {subset}", *(ours[n][k] for n, k in keys)])
    header = ["predicted by", *(f"{n}: {_heading(k)}" for n, k in keys)]
    n = results["data"]["train_records"]
    every = results["data"]["train_every"]
    text = text_html(f"The nearest of {n} training records (every {every}.), by averaged features.")
    return Section("Baselines", text + table_html(header, rows))


def probe_section(results: dict[str, Any]) -> Section:
    """Return the linear probes of all targets."""
    columns: dict[tuple[str, str], None] = {}
    for found in results["probe"].values():
        for target, scores in found.items():
            kept = [k for k in scores if not k.endswith(("records", "_share", "accuracy"))]
            columns |= dict.fromkeys((target, key) for key in kept)
    rows = [
        [subset, *(_numbers(found[target].get(key, "")) for target, key in columns)]
        for subset, found in results["probe"].items()
    ]
    axes = {
        (target, key): " / ".join(found[target][key])
        for found in results["probe"].values()
        for target, key in columns
        if isinstance(found[target].get(key), dict)
    }
    header = [f"{t}: {_heading(k)} {axes.get((t, k), '')}".strip() for t, k in columns]
    text = text_html(
        "Ridge and logistic regression from the posterior mean, trained on training trajectories. "
        "'spread' is what a constant would score, 'f1 always' what a constant yes would."
    )
    table = table_html(["latent mean of", *header], rows)
    return Section("Linear probes", text + table)


def estimates_section(results: dict[str, Any]) -> Section | None:
    """Return what the model's own decoders say of targets; None of a model that has none."""
    estimates = {s: found for s, found in results.get("estimates", {}).items() if found}
    if not estimates:
        return None
    parts = [
        text_html(
            "Decoded from the latent, numbers in their order; over those that are known. 'unknown' "
            "is the share that is not, 'coverage' the share of 90 % intervals that hold, each half "
            "of the held-out trajectories calibrated on the other. 'spread' is what the training "
            "mean would score."
        )
    ]
    for target in next(iter(estimates.values())):
        scores = {subset: found[target] for subset, found in estimates.items()}
        some = next(iter(scores.values()))
        keys = [k for k in some if k != "records"]
        rows = [
            [s, *(" / ".join(f"{v:.3g}" for v in found[k].values()) for k in keys)]
            for s, found in scores.items()
        ]
        header = ["latent of", *map(_heading, keys)]
        names = ", ".join(some["unknown"])
        parts.append(table_html(header, rows, caption=f"{target}: {names}"))
    return Section("Estimates of targets", "".join(parts))


def _numbers(values: Any) -> Any:
    return " / ".join(f"{v:.2f}" for v in values.values()) if isinstance(values, dict) else values


def curves_section(metrics: Path) -> Section | None:
    """Return the training curves, or None where the log has fewer than two rows."""
    figure = curves(read_metrics(metrics))
    return None if figure is None else Section("Training curves", figure_html(figure))


def setup_section(results: dict[str, Any]) -> Section:
    """Return data, split and versions."""
    data = results["data"]
    rows = [[k.replace("_", " "), _listed(v)] for k, v in data.items() if k != "lacking"]
    rows += [[f"lack {name}", share] for name, share in data.get("lacking", {}).items()]
    rows += [[f"seconds: {k}", v] for k, v in results["seconds"].items()]
    rows += [[f"version: {k}", v] for k, v in results["versions"].items()]
    warning = text_html("This split leaks: neighbouring frames stand on both sides.")
    return Section(SETUP, (warning if data["leaks"] else "") + table_html(["", ""], rows))


def _listed(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _heading(key: str) -> str:
    if key in UNITS:
        return UNITS[key]
    if key in PLAIN:
        return key.replace("_", " ")
    measure, _, rest = key.partition("_")
    name, _, unit = rest.rpartition("_")
    words = (measure.replace("rmse", "RMSE"), name, f"[{unit.replace('Nm', 'N m')}]")
    return " ".join(filter(None, words))
