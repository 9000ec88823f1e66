"""A message that is refused for its stamp says by how much, and what would be right."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from smvae_core.fusion.engine import Engine, Stamps
from smvae_core.fusion.rules import Pace
from smvae_core.presets import vision_touch

SECOND = 10**9
NOW_NS = 1_000 * SECOND


def image(stamp_ns: int) -> SimpleNamespace:
    seconds, nanoseconds = divmod(stamp_ns, SECOND)
    stamp = SimpleNamespace(sec=seconds, nanosec=nanoseconds)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp, frame_id="camera"))


@pytest.fixture
def engine() -> Engine:
    return Engine(vision_touch(32), {}, Pace())


def said(engine: Engine, *stamps_ns: int, clock_ns: int = NOW_NS) -> str:
    """Send images with these stamps; return what is said of the last one, also in its status."""
    for stamp_ns in stamps_ns:
        verdict = engine.receive("rgb", image(stamp_ns), Stamps(1.0, clock_ns))
    status = engine.observe(1.0).status["rgb"]
    assert status.reason in ("", f"the newest message was refused: {verdict.text}")
    return verdict.text


def test_a_stamp_that_was_not_set(engine: Engine) -> None:
    assert said(engine, 0) == "rgb: zero stamp: its driver must set header.stamp"


def test_a_stamp_ahead_of_the_clock(engine: Engine) -> None:
    assert said(engine, NOW_NS + 2 * SECOND) == (
        "rgb: future stamp: 2.000 s ahead of the node's clock, 0.5 s allowed (max_future_s); "
        "synchronise the clocks, or use simulated time on both sides"
    )


def test_the_same_stamp_twice(engine: Engine) -> None:
    text = said(engine, NOW_NS, NOW_NS)
    assert text == "rgb: stamp not increasing: this stamp was there already"


def test_a_stamp_behind_the_newest(engine: Engine) -> None:
    text = said(engine, NOW_NS, NOW_NS - SECOND // 2)
    assert text == "rgb: stamp not increasing: 0.500 s behind its newest message"


def test_a_message_without_header_before_simulated_time_began(engine: Engine) -> None:
    twist = SimpleNamespace(linear=SimpleNamespace(), angular=SimpleNamespace())
    verdict = engine.receive("action", twist, Stamps(1.0, clock_ns=0))
    assert verdict.text == (
        "action: zero stamp: it has no header, and nothing came on /clock yet to say when it came"
    )


def test_what_came_before_simulated_time_is_forgotten_where_it_lies_in_its_future(
    engine: Engine,
) -> None:
    """A camera of wall time, then a simulator whose /clock begins near 0: no jump of over 1 s."""
    wall_ns, step_ns = 1_790_000_000 * SECOND, SECOND // 20
    for n in range(10):
        engine.receive("rgb", image(wall_ns + n * step_ns), Stamps(n * 0.05, clock_ns=0))
    engine.take(0.5)
    epoch = engine.epoch
    for n in range(10, 14):
        clock_ns = (n - 9) * step_ns
        stamps = Stamps(n * 0.05, clock_ns)
        assert engine.receive("rgb", image(wall_ns + n * step_ns), stamps).reason == "future stamp"
        verdict = engine.receive("depth", image(clock_ns), stamps)
        assert (verdict.reason, verdict.restarted) == ("", n == 10)
        taken = engine.take(n * 0.05)
        assert taken.observation.subset == ("depth",)
        assert taken.observation.reference_ns == clock_ns
    assert engine.epoch == epoch + 1, "once"


def test_what_came_before_simulated_time_stays_where_it_is_of_it(engine: Engine) -> None:
    for n in range(10):
        engine.receive("rgb", image((n + 1) * SECOND // 20), Stamps(n * 0.05, clock_ns=0))
    verdict = engine.receive("rgb", image(SECOND), Stamps(0.5, clock_ns=SECOND // 2))
    assert (verdict.reason, verdict.restarted, engine.epoch) == ("", False, 1)
