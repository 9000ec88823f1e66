"""Shared autonomy without ROS: belief, blending, limits, and the phases on a played arm."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from smvae_core.assistance.belief import Fusion, HoleBelief
from smvae_core.assistance.blending import Blending, blend, weights
from smvae_core.assistance.controller import Assistance, Phase, Settings
from smvae_core.assistance.insertion import Insertion
from smvae_core.assistance.intent import Intent, IntentReader
from smvae_core.assistance.limits import Limits, limited
from smvae_core.assistance.pose import difference, wrap_angle
from smvae_core.assistance.sighting import Sighting, sighting
from smvae_core.assistance.spiral import Search, Spiral
from smvae_core.errors import ConfigError
from smvae_core.readout import Estimate

STEP_S = 0.05
HOLE = np.array([0.55, 0.01, 0.06, 0.2])
LIMITS, BLENDING = Limits(), Blending()
DOWN = np.array([0.01, 0.0, -0.02, 0.0])


def seen(pose: np.ndarray = HOLE, std_m: float = 0.002, std_rad: float = 0.03) -> Sighting:
    return Sighting(pose=pose, std=np.array([std_m] * 3 + [std_rad]))


def certain(**changes: float) -> HoleBelief:
    belief = HoleBelief(Fusion())
    belief.add_independent(seen(**changes))
    return belief


def estimate(*value: float, std: float | tuple[float, ...] = 0.002) -> Estimate:
    spread = np.broadcast_to(std, len(value)).astype(np.float64)
    return Estimate(value=np.array(value), std=spread, covariance=np.diag(np.square(spread)))


class Arm:
    """A tip that follows its setpoint, and a surface with a hole that only HOLE's place enters."""

    def __init__(self, settings: Settings, height_m: float = 0.01, off_m: float = 0.0) -> None:
        self.assistance = Assistance(settings)
        self.tip = HOLE + np.array([off_m, 0.0, height_m, 0.0])
        self.setpoint = self.tip.copy()
        self.phases: list[Phase] = []
        self.stops_m = 0.04

    def play(self, operator: np.ndarray, steps: int, estimates: Sighting | None = None) -> None:
        for _ in range(steps):
            if estimates is not None:
                self.assistance.see(estimates, STEP_S)
            lead = self.setpoint - self.tip
            motion = self.assistance.step(operator, self.tip, lead, STEP_S)
            self.setpoint = self.setpoint + motion * STEP_S
            enters = np.linalg.norm(self.setpoint[:2] - HOLE[:2]) < 0.001 or (
                self.tip[2] < HOLE[2] - 1e-6
            )
            lowest = HOLE[2] - (self.stops_m if enters else 0.0)
            inside = self.tip[2] < HOLE[2] - 1e-6
            if not inside:
                self.tip[[0, 1, 3]] = self.setpoint[[0, 1, 3]]
            self.tip[2] = max(self.setpoint[2], lowest)
            self.phases.append(self.assistance.phase)


def test_differences_of_yaw_go_the_short_way() -> None:
    turned = difference(np.array([0.0, 0.0, 0.0, 3.1]), np.array([0.0, 0.0, 0.0, -3.1]))
    assert turned[3] == pytest.approx(-0.0832, abs=1e-3)


def test_a_sighting_is_the_tip_minus_its_offset() -> None:
    tip = HOLE + np.array([0.01, -0.02, 0.03, 0.1])
    found = sighting({"offset": estimate(0.01, -0.02, 0.03)}, tip)
    np.testing.assert_allclose(found.pose[:3], HOLE[:3])
    np.testing.assert_allclose(found.std, [0.002, 0.002, 0.002, np.inf])


def test_the_surer_of_two_targets_gives_the_place_and_the_hole_alone_the_yaw() -> None:
    direction = (math.sin(HOLE[3]), math.cos(HOLE[3]))
    hole = estimate(*HOLE[:3], *direction, std=(0.001, 0.009, 0.001, 0.05, 0.05))
    offset = estimate(0.0, 0.0, 0.0, std=0.004)
    found = sighting({"hole": hole, "offset": offset}, np.array([0.5, 0.0, 0.1, 0.0]))
    np.testing.assert_allclose(found.pose, [0.55, 0.0, 0.06, 0.2])
    np.testing.assert_allclose(found.std, [0.001, 0.004, 0.001, 0.05])


