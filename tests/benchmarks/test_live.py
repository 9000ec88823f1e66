"""Growth is told from noise, lost latents are counted, the section says what was missed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from benchmarks.live.report import section, soak_line
from benchmarks.live.soak import SETTLE_S, Counted, growth, leaks


def rows(mb_per_hour: float, noise_mb: float = 0.2, seconds: int = 3600) -> list[dict[str, float]]:
    rng = np.random.default_rng(0)
    times = np.arange(10.0, seconds, 10.0)
    start = 30.0 * (times < SETTLE_S)  # what only loading took says nothing
    values = 200.0 + start + mb_per_hour * times / 3600.0 + rng.normal(0.0, noise_mb, len(times))
    return [{"at_s": t, "mb": v} for t, v in zip(times, values, strict=True)]


@pytest.mark.parametrize("mb_per_hour", [0.0, 20.0, -5.0])
def test_growth_is_the_slope_within_its_error_and_without_the_start(mb_per_hour: float) -> None:
    slope, error = growth(rows(mb_per_hour), "mb")
    assert error < 0.5
    assert abs(slope - mb_per_hour) < 4.0 * error


def test_a_short_run_says_nothing_of_growth() -> None:
    assert all(map(math.isnan, growth(rows(0.0, seconds=130), "mb")))
    assert leaks(math.nan, math.nan) is None


def warming(mb_per_hour: float, noise_mb: float, seconds: int) -> list[dict[str, float]]:
    """Rises by 4 MB within 110 s, as a node does, and then by so much in an hour."""
    return [
        row | {"mb": row["mb"] - 30.0 * (row["at_s"] < SETTLE_S) + 4.0 * min(1, row["at_s"] / 110)}
        for row in rows(mb_per_hour, noise_mb, seconds)
    ]


@pytest.mark.parametrize(
    ("mb_per_hour", "seconds", "grows"),
    [(0.0, 3600, False), (12.0, 3600, True), (0.0, 240, None), (12.0, 240, None), (600, 240, True)],
    ids=["flat after the warm-up", "a slow leak", "flat, short", "slow, short", "a fast leak"],
)
def test_what_rises_while_it_warms_up_is_no_leak(
    mb_per_hour: float, seconds: int, grows: bool | None
) -> None:
    assert leaks(*growth(warming(mb_per_hour, 1.1, seconds), "mb")) is grows


def heard(sequence: int, received: int, *, epoch: int = 1, valid: bool = True) -> Any:
    status = SimpleNamespace(name="force", received=received)
    message = SimpleNamespace(epoch=epoch, sequence=sequence, valid=valid, modalities=[status])
    return SimpleNamespace(message=message)


def test_gaps_of_one_epoch_are_lost_latents() -> None:
    counted = Counted()
    counted.take([heard(5, 10), heard(6, 11), heard(9, 14)])
    counted.take([heard(10, 15), heard(0, 16, epoch=2), heard(2, 18, epoch=2, valid=False)])
    assert (counted.latents, counted.lost, counted.received) == (5, 3, {"force": 4})
    counted.take([])
    assert counted.latents == 5


def test_the_section_names_limits_that_were_missed_and_what_is_not_run(tmp_path: Path) -> None:
    assert "Not run yet: force-500" in section(tmp_path)
    told = {
        "ratios": {"p50_ratio": 1.9, "p99_ratio": 2.1},
        "ratios_least_most": {"p50_ratio": [1.8, 2.0], "p99_ratio": [1.4, 2.6]},
        "limits": {
            "p50_ratio": {"most": 1.5, "kept": False},
            "p99_ratio": {"most": 3.0, "kept": True},
        },
        "node": {"latents_per_s": 499.0, "cpu_per_latent_ms": 1.24},
        "load_before": {"load_average": [0.1, 0.1, 0.1]},
    }
    (tmp_path / "live-force-500.json").write_text(json.dumps(told))
    text = section(tmp_path)
    assert "| force-500 | 1.90 (1.80 to 2.00); at most 1.5: **missed** |" in text
    assert "2.10 (1.40 to 2.60); at most 3: met" in text
    assert (
        "Not run yet: force-1000, all, all-vision-touch, defaults, sensors-8, sensors-16, soak."
        in text
    )


def test_a_soak_says_whether_it_grew() -> None:
    told = {
        "seconds": 1800.0,
        "latents": 9,
        "latents_lost": 0,
        "cpu_per_latent_ms": 1.0,
        "rss_mb_first_last": [200.0, 201.0],
        "threads_least_most": [19, 19],
        "descriptors_least_most": [28, 28],
        "anonymous_mb_per_hour": 20.0,
        "anonymous_mb_per_hour_error": 0.5,
        "grows": True,
    }
    assert "+20.0 ± 0.5 MB per hour" in soak_line(told)
    assert soak_line(told).endswith("It grows.")
    assert soak_line(told | {"grows": False}).endswith("It does not grow.")
