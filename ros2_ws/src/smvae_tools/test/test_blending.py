"""The formula by which the worked consumer blends a command with what the latent says."""

from __future__ import annotations

import numpy as np
import pytest
from smvae_tools.shared_autonomy import Estimate, Limits, blend, limited, weight

LIMITS = Limits()
OPERATOR = np.array([0.02, -0.01, -0.03, 0.0, 0.0, 0.2])


def estimate(offset_mm: tuple[float, float], std_mm: float, contact: float) -> Estimate:
    return Estimate(
        offset_m=np.array([*offset_mm, 40.0]) * 1e-3,
        std_m=np.full(3, std_mm) * 1e-3,
        contact=contact,
    )


def test_the_weight_falls_with_uncertainty_to_zero() -> None:
    weights = [weight(estimate((0, 0), std, 0.0), LIMITS) for std in (1.0, 5.0, 17.5, 30.0, 90.0)]
    assert weights == pytest.approx([0.6, 0.6, 0.3, 0.0, 0.0])


def test_the_blend_is_the_stated_formula() -> None:
    command = blend(OPERATOR, estimate((10.0, -4.0), 5.0, 0.0), 0.5, LIMITS)
    assistance = -2.0 * np.array([0.010, -0.004])
    np.testing.assert_allclose(command[:2], 0.5 * OPERATOR[:2] + 0.5 * assistance)
    np.testing.assert_array_equal(command[2:], OPERATOR[2:])


@pytest.mark.parametrize(("contact", "speed"), [(0.0, 0.0374166), (1.0, 0.01), (np.nan, 0.01)])
def test_the_assistance_is_no_faster_than_the_operator_and_slow_in_contact(
    contact: float, speed: float
) -> None:
    """The operator moves at 37 mm/s; the readout would go at 200."""
    command = blend(OPERATOR, estimate((100.0, 0.0), 5.0, contact), 1.0, LIMITS)
    np.testing.assert_allclose(command[:2], [-speed, 0.0], atol=1e-6)


def test_an_operator_who_holds_still_keeps_the_robot_still() -> None:
    assert not blend(np.zeros(6), estimate((50.0, 50.0), 1.0, 0.0), 0.6, LIMITS).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_command_that_is_not_finite_becomes_zero_and_leaves_no_trace(bad: float) -> None:
    wild = OPERATOR.copy()
    wild[0] = bad
    command = limited(wild, OPERATOR, 0.05, LIMITS)
    np.testing.assert_array_equal(command, np.zeros(6))
    assert np.isfinite(limited(OPERATOR, command, 0.05, LIMITS)).all()


def test_speed_and_change_of_a_command_are_limited() -> None:
    wild = np.array([5.0, -5.0, 5.0, 0.0, 0.0, 9.0])
    last = np.zeros(6)
    for _ in range(40):
        command = limited(wild, last, 0.05, LIMITS)
        assert np.linalg.norm(command[:3] - last[:3]) <= LIMITS.max_acceleration * 0.05 + 1e-12
        last = command
    assert np.linalg.norm(last[:3]) == pytest.approx(LIMITS.max_speed)
    assert last[5] == pytest.approx(LIMITS.max_turn)