def test_a_yaw_is_told_by_its_sine_where_the_cosine_says_nothing() -> None:
    hole = estimate(*HOLE[:3], math.sin(-0.2), math.nan, std=(0.01, 0.01, 0.01, 0.05, math.nan))
    found = sighting({"hole": hole}, HOLE)
    assert found.pose[3] == pytest.approx(-0.2)
    assert found.std[3] == pytest.approx(0.05 / math.cos(0.2))
    blind = estimate(*HOLE[:3], math.nan, 1.0)
    assert np.isinf(sighting({"hole": blind}, HOLE).std[3])


def test_an_estimate_that_knows_nothing_is_no_sighting_of_that_axis() -> None:
    found = sighting({"offset": estimate(np.nan, 0.01, 0.02)}, HOLE)
    assert np.isinf(found.std[0])
    assert np.isfinite(found.std[1])


@pytest.mark.parametrize("wrong", [{}, {"offset": estimate(0.0, 0.0)}, {"contact": estimate(1.0)}])
def test_targets_that_tell_no_hole_are_refused(wrong: dict[str, Estimate]) -> None:
    with pytest.raises(ConfigError, match="'offset' of 3 numbers or 'hole' of 5"):
        sighting(wrong, HOLE)


def test_neighbouring_estimates_do_not_count_as_independent() -> None:
    belief = HoleBelief(Fusion(independent_s=0.5, max_count=4.0))
    belief.add(seen(), 10.0)
    for _ in range(10):
        belief.add(seen(), STEP_S)  # half a second of them: one more
    assert belief.std[0] == pytest.approx(0.002 / math.sqrt(2.0), rel=0.1)
    for _ in range(1000):
        belief.add(seen(), STEP_S)
    assert belief.std[0] == pytest.approx(0.002 / 2.0, rel=1e-6)


def test_a_lost_camera_leaves_the_belief_and_a_new_world_does_not() -> None:
    belief = certain()
    np.testing.assert_allclose(belief.pose, HOLE)
    belief.forget()
    assert np.isinf(belief.std).all()


def test_what_a_memory_tells_once_more_and_less_surely_leaves_the_belief() -> None:
    elsewhere = HOLE + np.array([0.005, 0.0, 0.0, 0.0])
    again = replace(seen(elsewhere), remembered=True)
    belief = HoleBelief(Fusion())
    belief.add(again, 0.5)  # of the world before: better than nothing
    np.testing.assert_allclose(belief.pose, elsewhere)
    belief.add(seen(), 10.0)
    known, unsure = belief.pose, belief.std
    one_axis = again.std * np.array([1.0, 1.0, 2.0, 1.0])
    for std in (2.0 * again.std, one_axis, np.where(one_axis > again.std, np.inf, again.std)):
        for _ in range(100):
            belief.add(replace(again, std=std), 0.5)
    np.testing.assert_array_equal(belief.pose, known)
    np.testing.assert_array_equal(belief.std, unsure)
    belief.add(seen(elsewhere), 0.5)  # a camera is back
    assert belief.pose[0] > known[0]


def test_a_sensor_that_is_missed_by_nobody_does_not_stop_the_belief() -> None:
    """The force is gone and remembered, and the cameras tell the hole as surely as before."""
    belief = HoleBelief(Fusion())
    for _ in range(20):
        belief.add(seen(), 0.5)
    before = belief.std
    elsewhere = HOLE + np.array([0.002, 0.0, 0.0, 0.0])
    for _ in range(20):
        belief.add(replace(seen(elsewhere), remembered=True), 0.5)
    np.testing.assert_allclose(belief.pose, elsewhere, atol=2e-4)
    np.testing.assert_allclose(belief.std, before, rtol=0.01)


def test_a_belief_is_the_mean_weighted_by_precision_and_turns_the_short_way() -> None:
    belief = certain(pose=np.array([0.0, 0.0, 0.0, math.pi - 0.01]))
    belief.add_independent(seen(np.array([0.01, 0.0, 0.0, -math.pi + 0.01]), 0.004, 0.03))
    assert belief.pose[0] == pytest.approx(0.01 * 0.2)
    assert abs(wrap_angle(float(belief.pose[3]) - math.pi)) < 1e-9


def test_an_estimate_that_contradicts_counts_less_and_is_noticed() -> None:
    wrong = seen(HOLE + np.array([0.05, 0.0, 0.0, 0.0]))
    belief = certain()
    for _ in range(20):
        belief.add(wrong, STEP_S)
    assert belief.agreement < 0.2
    assert abs(belief.pose[0] - HOLE[0]) < 0.01


