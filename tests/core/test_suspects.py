"""Who is named, on a world whose sensors all see the same place: frozen, biased, contradicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from smvae_core.modality import Modality
from smvae_core.novelty.scale import Tail
from smvae_core.novelty.suspects import Suspects
from smvae_core.novelty.suspicion import (
    EVIDENCE,
    MISFIT,
    STILLNESS,
    Suspicion,
    given,
    scale_key,
    stillness,
)

NAMES = ("a", "b", "c", "d")
RATE_HZ = 5.0
NOISE = 0.1
#: Where the sensors are at a time.
SPEED = 3.0


def place(at_s: Any) -> Any:
    return SPEED * np.sin(at_s)


def _healthy() -> tuple[Tail, Tail]:
    """Return the scales of misfit and stillness, of a sensor given another."""
    rng, at_s = np.random.default_rng(1), np.arange(20_000) / RATE_HZ
    own, other = place(at_s) + rng.normal(0.0, NOISE, (2, len(at_s)))
    misfit = np.log(1e-9 + (own - other) ** 2)
    still = stillness((other[2:] - other[:-2]) ** 2, (own[2:] - own[:-2]) ** 2)
    return Tail.fit(misfit), Tail.fit(still)


MISFITS, STILL = _healthy()


def sets(names: Sequence[str]) -> list[tuple[str, ...]]:
    count = len(names)
    return [tuple(n for i, n in enumerate(names) if k >> i & 1) for k in range(1, 2**count)]


def calibrated(names: Sequence[str]) -> Suspicion:
    scales, limits = {}, {}
    for name in names:
        for others in sets([n for n in names if n != name]):
            scales[scale_key(MISFIT, name, others)] = MISFITS
            scales[scale_key(STILLNESS, name, others)] = STILL
            limits[given(name, others)] = dict.fromkeys(EVIDENCE, 0.85)
    return Suspicion(names=tuple(names), scales=scales, limits=limits, contradiction=0.85)


@dataclass
class _Mean:
    mean: NDArray[np.float32]
    log_var: NDArray[np.float32]


class World:
    """Sensors that each read one place, noisily; a posterior's mean is the mean of its sensors."""

    def __init__(self, names: Sequence[str] = NAMES, seed: int = 0) -> None:
        self.manifest: Any = SimpleNamespace(names=tuple(names), suspicion=calibrated(names))
        self._rng = np.random.default_rng(seed)
        self.samples: dict[str, NDArray[np.float32]] = {}
        self.decodes = 0

    def modality(self, name: str) -> Modality:
        return Modality(name=name, kind="vector", shape=(1,), unit="1")

    def seen(self, name: str) -> NDArray[np.float32]:
        return self.samples[name][None]

    def posteriors(self, subsets: Sequence[Sequence[str]]) -> list[_Mean]:
        means = [np.mean([self.samples[n] for n in subset], axis=0) for subset in subsets]
        return [_Mean(mean, np.zeros_like(mean)) for mean in means]

    def decode(self, name: str, mean: NDArray[np.float32]) -> NDArray[np.float32]:
        self.decodes += 1
        return mean

    def look(self, place: float) -> None:
        for name in self.manifest.names:
            noise = self._rng.normal(0.0, NOISE)
            self.samples[name] = np.array([place + noise], np.float32)


Fault = Callable[[World, int], None]


def healthy(world: World, row: int) -> None:
    """Leave all as it is."""


def biased(name: str, by: float) -> Fault:
    def change(world: World, row: int) -> None:
        world.samples[name] = world.samples[name] + np.float32(by)

    return change


def play(
    world: World, fault: Fault, count: int = 60, begin: int = 20, rate_hz: float = 100.0
) -> tuple[Suspects, dict[str, float]]:
    """Return the suspects at the end, and when each was first named [s] after the fault began."""
    suspects, named = Suspects(world), dict[str, float]()
    for row in range(count):
        at_s = row / RATE_HZ
        world.look(place(at_s))
        if row >= begin:
            fault(world, row)
        suspects.renew(at_s, dict.fromkeys(world.manifest.names, row + 1), rate_hz)
        for name in suspects.named:
            named.setdefault(name, (row - begin) / RATE_HZ)
    return suspects, named


