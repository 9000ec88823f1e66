"""What a consumer remembers of latents, and what it has to forget; clocks are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from smvae_msgs.msg import Estimate, Estimates, LatentState, ModalityStatus, ModelInfo
from smvae_tools.operators.trust import Patience, Trust

from smvae_core.errors import ConfigError
from smvae_core.readout import LinearMap, Quantity, Readout

TARGETS = {"offset": Quantity(unit="m"), "contact": Quantity(binary=True)}
LINEAR = {
    "offset": LinearMap(
        weights=np.array([[1.0], [0.0], [0.0]]), bias=np.zeros(3), residual=np.full(3, 0.01)
    ),
    "contact": LinearMap(weights=np.zeros((1, 1)), bias=np.zeros(1), residual=np.zeros(1)),
}
READOUT = Readout(targets=TARGETS, subsets={"force": LINEAR})


class World:
    """A trust with two clocks that only move when told, and a node that speaks every 50 ms."""

    def __init__(self, source: Readout | None = READOUT) -> None:
        self.steady_s, self.now_s = 100.0, 1000.0
        self.trust = Trust(
            source,
            "abc",
            Patience(),
            now_ns=lambda: round(self.now_s * 1e9),
            steady_s=lambda: self.steady_s,
        )
        self.trust.model(ModelInfo(generation=1, sha256="abc"))
        self.sequence = -1

    def latent(
        self,
        mean: float,
        *,
        epoch: int = 1,
        sequence: int | None = None,
        states: tuple[int, ...] = (ModalityStatus.FUSED,),
    ) -> None:
        self.steady_s += 0.05
        self.now_s += 0.05
        self.sequence = self.sequence + 1 if sequence is None else sequence
        message = LatentState(
            epoch=epoch,
            sequence=self.sequence,
            valid=True,
            model_generation=1,
            mean=[mean],
            variance=[1e-12],
            modalities=[
                ModalityStatus(name=name, state=state)
                for name, state in zip(("force", "rgb"), states, strict=False)
            ],
        )
        seconds, rest = divmod(round(self.now_s * 1e9), 10**9)
        message.header.stamp.sec, message.header.stamp.nanosec = seconds, rest
        self.trust.latent(message)

    def estimates(self, x: float, *, sequence: int | None = None, numbers: int = 9) -> None:
        """Say where the hole is by a latent, the last one if no other is named."""
        offset = Estimate(
            name="offset",
            unit="m",
            known=True,
            mean=[x, 0.0, 0.0],
            covariance=(1e-4 * np.eye(3)).ravel().tolist()[:numbers],
        )
        self.trust.estimates(
            Estimates(
                epoch=1,
                sequence=self.sequence if sequence is None else sequence,
                model_generation=1,
                targets=[offset],
            )
        )

    def latents(self, mean: float, count: int = 40, **kw: Any) -> None:
        for _ in range(count):
            self.latent(mean, **kw)

    @property
    def offset_x(self) -> float:
        found = self.trust.verdict().found
        assert found is not None, self.trust.verdict().reason
        return float(found["offset"].value[0])

    @property
    def reason(self) -> str:
        return self.trust.verdict().reason


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_latents_of_an_epoch_are_only_watched(world: World) -> None:
    assert world.reason == "no latent yet"
    world.latents(0.1, 3)
    assert world.reason == "a new epoch settles"
    world.latent(0.1)
    assert world.offset_x == pytest.approx(0.1)


def test_a_new_epoch_or_model_is_another_world_and_a_gap_is_not(world: World) -> None:
    world.latents(0.1)
    before = world.trust.worlds
    world.latents(0.2)
    world.steady_s += 1.0
    world.now_s += 1.0
    world.latent(0.2)
    assert world.trust.worlds == before
    world.sequence = -1
    world.latents(0.2, 4, epoch=2)
    assert world.trust.worlds == before + 1
    assert world.offset_x == pytest.approx(0.2)  # nothing of the epoch before
    world.trust.model(ModelInfo(generation=2, sha256="abc"))
    assert world.trust.worlds == before + 2


def test_a_verdict_carries_the_stamp_of_its_latent(world: World) -> None:
    world.latents(0.1)
    assert world.trust.verdict().stamp_ns == round(world.now_s * 1e9)


def test_a_verdict_says_whether_a_sensor_is_only_remembered(world: World) -> None:
    world.latents(0.1)
    assert not world.trust.verdict().remembered
    source = world.trust._source
    assert isinstance(source, Readout)
    rests_on = {"force+rgb": source.subsets["force"]}
    world.trust._source = replace(source, subsets={**source.subsets, **rests_on})
    world.latent(0.1, states=(ModalityStatus.FUSED, ModalityStatus.REMEMBERED))
    assert world.offset_x == pytest.approx(0.1)
    assert world.trust.verdict().remembered
    world.latent(0.1, states=(ModalityStatus.FUSED, ModalityStatus.STALE))
    assert not world.trust.verdict().remembered


def test_a_late_message_changes_nothing(world: World) -> None:
    world.latents(0.1)
    before = world.sequence
    world.latent(9.0, sequence=before - 1)
    assert world.offset_x == pytest.approx(0.1)


def test_a_restarted_node_that_counts_from_zero_again_is_heard(world: World) -> None:
    world.latents(0.1)
    world.steady_s += 1.0
    world.now_s += 1.0
    assert "no latent for" in world.reason
    world.sequence = -1
    world.latent(0.2)
    assert world.reason == "a new epoch settles"
    world.latents(0.2, 3)
    assert world.offset_x == pytest.approx(0.2)


def test_a_standing_clock_does_not_keep_a_latent_young(world: World) -> None:
    world.latents(0.1)
    world.steady_s += 0.6
    assert "no latent for" in world.reason


def test_a_new_model_needs_its_own_latents(world: World) -> None:
    world.latents(0.1)
    world.trust.model(ModelInfo(generation=2, sha256="abc"))
    assert world.reason == "no latent yet"
    world.latent(0.1)
    assert world.reason == "the latent is of another model than model_info"


def test_an_unknown_subset_has_no_readout(world: World) -> None:
    world.trust = Trust(
        Readout(targets=TARGETS, subsets={"rgb": LINEAR}),
        "abc",
        Patience(),
        now_ns=lambda: round(world.now_s * 1e9),
        steady_s=lambda: world.steady_s,
    )
    world.trust.model(ModelInfo(generation=1, sha256="abc"))
    world.latents(0.1)
    assert "none for 'force'" in world.reason


def test_patience_is_positive() -> None:
    with pytest.raises(ConfigError, match="max_age_s must be a positive number, got 0"):
        Patience(max_age_s=0.0)


@pytest.fixture
def told() -> World:
    """A node that tells estimates, of five latents so far."""
    world = World(None)
    for _ in range(5):
        world.latent(0.0)
        world.estimates(0.1)
    return world


def test_the_nodes_estimates_are_what_its_latents_say(told: World) -> None:
    found = told.trust.verdict().found
    assert found is not None
    np.testing.assert_allclose(found["offset"].value, [0.1, 0.0, 0.0])
    np.testing.assert_allclose(found["offset"].std, 0.01)
    assert told.trust.verdict().stamp_ns == round(told.now_s * 1e9)


def test_a_latent_without_its_estimates_changes_nothing_until_they_come(told: World) -> None:
    before = told.trust.verdict().stamp_ns
    told.latent(0.0)
    assert told.offset_x == pytest.approx(0.1)
    assert told.trust.verdict().stamp_ns == before
    told.estimates(0.2)
    assert told.offset_x == pytest.approx(0.2)


def test_estimates_may_come_before_their_latent_and_after_the_next_one(told: World) -> None:
    told.estimates(0.2, sequence=told.sequence + 1)
    assert told.offset_x == pytest.approx(0.1)
    told.latent(0.0)
    assert told.offset_x == pytest.approx(0.2)
    told.latent(0.0)
    told.latent(0.0)
    told.estimates(0.3, sequence=told.sequence - 1)
    assert told.offset_x == pytest.approx(0.3)
    told.estimates(0.4)
    told.estimates(0.5, sequence=told.sequence - 1)
    assert told.offset_x == pytest.approx(0.4), "an older one is late"


def test_estimates_that_stay_away_are_named_and_so_are_numbers_that_do_not_fit(
    told: World,
) -> None:
    told.latents(0.0, 8)
    assert told.reason == "the newest estimates are older than 0.3 s"
    told.estimates(0.1, numbers=3)
    assert "a covariance of 3, expected 9" in told.reason
    told.estimates(0.1, sequence=99)
    assert "a covariance of 3" in told.reason, "of a latent that never came"
    other = World(None)
    other.latents(0.0, 8)
    assert other.reason == "no estimates of a latent yet"


def test_a_latent_that_is_refused_is_so_whatever_its_estimates_say(told: World) -> None:
    told.sequence += 1
    told.trust.latent(LatentState(epoch=1, sequence=told.sequence, model_generation=1, status=2))
    told.estimates(0.3)
    assert told.reason == "out of distribution"
