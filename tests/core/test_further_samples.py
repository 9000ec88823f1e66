"""What counts beside moments: messages in disorder, and what is fused into none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from smvae_core.fusion.channel import NOT_INCREASING
from smvae_core.fusion.engine import Engine, Stamps, Taken
from smvae_core.fusion.playback import Playback
from smvae_core.fusion.rules import TOO_LATE, FusionRule, FusionState, Pace
from smvae_core.memory.samples import LATE_S
from smvae_core.perceiver import Perceived, Perceiver
from smvae_core.runtime import Runtime
from tests.remembering import AS_IT_IS, MODALITIES, NAMES, T0, Desk, remembering_bundle

MS = 10**6


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return remembering_bundle(tmp_path_factory.mktemp("memory") / "bundle")


@pytest.fixture
def runtime(path: Path) -> Runtime:
    return Runtime(path)


def engine(late_s: float = LATE_S, rate_hz: float = 1000.0) -> Engine:
    sources = dict.fromkeys(NAMES, AS_IT_IS)
    return Engine(MODALITIES, {}, Pace(max_rate_hz=rate_hz), sources, late_s=late_s)


def put(engine: Engine, *stamps_ms: float, name: str = "rgb") -> list[str]:
    """Store a sensor's messages one after the other; return what each is refused for."""
    value = np.zeros(6, np.float32)
    return [
        engine.put(name, T0 + round(t * MS), value, Stamps(n * 0.01)).reason
        for n, t in enumerate(stamps_ms)
    ]


def test_a_late_message_is_taken_once_where_there_is_a_memory_and_asks_for_nothing() -> None:
    told = engine()
    assert put(told, 0, 200) == ["", ""]
    assert [f.stamp_ns for f in told.take(0.0105).observation.further["rgb"]] == [T0]
    assert put(told, 50, 50, 200, 100) == ["", NOT_INCREASING, NOT_INCREASING, ""]
    assert not told.pending
    assert told.missed == 1, "it replaces nobody"
    assert put(told, 250) == [""]
    further = told.take(0.01).observation.further
    assert [f.stamp_ns - T0 for f in further["rgb"]] == [50 * MS, 100 * MS]
    put(told, 300)
    assert told.take(0.01).observation.further == {}, "told once"


def test_what_is_too_late_is_refused_with_a_reason() -> None:
    told = engine()
    put(told, 0, 2000)
    verdict = told.put("rgb", T0 + 500 * MS, None, Stamps(0.3))
    assert verdict.reason == TOO_LATE
    assert verdict.text == "rgb: 1.500 s behind its newest message, 1 s at most"
    assert told.observe(0.3).status["rgb"].reject_reasons == {TOO_LATE: 1}


def test_without_a_memory_nothing_is_taken_late() -> None:
    told = engine(late_s=0.0)
    assert put(told, 0, 100, 50) == ["", "", NOT_INCREASING]
    assert told.take(0.1).observation.further == {}


@pytest.mark.parametrize(
    ("stamps", "restarts"),
    [
        pytest.param([0, 100, 200, 300, 20, 40, 60, 80, 120, 400], [], id="a late burst"),
        pytest.param([0, 50, 100, 150, 200, 0, 50, 100, 150, 200], [9], id="a short loop"),
        pytest.param([0, 50, 5000, 10, 60], [4], id="a looped bag"),
    ],
)
def test_a_late_burst_is_no_restart_but_a_loop_is(stamps: list[float], restarts: Any) -> None:
    told = engine()
    found = []
    for number, t in enumerate(stamps):
        stamp = T0 + round(t * MS)
        if told.put("rgb", stamp, None, Stamps(number * 0.01)).restarted:
            found.append(number)
    assert found == restarts


def test_a_late_reading_is_part_of_later_windows() -> None:
    """A full one too: the oldest reading makes room."""
    told = engine()
    kept = told.collector.channel("force").samples.maxlen
    assert kept is not None
    readings = [t for t in range(kept + 40) if t != kept + 20]
    put(told, *readings, name="force")
    before = told.collector.channel("force").readings(kept - 1)[0]
    assert put(told, kept + 20, name="force") == [""]
    after = told.collector.channel("force").readings(kept - 1)[0]
    assert set(after) - set(before) == {T0 + (kept + 20) * MS}
    assert len(told.collector.channel("force").samples) == kept
    assert told.take(0.1).observation.further == {}, "a reading is no sample"


def seen_in(order: list[tuple[float, str, float]], runtime: Runtime) -> Perceived:
    """Return the last moment of samples that came (arrival, name, stamp), in seconds."""
    desk = Desk(runtime)
    desk.perceiver.forget()
    for arrival_s, name, at_s in order:
        desk.now_s = arrival_s
        desk.add(name, arrival_s - at_s)
        desk.look()
    desk.now_s = max(arrival_s for arrival_s, _, _ in order)
    return desk.see("action", after_s=0.01)


