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
