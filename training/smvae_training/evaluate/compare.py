"""Evaluated runs side by side: each one's errors over the first one's, paired by held-out group."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smvae_core.errors import SMVAEError, one_line
from smvae_core.what_is import what_is
from smvae_training.evaluate.likelihood.summary import reach
from smvae_training.evaluate.report.html import (
    Answer,
    Section,
    answers_section,
    figure_html,
    render_report,
    table_html,
    text_html,
    with_error,
)
from smvae_training.evaluate.results import RESULTS
from smvae_training.evaluate.sensor_value import CONSTANT, Errors, mean_with_error
from smvae_training.run import RunPaths

FORMAT = 1
#: Beside the subsets that the runs share: all sensors of each, and the mean over those subsets.
EACH_ALL, MEAN = "all that each has", "mean of subsets"
OVERALL, TARGETS, LEFT_OUT = "Overall", "Every target and subset", "What was left out"


class CompareError(SMVAEError, ValueError):
    """Runs that cannot be compared; says why, and what would be right."""


def compare(runs: Sequence[Path]) -> dict[str, Any]:
    """Compare evaluated runs with the first of them on the same held-out records.

    Args:
        runs: Folders of runs or of evaluations, or results.json files.

    Returns:
        `targets` holds target -> subset -> run -> by which share its error is larger than the first
        run's: mean and standard error over groups, negative is better. `overall` the same over all
        targets, each with the mean of its subsets. `left_out` says what could not be compared.

    Raises:
        CompareError: If a run was not evaluated, or not on the same records.
    """
    if len(runs) < 2:
        raise CompareError(f"two evaluated runs are needed, got {len(runs)}")
    results = [_read(path) for path in runs]
    labels = _labels(runs)
    first, *others = (r["groups"] for r in results)
    for label, groups in zip(labels[1:], others, strict=True):
        _check_groups(labels[0], first, label, groups)
    targets, left_out = _shared_targets(labels, [first, *others])
    subsets = _shared_subsets([first, *others])
    own = [_all_sensors(r) for r in results]
    found: dict[str, dict[str, Any]] = {}
    overall: dict[str, Any] = {}
    for label, groups, whole in zip(labels[1:], others, own[1:], strict=True):
        means = []
        for target in targets:
            of_all = {}
            if own[0] != whole:
                of_all = _known({EACH_ALL: _ratios(first, groups, target, own[0], whole)})
            ratios = _known({s: _ratios(first, groups, target, s, s) for s in subsets})
            if not ratios and not of_all:
                continue
            means.append(_mean(list((ratios or of_all).values())))
            for subset, each in {MEAN: means[-1], **of_all, **ratios}.items():
                rise = mean_with_error(each - 1.0)
                found.setdefault(target, {}).setdefault(subset, {})[label] = rise
        overall[label] = mean_with_error(_mean(means) - 1.0 if means else ())
    if not found:
        raise CompareError(f"{' and '.join(labels)} share no subset of sensors for any target")
    return {
        "format": FORMAT,
        "reference": labels[0],
        "runs": {label: str(path) for label, path in zip(labels, runs, strict=True)},
        "groups": len(first["names"]),
        "records": sum(first["records"]),
        "overall": overall,
        "targets": found,
        "left_out": left_out,
    }


def _mean(ratios: Sequence[Errors]) -> Errors:
    """Return the mean (G,) of ratios (G,) over those that a group has; NaN where it has none."""
    rows = np.stack(ratios)
    known = np.isfinite(rows)
    total = np.where(known, rows, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def _known(ratios: Mapping[str, Errors]) -> dict[str, Errors]:
    """Return the ratios that any group has."""
    return {name: each for name, each in ratios.items() if np.isfinite(each).any()}


def _read(path: Path) -> dict[str, Any]:
    """Return the results of a run's evaluation."""
    places = [path, path / RESULTS, RunPaths(path).evaluation / RESULTS]
    file = next((p for p in places if p.is_file()), None)
    if file is None:
        if not RunPaths(path).config.is_file():
            what = "expected a run that `smvae evaluate` has scored"
            raise CompareError(f"{path}: {what}, got {what_is(path)}")
        raise CompareError(
            f"{path}: no evaluation in it; `smvae evaluate {path} --data EPISODES` makes one"
        )
    try:
        results = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as err:
        raise CompareError(f"{file}: is no results.json: {one_line(err)}") from err
    if "groups" not in results or "sensors" not in results:
        raise CompareError(
            f"{file}: has no errors by group: it is of an image set, or of an older version; "
            "evaluate the run again"
        )
    return results


