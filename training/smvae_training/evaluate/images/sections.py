"""Sections of an image-set run's report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smvae_training.evaluate.images.pictures import pictures
from smvae_training.evaluate.images.reliability import reliability_figure
from smvae_training.evaluate.report.html import (
    Section,
    columns_html,
    figure_html,
    percent,
    render_report,
    table_html,
    text_html,
    with_error,
)
from smvae_training.evaluate.report.sections import curves_section, setup_section
from smvae_training.evaluate.results import TITLE, subtitle
from smvae_training.run import RunPaths

if TYPE_CHECKING:
    from smvae_training.evaluate.images.evaluate import ImageEvaluation

LIKELIHOODS = {"joint": "log p(x,y)", "marginal": "log p(x)", "conditional": "log p(x|y)"}


def write_report(out: Path, evaluation: ImageEvaluation, results: dict[str, Any]) -> Path:
    """Write report.html of an evaluation."""
    line = subtitle(results, f"{results['data']['name']}, ")
    found = sections(evaluation, results)
    return render_report(out, title=TITLE, sections=found, subtitle=line)


def sections(evaluation: ImageEvaluation, results: dict[str, Any]) -> list[Section]:
    """Return all sections in reading order."""
    scores = (
        [likelihood_section, label_section, coherence_section]
        if evaluation.is_described_image
        else [subset_section, error_section]
    )
    makers: list[Callable[[dict[str, Any]], Section]] = [*scores, entropy_section, checks_section]
    found = [pictures_section(evaluation), *(make(results) for make in makers)]
    if evaluation.calibration is not None:
        figure = figure_html(reliability_figure(evaluation.calibration))
        found = [Section(s.title, s.html + figure) if s.title == LABELS else s for s in found]
    curves = curves_section(RunPaths(evaluation.run.path).metrics)
    return [*found, *([curves] if curves else []), setup_section(results)]


def pictures_section(evaluation: ImageEvaluation) -> Section:
    """Return t-SNE and cross-generation."""
    config = evaluation.config
    found = pictures(evaluation.run, evaluation.records, points=config.tsne_items, seed=config.seed)
    return Section("Pictures", "".join(figure_html(p.draw(), caption=p.caption) for p in found))


def likelihood_section(results: dict[str, Any]) -> Section:
    """Return the paper's Table 1 for this run."""
    found, data = results["likelihoods"], results["data"]
    rows = {f"q(z|{name})": values for name, values in found["proposals"].items()}
    columns: dict[str, Callable[[dict[str, Any]], Any]] = {
        **{title: _cell(key) for key, title in LIKELIHOODS.items()},
        "ESS of log p(x,y)": lambda v: f"{v['ess_joint']['median']:.1f}",
        "ESS of log p(x)": lambda v: f"{v['ess_marginal']['median']:.1f}",
    }
    settings = found["settings"]
    text = (
        f"x is the {found['x']}, y the {found['y']}. Nats per item, mean ± standard error over "
        f"{found['items']} of {data['held_out_records']} held-out items, evenly spaced. "
        f"{settings['samples']} importance samples per item and proposal; ESS: how many of them "
        f"effectively count (median). log p(y) = {with_error(found['log_p_y'])} from "
        f"{settings['prior_samples']} draws of the prior. No training weights in any number."
    )
    table = columns_html("proposal", rows, columns)
    return Section("Likelihoods", text_html(f"{text}\n\n{_pixels(results)}") + table)


def _cell(key: str) -> Callable[[dict[str, Any]], str]:
    return lambda values: with_error(values[key])


def _pixels(results: dict[str, Any]) -> str:
    data, ceiling = results["data"], results["likelihoods"]["ceiling"]["mean"]
    if data["pixels"] == "binarised":
        return "Pixels: binarised, one fixed test set. Never compare with numbers of grey pixels."
    return (
        f"Pixels: {data['pixels']}, scored as Bernoulli probabilities; perfect pixels would have "
        f"log p(x) = {ceiling:.2f}. Never compare with numbers of binarised pixels."
    )


LABELS = "Labels from images"


def label_section(results: dict[str, Any]) -> Section:
    """Return accuracy and calibration of p(y given x)."""
    found = results["calibration"]
    text = text_html(
        f"p({found['y']} given {found['x']}), {found['settings']['samples']} samples of the "
        f"posterior, {found['items']} held-out items. Expected calibration error over "
        f"{found['bins']} bins; log score: mean log p of the truth, nats."
    )
    rows = {found["y"]: found} | {
        field.replace("_", " "): values for field, values in found.get("by_attribute", {}).items()
    }
    table = columns_html(
        "",
        rows,
        {
            "accuracy": lambda v: percent(v["accuracy"]),
            "calibration error": lambda v: percent(v["calibration_error"]),
            "log score": lambda v: with_error(v["log_score"]) if "log_score" in v else None,
        },
    )
    return Section(LABELS, text + table)


