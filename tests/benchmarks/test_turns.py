"""Contenders are played in turns, each in a process that ends with the measurement."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.turns.contender import Contender, ContenderFailed, Played, play
from benchmarks.turns.ratios import ratio, spread

PLAYER = "tests.benchmarks.counting_player:Counting"


def counting(name: str, **arguments: int) -> Contender:
    return Contender(name=name, player=PLAYER, arguments=arguments)


def test_every_contender_plays_every_turn_and_its_process_ends() -> None:
    seen: list[int] = []

    def after(found: Any) -> None:
        seen.append(min(len(each.turns) for each in found.values()))

    found = play([counting("a", start=0), counting("b", start=10)], 3, warm_up=2, after=after)
    assert [t["samples"] for t in found["a"].turns] == [3, 4, 5]
    assert [t["samples"] for t in found["b"].turns] == [13, 14, 15]
    assert seen == [1, 2, 3]
    for each in found.values():
        assert all(t["wall_s"] > 0 and t["peak_mb"] > 1 and t["load"] >= 0 for t in each.turns)
        with pytest.raises(ProcessLookupError):
            os.kill(each.about["pid"], 0)
    assert found["a"].about["pid"] != found["b"].about["pid"]


def test_a_contender_that_ends_is_named_with_what_it_said() -> None:
    with pytest.raises(ContenderFailed, match=r"contender 'b' ended:[^']*told to fail at 2"):
        play([counting("a", start=0), counting("b", start=0, fails_at=2)], 3, warm_up=0)


def test_rounds_hold_the_lock_and_let_go_of_it_between(tmp_path: Path) -> None:
    lock = tmp_path / "lock"

    def after(_: Any) -> None:
        with lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    found: dict[str, Played] = play([counting("a", start=0)], 2, lock=lock, after=after)
    assert len(found["a"].turns) == 2


def test_ratios_are_of_the_same_turn() -> None:
    found = ratio([2.0, 20.0, 6.0], [1.0, 10.0, 2.0])
    assert (found.median, found.low, found.high) == (2.0, 2.0, 3.0)
    assert f"{spread([1.0, 3.0, 2.0]):.1f}" == "2.0 (1.0 to 3.0)"
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0], [1.0, 2.0])
