"""Figures of README and of the page of comparisons are those of the results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.tables.readme import TABLES, filled

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")


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