def coherence_section(results: dict[str, Any]) -> Section:
    """Return how often generated images show what they should."""
    found = results["coherence"]
    if "missing" in found:
        return Section("Coherence", text_html(f"Not measured: {found['missing']}."))
    text = text_html(
        "Images decoded from samples, judged by a classifier of real images that is right for "
        f"{percent(found['classifier_accuracy'])} of {found['classifier_tested_on']}. Label to "
        f"image: how many of {found['samples_per_class']} images drawn from each class show it. "
        "From the prior: how often image and label decoded from one latent agree."
    )
    rows = [
        ["label to image", percent(found["label_to_image"])],
        ["image and label from the prior", percent(found["joint_from_prior"])],
    ]
    each = found["label_to_image_by_class"]
    share = found["labels_from_prior"]
    by_class = [
        ["label to image", *(f"{100 * v:.0f} %" for v in each.values())],
        ["of labels drawn from the prior", *(f"{100 * share[c]:.0f} %" for c in each)],
    ]
    tables = table_html(["", "coherent"], rows) + table_html(["by class", *each], by_class)
    return Section("Coherence", text + tables)


def entropy_section(results: dict[str, Any]) -> Section:
    """Return the entropy of the posterior given more and more."""
    found = results["entropy"]
    rows = [[s, with_error(v) if v else None] for s, v in found["subsets"].items()]
    by_count = [[n, with_error(v)] for n, v in found["by_count"].items()]
    share = found["share_not_rising"]
    text = text_html(
        f"Entropy of q(z given a subset), nats, {found['items']} held-out items. It falls or stays "
        f"when a modality is added in {percent(share)} of all items and pairs (subset, subset "
        f"and one more); largest rise {found['largest_rise']:.3g} nats."
    )
    pairs = [[p, percent(v)] for p, v in found["pairs_not_rising"].items()]
    tables = [table_html(["observed", "entropy"], rows[:MOST_ROWS])]
    if len(rows) > MOST_ROWS:
        tables = [table_html(["modalities observed", "entropy, mean over subsets"], by_count)]
    if len(pairs) <= MOST_ROWS:
        tables.append(table_html(["added", "falls or stays"], pairs))
    return Section("Entropy of the posterior", text + "".join(tables))


#: Longer tables stay in results.json.
MOST_ROWS = 20


def subset_section(results: dict[str, Any]) -> Section:
    """Return the predictive likelihoods of the scored subsets."""
    found = results["likelihoods"]
    settings = found["settings"]
    scored = {name: values for name, values in found["subsets"].items() if values}
    names = list(next(iter(scored.values()))["each"])
    table = columns_html(
        "observed",
        {_shorten(subset, names): values for subset, values in scored.items()},
        {
            "predictive": _cell("predictive"),
            "evidence": _cell("evidence"),
            **{f"E log p({n}|z)": _expected(n) for n in names},
        },
    )
    text = text_html(
        f"Nats per item, {found['items']} held-out items, evenly spaced, {settings['samples']} "
        "samples of each subset's posterior, no training weights. 'predictive' is log p of all "
        "modalities given the subset, 'evidence' log p of the subset itself by importance "
        "sampling; both rest on the best few samples, so only equal sample sizes compare. The "
        "rest: mean of log p(x_m given z)."
    )
    return Section("Likelihoods of subsets", text + table)


def _expected(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda values: f"{values['expected'][name]['mean']:.1f}"


def error_section(results: dict[str, Any]) -> Section:
    """Return the errors of decoded means."""
    found = results["errors"]
    names = list(found["training_mean"])
    rows = [
        ["training mean image", *(f"{found['training_mean'][n]['psnr_db']:.2f}" for n in names)]
    ]
    for subset, values in found["subsets"].items():
        if values is not None:
            cells = (f"{values[n]['psnr_db']:.2f} ({values[n]['ratio']:.3f})" for n in names)
            rows.append([_shorten(subset, names), *cells])
    text = text_html(
        f"PSNR in dB of decoded posterior means, {found['items']} held-out items; in brackets the "
        "mean squared error over that of the training mean image, so below 1 is better than it."
    )
    return Section("Errors", text + table_html(["observed", *names], rows))


def _shorten(subset: str, names: list[str]) -> str:
    return "all" if set(subset.split("+")) >= set(names) and len(names) > 1 else subset


def checks_section(results: dict[str, Any]) -> Section:
    """Return what no correct evaluation can violate."""
    rows, marks = [], []
    for check in results["checks"]:
        rows.append([check["name"], check["worst"], check["tolerance"], check["passed"]])
        marks.append([None, None, None, bool(check["passed"])])
    text = text_html(
        "Inequalities that hold for every correct estimate, worst over items. An evaluation that "
        "fails one stops with an error."
    )
    header = ["check", "worst", "at most", "holds"]
    return Section("Sanity checks", text + table_html(header, rows, marks=marks))


def score_lines(results: dict[str, Any]) -> list[str]:
    """Return the most important numbers, a line each, for the terminal."""
    found, lines = results["likelihoods"], []
    if "proposals" in found:
        for name, values in found["proposals"].items():
            numbers = (f"{title} {with_error(values[k])}" for k, title in LIKELIHOODS.items())
            lines.append(f"q(z|{name}): {', '.join(numbers)}")
        labels = results["calibration"]
        error = f"calibration error {percent(labels['calibration_error'])}"
        lines.append(f"{labels['y']} from {labels['x']}: {percent(labels['accuracy'])}, {error}")
    else:
        for subset, values in found["subsets"].items():
            if values is not None:
                lines.append(f"log p(all|{subset}): {with_error(values['predictive'])}")
    share = results["entropy"]["share_not_rising"]
    lines.append(f"entropy falls or stays with a further modality: {percent(share)}")
    passed = sum(check["passed"] for check in results["checks"])
    return [*lines, f"sanity checks that hold: {passed} of {len(results['checks'])}"]