def test_the_order_of_arrival_of_one_sensor_does_not_matter(runtime: Runtime) -> None:
    times = [round(0.05 * n, 2) for n in range(1, 40)]
    sent = [(t, name, t) for t in times for name in ("rgb", "depth", "action")]
    expected = seen_in(sent, runtime)
    generator = np.random.default_rng(0)
    for most_s in (0.12, 0.9):
        late = generator.uniform(0.0, most_s, len(sent))
        late[-3:] = 0.0  # the newest of each are there in time
        disordered = sorted((t + d, name, t) for (t, name, _), d in zip(sent, late, strict=True))
        disordered = [each for each in disordered if each[0] < 1.95] + [
            (1.95, name, t) for arrival_s, name, t in disordered if arrival_s >= 1.95
        ]
        assert [t for _, n, t in disordered if n == "rgb"] != times
        seen = seen_in(disordered, runtime)
        counted = {n: s.elements for n, s in seen.observation.status.items()}
        assert counted == {n: s.elements for n, s in expected.observation.status.items()}
        assert np.abs(seen.posterior.mean - expected.posterior.mean).max() < 1e-5
        assert np.abs(seen.posterior.log_var - expected.posterior.log_var).max() < 1e-5


def test_older_than_the_fold_of_others_is_refused_and_counted(runtime: Runtime) -> None:
    desk = Desk(runtime)
    for _ in range(3):
        desk.see("rgb", "action")
    desk.see("rgb", "action", after_s=0.1)
    for _ in range(30):
        desk.see("action")
    desk.add("rgb", 1.57)  # within a second of its own newest
    told: list[tuple[Any, ...]] = []
    observation = desk.collector.observe(desk.now_s)
    desk.collector.tell(observation)
    desk.perceiver.perceive(
        1, observation, lambda *why: told.append(why), lambda r: desk.collector.observe(desk.now_s)
    )
    ((name, _, reason, text),) = told
    assert (name, reason) == ("rgb", TOO_LATE)
    assert "older than what memory has folded, 1 s at most" in text
    assert observation.status["rgb"].further_ns == ()


def test_a_late_sample_that_is_bad_is_refused_alone(runtime: Runtime) -> None:
    desk = Desk(runtime)
    desk.see(*NAMES)
    desk.see(*NAMES, after_s=0.1)
    bad = T0 + round((desk.now_s - 0.07) * 1e9)
    desk.collector.add("rgb", bad, np.zeros((3, 3), np.uint8), desk.now_s)
    desk.add("rgb", 0.035)
    seen = desk.see("action")
    assert len(seen.observation.status["rgb"].further_ns) == 1
    assert desk.collector.observe(desk.now_s).status["rgb"].rejected == 1
    assert seen.observation.status["rgb"].elements == 3
    assert seen.observation.status["rgb"].state in (FusionState.FUSED, FusionState.REMEMBERED)


# --- samples that are fused into no moment -----------------------------------------------------


def told_of(rate_hz: float, name: str, latents_hz: float, seconds: float = 2.0) -> tuple[Any, ...]:
    """Play a sensor beside a command; return its counted stamps [ms] and how many were left out."""
    played, stamps = engine(rate_hz=latents_hz), []
    for number in range(round(seconds * rate_hz)):
        now_s = number / rate_hz
        stamp = T0 + round(now_s * 1e9)
        played.put(name, stamp, np.zeros(6, np.float32), Stamps(now_s))
        if number % round(rate_hz / latents_hz) == 0:
            observation = played.take(now_s).observation
            if name in observation.samples:
                stamps.append(observation.status[name].stamp_ns)
            stamps += [f.stamp_ns for f in observation.further.get(name, ())]
    left_out = played.observe(seconds).status[name].left_out
    return [(s - T0) / MS for s in sorted(stamps)], left_out


@pytest.mark.parametrize(
    ("name", "rate_hz", "latents_hz", "a_second"),
    [
        pytest.param("action", 500, 30, 90, id="more often than 100 Hz"),
        pytest.param("action", 100, 30, 100, id="100 Hz"),
        pytest.param("force", 1000, 30, 30, id="windows that nearly touch"),
        pytest.param("force", 1000, 10, 46, id="windows with others between"),
    ],
)
def test_what_comes_between_moments_counts_at_a_bounded_rate(
    name: str, rate_hz: float, latents_hz: float, a_second: int
) -> None:
    stamps, left_out = told_of(rate_hz, name, latents_hz)
    counted = [s for s in stamps if s >= 1000.0]
    assert len(counted) == pytest.approx(a_second, abs=3)
    assert np.diff(counted).min() >= (19.2 if name == "force" else 8.99)
    assert np.diff(counted).max() <= (38.4 if name == "force" else 20.0)
    assert left_out == 0


def test_an_image_counts_as_often_as_every_other_of_60_hz() -> None:
    slow = told_of(30.0, "rgb", 1.0, 3.0)[0]
    assert len([s for s in slow if 1000.0 < s <= 2000.0]) == 8, "what is kept of one"
    stamps, left_out = told_of(60.0, "rgb", 20.0)
    assert np.diff(stamps).min() >= 24.99
    assert left_out == 0


