"""The figures of README's benchmark section are those of RESULTS.md, which the code writes."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_differences_and_shares_in_the_readme_stand_in_the_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Image sets and benchmarks")[1].split("\n## ")[0]
    results = (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
    differences = re.findall(r"([\d.]+) ± ([\d.]+)", section)
    shares = re.findall(r"\b0\.\d{3}\b", section)
    assert len(differences) >= 6
    assert len(shares) >= 6
    unknown = [
        f"{mean} ± {error}"
        for mean, error in differences
        if not re.search(rf"[+-]{re.escape(mean)} ± [\d.]+ / {re.escape(error)}\b", results)
    ]
    assert not unknown, "mean and error over seeds, in a table of differences"
    assert not [share for share in shares if f"| {share}" not in results]
