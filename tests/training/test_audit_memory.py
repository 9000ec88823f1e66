"""Latents with a memory are made again from what they and those before them list, or it is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smvae_core.fusion.rules import FusionState, SuspicionRule
from smvae_core.perceiver import Perceived
from smvae_core.preprocessing import prepare
from smvae_core.runtime import Runtime
from smvae_training.audit.reproduce import Checked, Reproducer
from smvae_training.audit.samples import Readings
from smvae_training.evaluate.live.bag import Latent
from tests.accused import accusing_bundle, scoring_bundle
from tests.remembering import MODALITIES, NAMES, T0, Desk, remembering_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return remembering_bundle(tmp_path_factory.mktemp("memory") / "bundle")


class Recorded:
    """What a recording holds: the raw samples of latents, by sensor and stamp."""

    def __init__(self) -> None:
        self.samples: dict[tuple[str, int], Any] = {}
        self.latents: list[Latent] = []

    def add(self, seen: Perceived) -> None:
        observation = seen.observation
        status = observation.status
        for name, samples in observation.further.items():
            for each in samples:
                value = each.value
                if isinstance(value, tuple):
                    value = Readings(stamps_ns=value[0], values=value[1])
                self.samples[name, each.stamp_ns] = value
        for name, value in observation.samples.items():
            self.samples[name, status[name].stamp_ns] = value
        counted = {n: (status[n].elements, status[n].folded) for n in seen.subset}
        self.latents.append(
            Latent(
                stamp_ns=observation.reference_ns,
                received_ns=observation.reference_ns,
                epoch=1,
                sequence=len(self.latents),
                valid=True,
                status=0,
                mean=seen.posterior.mean,
                variance=seen.posterior.variance,
                generation=1,
                node_latency_s=0.0,
                states={n: s.state for n, s in status.items()},
                stamps_ns={n: s.stamp_ns for n, s in status.items()},
                memory_s=seen.memory_s,
                ahead_s=seen.ahead_s,
                counted=counted,
                held=frozenset(n for n, s in status.items() if s.held),
                further_ns={n: s.further_ns for n, s in status.items() if s.further_ns},
                doubted=frozenset(
                    n for n, s in status.items() if s.suspect and s.state is FusionState.REJECTED
                ),
            )
        )

    def find(self, name: str, stamp_ns: int) -> Any:
        return self.samples.get((name, stamp_ns))

    def why_not(self, name: str, stamp_ns: int) -> str:
        return "no message"

    def prepared(self, name: str, value: Any) -> Any:
        return prepare(next(m for m in MODALITIES if m.name == name), value)

    def checked(self, bundle: Path, desk: Desk, first: int = 0) -> list[Checked]:
        rules = {n: desk.collector.channel(n).rule for n in NAMES}
        reproducer = Reproducer(Runtime(bundle), rules, self)
        return [reproducer.check(latent) for latent in self.latents[first:]]


@pytest.fixture
def recorded(bundle: Path) -> tuple[Recorded, Desk]:
    """Two seconds of all sensors, of which the cameras are lost for one."""
    desk, found = Desk(Runtime(bundle), 1.5), Recorded()
    for step in range(40):
        lost = 10 <= step < 30
        found.add(desk.see(*(("force", "action") if lost else NAMES)))
    return found, desk


def test_every_latent_is_made_again(recorded: tuple[Recorded, Desk], bundle: Path) -> None:
    found, desk = recorded
    assert found.latents[20].states["rgb"] is FusionState.REMEMBERED
    assert found.latents[20].rests_on == set(NAMES)
    assert found.latents[39].counted["force"] == (61, 18)
    checked = found.checked(bundle, desk)
    assert all(c.complete and c.equal for c in checked)
    assert max(c.mean_difference for c in checked) < 1e-5


def test_latents_without_suspects_are_made_again(bundle: Path, tmp_path: Path) -> None:
    """Of who is named nothing counts any more, of who makes a moment novel what it said before."""
    named = accusing_bundle(bundle, tmp_path / "named", "rgb")
    found = _left_out(named, NAMES)
    states = [latent.states["rgb"] for latent in found.latents]
    assert states[0] is FusionState.FUSED
    assert states[-1] is FusionState.REJECTED

    def score(subset: tuple[str, ...]) -> float:
        return 9.0 if "rgb" in subset and "depth" not in subset else 0.5

    novel = scoring_bundle(bundle, tmp_path / "novel", score)
    found = _left_out(novel, NAMES[:1] + NAMES[2:])
    assert found.latents[-1].states["rgb"] is FusionState.REMEMBERED


def _left_out(bundle: Path, later: tuple[str, ...]) -> Recorded:
    """Return two seconds of latents of which some leave rgb out, after checking all of them."""
    desk, found = Desk(Runtime(bundle), 1.5), Recorded()
    rule = SuspicionRule(rate_hz=100.0, leave_out=True)
    desk.perceiver.configure(desk.sources, 1.5, suspicion=rule)
    for step in range(40):
        found.add(desk.see(*(NAMES if step < 20 else later)))
        desk.perceiver.judge()
    checked = found.checked(bundle, desk)
    assert all(c.complete and c.equal for c in checked), [c.missing for c in checked]
    return found


def test_late_samples_are_made_again_too(bundle: Path) -> None:
    desk, found = Desk(Runtime(bundle), 1.5), Recorded()
    for step in range(20):
        desk.now_s += 0.05
        if step % 2:  # in pairs, the second of which comes first
            desk.add("rgb")
            desk.add("rgb", 0.05)
        desk.add("action")
        found.add(desk.look())
    assert [len(latent.further_ns.get("rgb", ())) for latent in found.latents] == [0, 1] * 10
    checked = found.checked(bundle, desk)
    assert all(c.complete and c.equal for c in checked)
    lost = found.latents[5].further_ns["rgb"][0]
    del found.samples["rgb", lost]
    assert "memory: 6 samples" in found.checked(bundle, desk)[5].missing["rgb"]


def test_what_counts_from_a_moment_without_a_latent_is_listed_in_the_next(bundle: Path) -> None:
    """Who was lost is not trusted at once, so that no latent is made; the sample counts."""
    desk, found = Desk(Runtime(bundle), 1.5), Recorded()
    found.add(desk.see("rgb", "action"))
    desk.now_s += 0.9
    desk.add("rgb")
    desk.add("action")
    alone = T0 + round(desk.now_s * 1e9)
    assert desk.look() is None
    latent = desk.see("rgb", "action")
    assert latent.observation.status["rgb"].further_ns == (alone,)
    assert latent.observation.status["rgb"].elements == 3
    found.add(latent)
    example = {m.name: m.example_sample(950) for m in MODALITIES}
    found.samples |= {(name, alone): example[name] for name in ("rgb", "action")}
    assert all(c.complete and c.equal for c in found.checked(bundle, desk))


def test_a_reading_that_the_node_lacked_is_said_and_no_latent_is_called_false(
    recorded: tuple[Recorded, Desk], bundle: Path
) -> None:
    found, desk = recorded
    for number, latent in enumerate(found.latents):
        stamp = latent.stamps_ns["force"]
        window = found.samples["force", stamp]
        step = np.arange(len(window) - 1, -1, -1) * 1_000_000
        found.samples["force", stamp] = Readings(
            stamps_ns=stamp - step, values=list(window), number=32 * (number + 1)
        )
        lacked = 3 if number >= 20 else 0
        received = {"force": 32 * (number + 1) - lacked}
        found.latents[number] = replace(latent, received=received)
    false = found.latents[25]
    found.latents[25] = replace(false, mean=false.mean + np.float32(0.01))
    checked = found.checked(bundle, desk)
    assert checked[25].missing == {"force": "readings: the node lacks 3 of those before it"}
    assert all(c.equal for c in checked if c.complete)
    false = found.latents[15]
    found.latents[15] = replace(false, mean=false.mean + np.float32(0.01))
    assert not found.checked(bundle, desk)[15].equal
    assert found.checked(bundle, desk)[15].complete


def test_latents_ahead_are_made_again(bundle: Path) -> None:
    desk, found = Desk(Runtime(bundle), 1.5), Recorded()
    desk.configure(1.5, 0.2)
    for step in range(10):
        found.add(desk.see(*(("force", "action") if step > 5 else NAMES)))
    assert found.latents[3].answers_ns == found.latents[3].stamp_ns + 200_000_000
    assert all(c.complete and c.equal for c in found.checked(bundle, desk))
    found.latents[9] = replace(found.latents[9], ahead_s=0.0)
    assert [c.equal for c in found.checked(bundle, desk)] == [True] * 9 + [False]


def test_a_false_latent_is_different(recorded: tuple[Recorded, Desk], bundle: Path) -> None:
    found, desk = recorded
    false = found.latents[20]
    found.latents[20] = replace(false, mean=false.mean + np.float32(0.01))
    checked = found.checked(bundle, desk)
    assert [c.latent.sequence for c in checked if not c.equal] == [20]
    assert checked[20].complete


def test_what_a_later_recording_lacks_is_said_and_no_latent_is_called_false(
    recorded: tuple[Recorded, Desk], bundle: Path
) -> None:
    found, desk = recorded
    checked = found.checked(bundle, desk, first=12)
    assert not checked[0].complete
    why = "memory: 10 samples and 0 folded count, the recording gives 0 samples and 0 folded"
    assert checked[0].missing["rgb"] == why
    assert all(c.equal for c in checked if c.complete)


def test_a_sample_that_is_missing_is_named_there_and_in_what_rests_on_it(
    recorded: tuple[Recorded, Desk], bundle: Path
) -> None:
    found, desk = recorded
    del found.samples["depth", found.latents[9].stamps_ns["depth"]]
    checked = found.checked(bundle, desk)
    assert checked[9].missing == {"depth": "no message"}
    assert checked[14].missing["depth"].startswith("memory: 10 samples")
    assert not any(c.complete and not c.equal for c in checked)
