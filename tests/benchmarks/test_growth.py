"""Each axis measures what it names, exponents are those of the costs, the section says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.growth.__main__ import AXES, context, episodes, latent, measure, sensors
from benchmarks.growth.costs import STEPS
from benchmarks.growth.models import BATCH, records, training_config, wrenches
from benchmarks.growth.report import AXES as REASONS
from benchmarks.growth.report import PICTURE, draw, exponent, section
from smvae_core.model.config import MemoryConfig


@pytest.mark.parametrize(
    ("name", "cost", "size"),
    [("sensors", sensors, 2), ("latent", latent, 8), ("context", context, 4)],
)
def test_each_cost_of_an_axis_is_measured_and_has_a_reason(
    name: str, cost: object, size: int, tmp_path: Path
) -> None:
    assert callable(cost)
    found = cost(size, tmp_path)
    assert set(found) == set(REASONS[name][1])
    assert all(ms > 0 for ms in found.values())


def test_episodes_are_holes_of_the_right_size(tmp_path: Path) -> None:
    found = episodes(20, tmp_path)
    assert set(found) == set(REASONS["episodes"][1])
    files = list(tmp_path.iterdir())
    assert sum(f.stat().st_size for f in files) > 100e6
    assert sum(512 * f.stat().st_blocks for f in files) < 1e6


def test_a_memory_of_so_many_samples_gets_stages_and_records_for_it() -> None:
    config = training_config(_model(), STEPS, 30)
    assert config.stages(10).total == 3 * STEPS
    assert config.context.elements == 30
    assert config.model.memory == MemoryConfig(horizon_s=1.5 * 30 / 20)
    assert len(records(wrenches(1), 4 * BATCH)) == 4 * BATCH


def _model():  # type: ignore[no-untyped-def]
    from benchmarks.growth.models import model_config

    return model_config(wrenches(1))


def test_the_exponent_is_that_of_a_power() -> None:
    sizes = [1.0, 2.0, 4.0, 8.0]
    assert exponent(sizes, [3.0 * n**1.5 for n in sizes]) == pytest.approx(1.5)


def test_the_section_marks_what_grows_faster_than_linear(tmp_path: Path) -> None:
    assert "Not run yet" in section(tmp_path)
    machine = {
        "cpu": "a core",
        "cores": 1,
        "load": [0.5],
        "versions": {},
        "when": "2026-01-01T00:00",
    }
    rows = [
        {"size": n, "ms": {"latent, one new sample": 0.1, "training step": n**2.0}}
        for n in (1, 2, 4)
    ]
    (tmp_path / "growth.json").write_text(
        json.dumps({"sensors": {"machine": machine, "rows": rows}})
    )
    lines = section(tmp_path).splitlines()
    step = next(line for line in lines if "| training step |" in line)
    one = next(line for line in lines if "latent, one new sample" in line)
    assert "| 2.00 | **2.00** |" in step
    assert "| 0.00 | 0.00 |" in one.replace("-0.00", "0.00"), "rounding gives each its own sign"
    draw(tmp_path, tmp_path)
    assert (tmp_path / PICTURE).stat().st_size > 1000


def test_an_axis_that_is_measured_again_replaces_its_own_numbers(tmp_path: Path) -> None:
    out = tmp_path / "growth.json"
    out.write_text(json.dumps({"side": {"rows": []}, "episodes": {"rows": []}}))
    measure("episodes", out, fewer=len(AXES["episodes"][1]) - 1)
    found = json.loads(out.read_text())
    assert found["side"] == {"rows": []}
    assert [row["size"] for row in found["episodes"]["rows"]] == [10]
