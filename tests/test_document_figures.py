"""Figures of README and of pages are those of the results."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.closed_loop.report import (
    BASELINES,
    Share,
    paired_difference,
    points,
    read_stores,
    seated_share,
)
from benchmarks.door.report import OPERATOR, DoorStore, path_of
from benchmarks.tables.readme import TABLES, filled
from smvae_datasets.simulation.closed_loop.failures import DECIDING

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
FILES = ROOT / "benchmarks/results"
#: Who commands on docs/shared_autonomy.md -> method, and what failed.
PEGS = {
    "the operator alone, within the same limits": ("alone", "all alive"),
    "the controller without estimates: blind search where the peg is put down": (
        "blind",
        "all alive",
    ),
    "the controller with the truth": ("ceiling", "all alive"),
    "the controller with latents, all sensors alive": ("ours", "all alive"),
    "the controller with latents, RGB lost from the start": ("ours", "rgb lost"),
    "the controller with latents, depth lost from the start": ("ours", "depth lost"),
    "the controller with latents, force lost from the start": ("ours", "force lost"),
    "the controller with latents, commands lost from the start": ("ours", "action lost"),
    "the controller with latents, both cameras lost midway": ("ours", "cameras lost midway"),
    "the controller with latents, RGB frozen midway": ("ours", "rgb frozen midway"),
    "the controller with latents, both cameras lost from the start": ("ours", "cameras lost"),
    "the controller with latents, RGB late by 200 ms": ("ours", "rgb late 200 ms"),
    "the controller with latents, force biased by 10 N": ("ours", "force biased 10 N"),
    "the controller with latents, RGB noisy": ("ours", "rgb noisy"),
    "the controller with latents, half of the lens covered": ("ours", "lens half covered"),
    "the controller with latents, a quarter of the light": ("ours", "exposed for a quarter"),
    "the controller with latents, depth noisy": ("ours", "depth noisy"),
    "the controller with latents, depth half covered": ("ours", "depth half covered"),
    "the controller with latents, depth halved": ("ours", "depth halved"),
    "the controller with latents, depth frozen midway": ("ours", "depth frozen midway"),
    "the controller with latents, RGB alone alive": ("ours", "depth and force and action lost"),
    "the controller with latents, depth alone alive": ("ours", "rgb and force and action lost"),
}
DOORS = {
    "the operator alone, within the same limits": ("alone", "all alive"),
    "helped by the truth": ("ceiling", "all alive"),
    "helped by latents, all sensors alive": ("ours", "all alive"),
    "helped by latents, side camera lost from the start": ("ours", "side lost"),
    "helped by latents, hand camera lost from the start": ("ours", "hand lost"),
    "helped by latents, both cameras lost midway": ("ours", "cameras lost midway"),
}


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """Return the rows of the table below a line that begins so, by their first cell."""
    text = (ROOT / page).read_text(encoding="utf-8")
    table = text.partition(f"\n| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in table]
    return {first: rest for first, *rest in cells}


def test_pegs_on_the_page_of_shared_autonomy_are_those_of_the_results() -> None:
    stores = read_stores(FILES)
    found = {
        who: [str(seated_share(stores[method], failure))] for who, (method, failure) in PEGS.items()
    }
    assert rows("docs/shared_autonomy.md", "who commands | seated") == found


def test_leads_over_learned_baselines_are_those_of_the_results() -> None:
    stores = read_stores(FILES)
    head = " | ".join(["sensors", *(f"minus `{b}`" for b in BASELINES)])
    found = {
        f: [points(paired_difference(stores["ours"], stores[b], f, f)) for b in BASELINES]
        for f in DECIDING
    }
    assert rows("docs/decisions/assistance.md", head) == found
    shown = rows("docs/shared_autonomy.md", "sensors | `concat` | ours")
    wrong = ("rgb noisy", "lens half covered", "exposed for a quarter")
    for cells, failure in zip(shown.values(), wrong, strict=True):
        assert cells == [str(seated_share(stores[m], failure)) for m in ("concat", "ours")]


def test_doors_on_the_page_of_shared_autonomy_are_those_of_the_results() -> None:
    shown = rows("docs/shared_autonomy.md", "who commands | opened")
    assert set(shown) == set(DOORS)
    for who, (method, failure) in DOORS.items():
        cell = DoorStore(path_of(FILES, method), {}).cells[failure, OPERATOR]
        assert shown[who][0] == str(
            Share.of_independent(sum(o.opened for o in cell.values()), len(cell))
        ), who


def test_costs_of_many_sensors_are_those_of_the_results() -> None:
    page = "docs/decisions/many-sensors.md"
    sixteen: dict[str, Any] = json.loads((FILES / "sixteen-sensors.json").read_text())
    shown = {k.split()[0]: v for k, v in rows(page, "work").items()}
    for what, limit in sixteen["limits_s"].items():
        took = sixteen[what]["seconds"]
        spelled = f"{took:.1f}" if took <= limit else f"**{took:.1f}**"
        assert shown[what] == [spelled, f"{sixteen[what]['cpu_s']:.1f}", f"{limit:g}"], what
    robots = json.loads((FILES / "many-robots.json").read_text())["robots"]
    found = {}
    for count, robot in robots.items():
        live = robot["live"]
        rate = f"{live['rate_hz']:.1f}" if live["rate_hz"] > 9.5 else f"**{live['rate_hz']:.1f}**"
        found[count] = [
            f"{robot['export']['seconds']:.1f}",
            f"{live['messages_per_s']:,.0f}",
            rate,
            f"{100 * live['share_of_all']:.3g} %",
            f"{live['cpu_ms_per_latent']:.0f}",
            f"{100 * live['cpu_share']:.0f} %",
        ]
    assert rows(page, "sensors") == found


def test_the_tables_of_the_readme_are_made_from_the_results() -> None:
    marked = re.findall(r"<!-- table (\w+) -->", README)
    assert marked == list(TABLES)
    assert filled(README) == README, "run `python -m benchmarks.tables`"


@pytest.mark.parametrize("name", TABLES)
def test_every_table_of_the_readme_shows_where_ours_loses(name: str) -> None:
    table = README.partition(f"<!-- table {name} -->")[2].partition("<!-- end -->")[0]
    rows = [row.split("|")[2:-1] for row in table.strip().splitlines()[2:]]
    assert len(rows) >= 4
    assert any("**" in cell for row in rows for cell in row)


def test_a_figure_that_was_edited_by_hand_is_found() -> None:
    share = re.findall(r"\d+ of \d+ \(\d+ to \d+ %\)", README)[1]
    assert filled(README.replace(share, "300 of 300 (100 to 100 %)", 1)) == README


def test_losses_on_the_page_of_comparisons_stand_in_the_results() -> None:
    page = (ROOT / "docs/comparison.md").read_text(encoding="utf-8")
    found = re.findall(r"(\d+) ± (\d+)", page)
    assert len(found) == 2
    for mean, error in found:
        assert re.search(rf"-{mean} ± \d+ / {error}\b", RESULTS)
    for loss in re.findall(r"(\d+) to (\d+) nats better", page)[0]:
        assert f"(hirt, -{loss} ±" in RESULTS
    worse = re.findall(r"they are ([\d,]+) worse", page)[0].replace(",", "")
    assert f"+{worse} ±" in RESULTS