def _labels(runs: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that tell them apart."""
    parts = [path.resolve().parts for path in runs]
    longest = max(map(len, parts))
    for count in range(1, longest + 1):
        labels = ["/".join(p[-count:]) for p in parts]
        if len(set(labels)) == len(labels):
            return labels
    raise CompareError(f"the same run twice: {', '.join(map(str, runs))}")


def _check_groups(
    label: str, first: Mapping[str, Any], other_label: str, other: Mapping[str, Any]
) -> None:
    if first["names"] != other["names"]:
        apart = sorted(set(first["names"]) ^ set(other["names"]))
        shown = ", ".join(apart[:3]) + (", ..." if len(apart) > 3 else "")
        raise CompareError(
            f"{label} and {other_label} were held to other groups ({shown}): train both with the "
            "same data, --data.held-out and --data.split-seed"
        )
    if first["records"] != other["records"]:
        counts = f"{sum(first['records'])} and {sum(other['records'])}"
        raise CompareError(
            f"{label} and {other_label} were scored on other records of the same groups ({counts}):"
            " evaluate both with the same --max-records"
        )


def _shared_targets(
    labels: Sequence[str], groups: Sequence[Mapping[str, Any]]
) -> tuple[list[str], dict[str, str]]:
    """Return the targets whose truth is the same in all runs, and why others are left out."""
    found, left_out = [], {}
    for target in dict.fromkeys(name for g in groups for name in g["truth"]):
        lacking = [n for n, g in zip(labels, groups, strict=True) if target not in g["truth"]]
        if lacking:
            left_out[target] = f"{', '.join(lacking)} does not predict it"
        elif len({g["truth"][target] for g in groups}) > 1:
            left_out[target] = "its recorded values differ: other records, another size or unit"
        else:
            found.append(target)
    if not found:
        said = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise CompareError(f"{' and '.join(labels)} have no target in common: {said}")
    return found, left_out


def _shared_subsets(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    first, *rest = (g["errors"] for g in groups)
    return [s for s in first if s != CONSTANT and all(s in errors for errors in rest)]


def _all_sensors(results: Mapping[str, Any]) -> str:
    return "+".join(results["sensors"]["loss"])


def _ratios(
    first: Mapping[str, Any], other: Mapping[str, Any], target: str, subset: str, other_subset: str
) -> Errors:
    """Return the errors of a run over the first one's, (G,); NaN where either has none."""
    nothing = [np.nan] * len(first["names"])
    theirs, ours = (
        np.array(run["errors"].get(label, {}).get(target, nothing), np.float64)  # null becomes NaN
        for run, label in ((first, subset), (other, other_subset))
    )
    return ours / np.maximum(theirs, 1e-12)


def verdict(rise: Mapping[str, Any]) -> bool | None:
    """Return whether a run is better (True) or worse (False), None = within chance."""
    mean, half = rise["mean"], reach(rise["groups"]) * rise["standard_error"]
    if not np.isfinite([mean, half]).all() or abs(mean) <= half:
        return None
    return bool(mean < 0.0)


def in_words(rise: Mapping[str, Any]) -> str:
    """Return a rise in per cent, with its error."""
    return f"{with_error(rise, 1, 100.0)} %"


def over_groups(found: Mapping[str, Any]) -> str:
    """Return over how many groups a comparison is."""
    return f"{found['groups']} held-out group{'s' * (found['groups'] != 1)}"


def sentence(label: str, rise: Mapping[str, Any], reference: str) -> str:
    """Return what is said of a run beside the first one."""
    if np.isfinite(rise["mean"]) and not np.isfinite(rise["standard_error"]):
        return (
            f"whether {label} is better than {reference} is not known: its error differs by "
            f"{in_words(rise)}, and one held-out group tells nothing of chance."
        )
    said = {True: "better than", False: "worse than", None: "no different, beyond chance, from"}
    return f"{label} is {said[verdict(rise)]} {reference}: its error differs by {in_words(rise)}."


def write_comparison(out: Path, found: Mapping[str, Any]) -> Path:
    """Write the comparison as one HTML file."""
    from smvae_training.evaluate.report.figures import rises

    reference, labels = found["reference"], list(found["overall"])
    sections = [Section(OVERALL, figure_html(rises(found["overall"])))]
    parts = [
        text_html(
            f"By how much the error is larger than that of {reference} [%]: mean ± standard error "
            f"over {over_groups(found)}, paired; negative is better. A mark stands "
            "where the 95 % interval of the difference does not hold 0."
        )
    ]
    for target, subsets in found["targets"].items():
        rows = [
            [subset, *(in_words(of[n]) if n in of else "" for n in labels)]
            for subset, of in subsets.items()
        ]
        marks = [
            [None, *(verdict(of[n]) if n in of else None for n in labels)]
            for of in subsets.values()
        ]
        header = ["observed", *labels]
        parts.append(table_html(header, rows, caption=f"target: {target}", marks=marks))
    sections.append(Section(TARGETS, "".join(parts)))
    if found["left_out"]:
        sections.append(
            Section(LEFT_OUT, table_html(["target", "why"], list(found["left_out"].items())))
        )
    answers = [
        Answer(
            question=f"Is {label} better?", text=sentence(label, rise, reference), section=OVERALL
        )
        for label, rise in found["overall"].items()
    ]
    return render_report(
        out,
        title="Set Multimodal VAE: comparison",
        subtitle=f"{', '.join(labels)} beside {reference}, {found['records']} held-out records",
        sections=[answers_section(answers, sections), *sections],
    )