def test_with_slow_latents_the_newest_count_and_the_others_are_counted() -> None:
    stamps, left_out = told_of(100.0, "action", 1.0, 3.0)
    second = [s for s in stamps if 1000.0 < s <= 2000.0]
    assert len(second) == 1 + 28
    assert second[0] == 2000.0 - 280.0
    assert left_out == 2 * (99 - 28)
    force, left_out = told_of(1000.0, "force", 1.0, 3.0)
    assert len([s for s in force if 1000.0 < s <= 2000.0]) == 1 + 13
    assert left_out > 0


def test_who_does_not_keep_up_is_told_of_no_image_that_was_not_fused() -> None:
    """Else each latent would cost more, come later, and have still more of them to embed."""
    told = Engine(
        MODALITIES, {}, Pace(max_rate_hz=30.0), dict.fromkeys(NAMES, AS_IT_IS), late_s=1.0
    )
    for n, busy in enumerate((False, True)):
        for number in range(4):
            now_s = n + 0.03 * number
            for name in ("rgb", "action"):
                told.put(name, T0 + round(now_s * 1e9), np.zeros(4, np.float32), Stamps(now_s))
        told.due(n + 0.02)
        further = told.take(n + (0.1 if busy else 0.04)).observation.further
        assert len(further["action"]) >= 3
        assert ("rgb" in further) is not busy
    assert told.observe(1.1).status["rgb"].left_out == 3


def test_patches_of_a_window_are_what_its_readings_give(runtime: Runtime) -> None:
    """Embedded together; equal to one at a time, and none where readings do not cover it."""
    desk = Desk(runtime)
    desk.see("force")
    generator = np.random.default_rng(0)
    for _ in range(65):
        desk.now_s += 0.001
        stamp = T0 + round(desk.now_s * 1e9)
        desk.collector.add("force", stamp, generator.normal(size=6).astype(np.float32), desk.now_s)
    seen = desk.look()
    assert seen is not None
    status = seen.observation.status["force"]
    assert [status.stamp_ns - s for s in status.further_ns] == [40 * MS, 20 * MS]
    recall, other = runtime.recall, Runtime(runtime.bundle)
    assert recall is not None
    for further in seen.observation.further["force"]:
        (element,) = [e for e in recall.memory._rings[2] if e.stamp_ns == further.at_ns]
        modality = runtime.modality("force")
        other.observe("force", modality.family.assemble(modality, *further.value))
        _, term, _, mean = other.reading("force")
        np.testing.assert_allclose(element.term, term, atol=1e-5)
        np.testing.assert_allclose(element.mean, mean, atol=1e-5)


def replayed(runtime: Runtime, messages: list[tuple[int, str, int]]) -> Perceived:
    """Return the last latent of (received, name, stamp) [ms], as a bag is replayed."""
    perceiver, found = Perceiver(runtime), list[Perceived | None]()
    sources = dict.fromkeys(NAMES, AS_IT_IS)
    perceiver.configure(sources, 5.0)
    perceiver.forget()
    rules = dict.fromkeys(NAMES, FusionRule(max_skew_s=0.2, max_age_s=5.0))
    engine = Engine(MODALITIES, rules, Pace(max_rate_hz=15.0), sources, late_s=LATE_S)

    def taken(moment: Taken) -> None:
        observe = engine.collector.observe
        found.append(
            perceiver.perceive(
                moment.epoch,
                moment.observation,
                lambda *why: pytest.fail(str(why)),
                lambda reference_ns: observe(moment.at_s, reference_ns),
            )
        )

    playback = Playback(engine, T0, taken)
    for received, name, stamp in messages:
        modality = runtime.modality(name)
        value = modality.example_sample(stamp)
        at_ns = T0 + received * MS
        verdict = playback.put(name, at_ns, T0 + stamp * MS, value, at_ns)
        assert verdict.reason == ""
        playback.settle(verdict)
    playback.finish()
    assert found[-1] is not None
    return found[-1]


def test_replays_of_any_order_of_arrival_end_alike(runtime: Runtime) -> None:
    """Latents at 15 Hz of cameras at 25 Hz: many an image is fused into none."""
    sent = [(t, n, t) for t in range(40, 1601, 40) for n in ("rgb", "depth", "action")]
    expected = replayed(runtime, sent)
    assert expected.observation.status["rgb"].elements == 40
    generator = np.random.default_rng(3)
    for most in (100, 800):
        late = generator.integers(0, most, len(sent))
        late[-3:] = 0
        disordered = sorted(
            (min(t + int(d), 1600), n, t) for (t, n, _), d in zip(sent, late, strict=True)
        )
        seen = replayed(runtime, disordered)
        assert seen.observation.reference_ns == expected.observation.reference_ns
        assert {n: s.elements for n, s in seen.observation.status.items()} == {
            n: s.elements for n, s in expected.observation.status.items()
        }
        assert np.abs(seen.posterior.mean - expected.posterior.mean).max() < 1e-5
        assert np.abs(seen.posterior.log_var - expected.posterior.log_var).max() < 1e-5