def test_a_hand_held_still_counts_at_once_and_a_tremor_is_no_pull() -> None:
    reader = IntentReader()
    for _ in range(20):
        assert reader.read(DOWN, STEP_S) in (Intent.PUSH, Intent.STEER)
    assert reader.read(-DOWN, STEP_S) is Intent.PUSH
    assert reader.read(np.zeros(4), STEP_S) is Intent.STILL
    for _ in range(20):
        reader.read(-DOWN, STEP_S)
    assert reader.read(-DOWN, STEP_S) is Intent.PULL


def test_the_weight_falls_with_uncertainty_and_with_distance() -> None:
    tip = HOLE.copy()
    shares = [weights(certain(std_m=s), tip, BLENDING)[0] for s in (1e-4, 0.008, 0.08)]
    assert shares == pytest.approx([1.0, 0.5, 0.01], abs=1e-3)
    assert weights(HoleBelief(Fusion()), tip, BLENDING) == (0.0, 0.0)
    far = tip + np.array([0.2, 0.0, 0.0, 0.0])
    assert weights(certain(), far, BLENDING) == (0.0, 0.0)


def test_the_blend_is_the_stated_formula() -> None:
    tip = HOLE + np.array([0.004, -0.002, 0.05, 0.1])
    operator = np.array([0.02, -0.01, -0.03, 0.2])
    motion = blend(operator, certain(), tip, (0.5, 0.25), BLENDING)
    way = -BLENDING.gain_per_s * np.array([0.004, -0.002])
    np.testing.assert_allclose(motion[:2], 0.5 * operator[:2] + 0.5 * way)
    assert motion[2] == operator[2]
    assert motion[3] == pytest.approx(0.75 * 0.2 - 0.25 * BLENDING.gain_per_s * 0.1)