def test_of_healthy_sensors_none_is_named_and_suspicion_is_known() -> None:
    suspects, named = play(World(), healthy)
    assert named == {}
    for name in NAMES:
        verdict = suspects.verdict(name)
        assert 0.0 <= verdict.suspicion < 1.0
        assert verdict.reason == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_far_biased_sensor_is_named_within_two_seconds_and_no_other(name: str) -> None:
    suspects, named = play(World(), biased(name, 5.0))
    assert list(named) == [name]
    assert named[name] <= 2.0
    verdict = suspects.verdict(name)
    assert verdict.suspicion >= 1.0
    others = ", ".join(n for n in NAMES if n != name)
    assert verdict.reason.startswith("suspect: its samples are")
    assert others in verdict.reason


def test_a_frozen_sensor_is_named_for_standing_still() -> None:
    kept: dict[str, NDArray[np.float32]] = {}

    def frozen(world: World, row: int) -> None:
        world.samples["b"] = kept.setdefault("b", world.samples["b"])

    _, named = play(World(), frozen, begin=22)
    assert list(named) == ["b"]
    assert named["b"] <= 2.0


def test_of_two_that_contradict_each_other_none_is_named_and_both_say_so() -> None:
    suspects, named = play(World(("a", "b")), biased("b", 5.0))
    assert named == {}
    assert "cannot be told" in suspects.verdict("a").reason
    assert "cannot be told" in suspects.verdict("b").reason


def test_a_sensor_that_recovers_is_cleared() -> None:
    fault = biased("c", 5.0)
    world = World()
    suspects, named = play(world, lambda w, row: fault(w, row) if row < 40 else None, count=90)
    assert list(named) == ["c"]
    assert suspects.named == ()
    assert suspects.verdict("c").reason == ""


def test_a_suspect_is_no_witness() -> None:
    """With one named, a second one is judged by the two that are left, and named too."""

    def both(world: World, row: int) -> None:
        biased("a", 5.0)(world, row)
        if row >= 35:
            biased("b", -9.0)(world, row)

    _, named = play(World(), both, count=80)
    assert set(named) == {"a", "b"}


def test_sensors_are_judged_in_turns_at_the_rate_that_is_allowed() -> None:
    world = World()
    suspects, _ = play(world, healthy, count=51, rate_hz=2.0)
    assert suspects.renewals == 20
    assert world.decodes < 5 * suspects.renewals


def test_a_sample_is_judged_once() -> None:
    world = World()
    suspects = Suspects(world)
    world.look(0.0)
    for row in range(20):
        suspects.renew(row / RATE_HZ, dict.fromkeys(NAMES, 7), 100.0)
    assert suspects.renewals == len(NAMES)


def test_another_epoch_suspects_nobody() -> None:
    world = World()
    suspects, _ = play(world, biased("a", 5.0))
    assert suspects.named == ("a",)
    suspects.begin(("epoch", 2))
    assert suspects.named == ()
    assert np.isnan(suspects.verdict("a").suspicion)


def test_forgetting_begins_the_turns_of_sensors_anew() -> None:
    """So an attempt of the closed loop is the same whatever was played before."""

    class Watched(World):
        judged = ""

        def seen(self, name: str) -> NDArray[np.float32]:
            self.judged += name
            return super().seen(name)

    world = Watched()
    suspects = Suspects(world)
    for rounds in (3, 6, 5):
        world.judged = ""
        for row in range(rounds):
            world.look(place(row / RATE_HZ))
            suspects.renew(row / RATE_HZ, dict.fromkeys(NAMES, row + 1), RATE_HZ)
        assert world.judged == "abcdabcd"[: rounds - 1]
        suspects.forget()


def test_without_scales_nobody_is_judged() -> None:
    world = World()
    world.manifest.suspicion = None
    suspects, named = play(world, biased("a", 5.0))
    assert (named, suspects.renewals) == ({}, 0)
