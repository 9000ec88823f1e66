"""The answers at the top of a report: what they are made of, and where their links lead."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from smvae_core.modality import subset_name
from smvae_core.presets import vision_touch
from smvae_datasets.dataset import Target
from smvae_training.evaluate.report.answers import (
    answers_of,
    doubt_section,
    messages_section,
    sensor_answers,
    sensors_section,
)
from smvae_training.evaluate.report.html import Answer, Section, answers_section
from smvae_training.evaluate.sensor_value import (
    CONSTANT,
    SensorValue,
    constant_of,
    sensor_errors,
    target_errors,
    telling_subsets,
)

NAMES = ("a", "b", "c")
GROUPS = np.repeat(np.arange(6, dtype=np.int32), 20)
RNG = np.random.default_rng(0)


def value_of(*, without_a: float = 2.0, spread: float = 0.2) -> SensorValue:
    """Return a model that needs a, gains nothing from b and c, and knows 'goal' too."""
    value = SensorValue(NAMES, GROUPS)
    base = RNG.uniform(0.5, 1.5, len(GROUPS))
    of_group = 1.0 + spread * RNG.standard_normal(6)[GROUPS]
    for subset in telling_subsets(NAMES):
        factor = 1.0 if "a" in subset else without_a * of_group
        for target in ("a", "b", "goal"):
            value.add(subset_name(subset), target, base * factor)
        value.add_unsure(subset_name(subset), np.log(base * factor)[:, None])
        value.add_apart(subset_name(subset), "goal", np.sqrt(base * factor)[:, None])
    for target in ("a", "b", "goal"):
        value.add(CONSTANT, target, np.full(len(GROUPS), 4.0))
    return value


def results_of(value: SensorValue) -> dict[str, Any]:
    return {"sensors": value.numbers(), "data": {"scored_records": 120, "lacking": {"b": 0.25}}}


def test_what_is_lost_without_a_sensor_is_the_mean_over_other_targets_paired_by_group() -> None:
    sensors = value_of(spread=0.0).numbers()
    assert sensors["loss"]["a"]["mean"] == pytest.approx(1.0)
    assert sensors["loss"]["a"]["standard_error"] == pytest.approx(0.0, abs=1e-12)
    assert sensors["loss"]["b"]["mean"] == sensors["loss"]["c"]["mean"] == 0.0
    assert sensors["loss"]["a"]["groups"] == 6
    goal = sensors["targets"]["goal"]
    assert goal["without"]["a"]["mean"] == pytest.approx(2.0)
    assert goal["alone"]["b"]["mean"] == pytest.approx(2.0 * goal["alone"]["a"]["mean"])
    assert goal["all"]["mean"] == pytest.approx(0.25, rel=0.1)
    assert sensors["unsure"]["goal"] == pytest.approx(1.0)  # variance is the error itself


def test_a_difference_within_chance_is_no_loss() -> None:
    lose = answers_of(results_of(value_of(without_a=1.02, spread=0.3)))[0].text
    assert re.match(r"[abc], [abc], [abc] \(no rise", lose)
    needed = answers_of(results_of(value_of(without_a=2.0)))[0].text
    assert re.match(r"b, c \(no rise beyond chance\).* a 1?\d\d\.\d ± ", needed)


def test_a_rise_in_three_groups_is_held_to_more_than_two_standard_errors() -> None:
    sensors = value_of().numbers()
    sensors["loss"]["a"] |= {"mean": 0.3, "standard_error": 0.1, "groups": 3}
    assert sensor_answers(sensors)[0].text.startswith("b, c, a (no rise beyond chance)")
    sensors["loss"]["a"]["groups"] = 6
    assert sensor_answers(sensors)[0].text.startswith("b, c (no rise beyond chance)")


def test_intervals_are_tested_on_groups_that_they_were_not_made_of() -> None:
    value = value_of()
    apart = np.where(GROUPS == 0, 10.0, RNG.uniform(0.0, 1.0, len(GROUPS)))[:, None]
    value.add_apart("a", "goal", apart)
    covered = value.numbers()["coverage"]["goal"]["a"]
    others = covered["mean"] * 6 / 5  # the odd group is never inside
    assert others > 0.89
    assert covered["mean"] < 0.84


def test_an_error_of_a_sensor_is_relative_and_nan_where_nothing_was_recorded() -> None:
    force = vision_touch(32)[2]
    truth = force.example(30, 1).astype(np.float32)
    mean = truth.mean(axis=(0, 2), keepdims=True)
    constant = sensor_errors(force, truth, np.broadcast_to(mean, truth.shape))
    assert constant.mean() == pytest.approx(1.0, rel=1e-4)
    assert sensor_errors(force, truth, truth).max() == 0.0
    truth[3] = np.nan
    assert np.isnan(sensor_errors(force, truth, np.zeros_like(truth)))[3]
    image = vision_touch(32)[0]
    black = np.zeros((2, *image.shape), np.float32)
    np.testing.assert_allclose(sensor_errors(image, black, black + 0.5), 0.25)


def test_who_knows_nothing_has_relative_error_one_or_the_variance_of_the_share() -> None:
    place = Target(values=RNG.normal(3.0, 2.0, (500, 2)).astype(np.float32))
    assert target_errors(place, constant_of(place, 500)).mean() == pytest.approx(1.0, rel=1e-6)
    touch = Target(values=(np.arange(100) < 20)[:, None].astype(np.float32), binary=True)
    assert target_errors(touch, constant_of(touch, 100)).mean() == pytest.approx(0.16, rel=1e-4)


def test_every_answer_links_to_a_section_that_is_there() -> None:
    results = results_of(value_of())
    sensors = results["sensors"]
    found = [sensors_section(sensors), doubt_section(sensors), Section("Set-up", "")]
    html = answers_section([*answers_of(results), Answer(question="?", text="<b>")], found).html
    anchors = {s.anchor for s in found}
    links = re.findall(r'href="#([^"]+)"', html)
    assert set(links) == anchors
    assert html.count("<tr>") == 7
    assert "&lt;b&gt;" in html
    assert "lack a sensor: b 25.0%" in html


def counts(**changed: Any) -> dict[str, Any]:
    usual = dict.fromkeys(("used", "unused", "late", "duplicate", "short"), 0)
    return {"messages": 100, **usual, "refused": {}, "first_refused": "", **changed}


def test_what_became_of_recorded_messages_is_said() -> None:
    results = results_of(value_of())
    of_a = counts(used=80, late=7, refused={"nan": 9, "frame": 4}, first_refused="a: frame")
    results["data"]["messages"] = {"a": of_a, "b": counts(used=100)}
    section = messages_section(results["data"]["messages"])
    assert section is not None
    assert "9 x nan, 4 x frame" in section.html
    answer = next(a for a in answers_of(results) if a.section == section.title)
    assert answer.text.startswith("Of 200 recorded messages: a 7 x late, 9 x nan, 4 x frame. ")
    assert answer.text.endswith("lack a sensor: b 25.0%.")
    results["data"]["messages"] = {"b": counts(used=100)}
    texts = [a.text for a in answers_of(results)]
    assert any(text.startswith("None of 100 recorded messages. ") for text in texts)


def test_too_few_groups_are_said_not_made_up() -> None:
    value = SensorValue(NAMES, np.zeros(5, np.int32))
    for subset in telling_subsets(NAMES):
        value.add(subset_name(subset), "a", np.full(5, np.nan))
        value.add_unsure(subset_name(subset), np.full((5, 2), np.nan))
    value.add(CONSTANT, "a", np.ones(5))
    results = results_of(value)
    texts = [a.text for a in answers_of(results)]
    assert all(text.startswith("Not known") for text in texts[:4])
    assert "–" in sensors_section(results["sensors"]).html
