"""Operators at a joystick in the simulated cell: how wrong they aim, and how late they are."""

from __future__ import annotations

import numpy as np
import pytest

from smvae_datasets.simulation.errors import UnknownSetting
from smvae_datasets.simulation.stick_operator import OPERATORS, StickOperator, operator_kind

STEP_S = 0.05
ABOVE = np.array([0.1, -0.05, 0.1, 0.2])


def moved(kind: str, seed: int = 0, steps: int = 120) -> tuple[StickOperator, np.ndarray]:
    """Return an operator whose motions a tip above the hole follows, and where it was (N, 4)."""
    operator = StickOperator(np.random.default_rng(seed), OPERATORS[kind], STEP_S, 60.0)
    offset, seen = ABOVE.copy(), []
    for _ in range(steps):
        seen.append(offset)
        offset = offset + operator.command(offset, 0.03) * STEP_S
        offset[2] = max(offset[2], 0.0)
    return operator, np.array(seen)


@pytest.mark.parametrize("kind", OPERATORS)
def test_an_operator_puts_the_peg_down_where_they_believe_the_hole(kind: str) -> None:
    for seed in range(5):
        operator, way = moved(kind, seed, 300)
        distance, turn = np.linalg.norm(operator.aim_error[:2]), abs(operator.aim_error[3])
        assert 0.005 <= distance <= 0.01
        assert 0.1 <= turn <= 0.2
        assert way[-1, 2] == 0.0
        assert np.linalg.norm(way[-1, :2] - operator.aim_error[:2]) < 0.004 + 0.006 * (
            kind == "noisy"
        )


def test_the_same_seed_gives_the_same_operator() -> None:
    np.testing.assert_array_equal(moved("noisy", 3)[1], moved("noisy", 3)[1])
    assert not np.array_equal(moved("noisy", 3)[1], moved("noisy", 4)[1])


def test_a_late_operator_reacts_300_ms_after_what_happens() -> None:
    operator = StickOperator(np.random.default_rng(0), OPERATORS["late"], STEP_S, 60.0)
    first = operator.command(ABOVE, 0.03)
    motions = [operator.command(ABOVE * [-1, -1, 1, 1], 0.03) for _ in range(7)]
    assert all(np.array_equal(m, first) for m in motions[:5])
    assert motions[6][0] * first[0] < 0.0


def test_a_seated_peg_is_drawn_back_and_the_attempt_ends() -> None:
    operator = StickOperator(np.random.default_rng(0), OPERATORS["aims_wrong"], STEP_S, 60.0)
    assert operator.command(np.array([0.0, 0.0, -0.031, 0.0]), 0.03)[2] > 0.0
    assert not operator.over
    operator.command(np.array([0.0, 0.0, 0.07, 0.0]), 0.03)
    assert operator.over


def test_an_operator_nobody_knows_is_refused() -> None:
    with pytest.raises(UnknownSetting, match="one of 'aims_wrong', 'noisy', 'late'"):
        operator_kind("perfect")