def test_the_assistance_is_no_faster_than_the_operator() -> None:
    tip = HOLE + np.array([0.1, 0.0, 0.05, 0.0])
    motion = blend(np.array([0.0, 0.01, 0.0, 0.0]), certain(), tip, (1.0, 0.0), BLENDING)
    np.testing.assert_allclose(motion[:2], [-0.01, 0.0], atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_motion_that_is_not_finite_becomes_zero(bad: float) -> None:
    wild = np.array([bad, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(
        limited(wild, np.zeros(4), HOLE, np.zeros(4), STEP_S, LIMITS), np.zeros(4)
    )


def test_no_motion_leaves_the_limits_of_speed_force_and_area() -> None:
    rng = np.random.default_rng(0)
    low, high = np.array(LIMITS.area_low_m), np.array(LIMITS.area_high_m)
    most_m = LIMITS.max_force_n / LIMITS.stiffness_n_per_m
    most_rad = LIMITS.max_torque_nm / LIMITS.stiffness_nm_per_rad
    tight = 0
    for _ in range(2000):
        tip = np.append(rng.uniform(low, high), rng.uniform(-1, 1))
        lead = np.append(rng.normal(0, 0.012, 3), rng.normal(0, 0.1))
        last, wanted = rng.normal(0, 0.2, (2, 4))
        motion = limited(wanted, last, tip, lead, STEP_S, LIMITS)
        after = lead + motion * STEP_S
        assert np.linalg.norm(motion[:3]) <= LIMITS.max_speed + 1e-9
        assert abs(motion[3]) <= LIMITS.max_turn + 1e-9
        before_m = np.linalg.norm(lead[:3])
        assert np.linalg.norm(after[:3]) <= max(most_m, before_m) + 1e-9
        assert abs(after[3]) <= max(most_rad, abs(lead[3])) + 1e-9
        outside = np.maximum(low - (tip + after)[:3], (tip + after)[:3] - high)
        was = np.maximum(low - (tip + lead)[:3], (tip + lead)[:3] - high)
        assert (outside <= np.maximum(was, 0.0) + 1e-9).all()
        tight += bool(np.linalg.norm(after[:3]) > most_m - 1e-9)
    assert tight > 100, "the limit of force was hardly ever met"


def test_the_spiral_reaches_out_and_begins_again_while_the_yaw_swings() -> None:
    search = Search()
    spiral = Spiral(search, 0.003, 0.05)
    way = np.array([spiral.advance(STEP_S) for _ in range(1200)])
    radius = np.hypot(way[:, 0], way[:, 1])
    assert radius.max() == pytest.approx(0.006, abs=0.0003)
    assert np.abs(way[:, 3]).max() == pytest.approx(0.1, abs=0.02)
    assert (np.diff(radius) < -0.004).any(), "it begins again"
    speed = np.hypot(*np.diff(way[:, :2], axis=0).T) / STEP_S
    assert np.median(speed) <= search.contact_speed * 1.01


def test_an_unknown_yaw_slows_the_spiral() -> None:
    sure, unsure = (Spiral(Search(), 0.003, std) for std in (0.01, math.inf))
    steps = [[s.advance(STEP_S) for _ in range(40)][-1] for s in (sure, unsure)]
    assert np.hypot(*steps[0][:2]) > 1.5 * np.hypot(*steps[1][:2])


def test_an_operator_who_holds_still_keeps_the_robot_still_in_every_phase() -> None:
    arm = Arm(Settings(), off_m=0.004)
    for _ in range(8):
        arm.play(DOWN, 20, seen())
        before = arm.setpoint.copy()
        arm.play(np.zeros(4), 10, seen())
        # after one step within the limit of acceleration
        np.testing.assert_allclose(arm.setpoint, before, atol=0.01)
        still = arm.setpoint.copy()
        arm.play(np.zeros(4), 20, seen())
        np.testing.assert_array_equal(arm.setpoint, still)
    assert {Phase.APPROACH, Phase.INSERT} <= set(arm.phases)


def test_a_known_hole_is_found_beside_the_operators_aim() -> None:
    arm = Arm(Settings(), height_m=0.03, off_m=0.008)
    arm.play(DOWN * [0, 0, 1, 0], 200, seen())
    assert arm.assistance.phase is Phase.SEATED
    assert arm.assistance.seatings == 1


def test_without_estimates_it_searches_where_the_operator_puts_the_peg_down() -> None:
    arm = Arm(Settings(), off_m=0.003)
    arm.play(DOWN * [0, 0, 1, 0], 400)
    assert Phase.SEARCH in arm.phases
    assert arm.assistance.seatings == 1
    assert Phase.HANDED_OVER not in arm.phases


def test_a_hole_that_is_not_found_is_handed_over_until_the_peg_is_lifted() -> None:
    settings = replace(Settings(), search=Search(search_s=2.0))
    arm = Arm(settings, off_m=0.03)
    arm.play(DOWN, 100)
    assert arm.assistance.phase is Phase.HANDED_OVER
    assert arm.assistance.hand_overs == 1
    assert "nothing found in 2 s" in arm.assistance.reason
    arm.play(-DOWN * [0, 0, 1, 0], 60)
    assert arm.assistance.phase is Phase.APPROACH


def test_who_knows_too_little_hands_over_at_once() -> None:
    settings = replace(Settings(), blending=Blending(operator_m=0.05))
    arm = Arm(settings, off_m=0.03)
    arm.play(DOWN * [0, 0, 1, 0], 60)
    assert "known to 50 mm only" in arm.assistance.reason


def test_a_jammed_peg_is_drawn_back_and_handed_over_in_the_end() -> None:
    settings = replace(Settings(), insertion=Insertion(back_offs=2.0))
    arm = Arm(settings)
    arm.stops_m = 0.01
    arm.play(DOWN * [0, 0, 1, 0], 300, seen())
    assert Phase.BACK_OFF in arm.phases
    assert "jammed 3 times" in arm.assistance.reason
    assert arm.assistance.seatings == 0


def test_who_pulls_up_gets_the_peg_back() -> None:
    arm = Arm(Settings())
    arm.play(DOWN * [0, 0, 1, 0], 60, seen())
    depth = HOLE[2] - arm.tip[2]
    assert depth > 0.005
    arm.play(np.array([0.0, 0.0, 0.05, 0.0]), 60, seen())
    assert arm.tip[2] > HOLE[2] + 0.01
    assert arm.assistance.phase is Phase.APPROACH


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Limits(max_force_n=0.0), "max_force_n must be a positive number"),
        (lambda: Limits(area_low_m=(1.0, 0.0, 0.0)), "area_low_m must be below area_high_m"),
        (lambda: Blending(max_weight=1.5), "max_weight must be at most 1"),
        (lambda: Blending(near_m=0.1), "near_m must be below far_m"),
        (lambda: Fusion(max_count=math.nan), "max_count must be a positive number"),
        (lambda: Search(least_rad=1.0), "least_rad must be at most most_rad"),
        (lambda: Search(pitch_m=-1.0), "pitch_m must be a positive number"),
        (lambda: Insertion(seated_m=0.0), "seated_m must be a positive number"),
    ],
)
def test_settings_that_mean_nothing_are_refused(build: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build()  # type: ignore[operator]
