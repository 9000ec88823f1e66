"""Segments, jumps, loops and the stopwatch of the player, without a node."""

from __future__ import annotations

from itertools import islice

import pytest
from smvae_tools.bags.playback import Jump, Segment, Stopwatch, parse_jump, segments

from smvae_core.errors import ConfigError

END = float("inf")


def test_a_bag_is_played_once_from_the_offset() -> None:
    assert list(segments(10.0, start_s=2.0)) == [Segment(2.0, END)]


def test_jumps_go_back_and_forth_once_each_and_a_loop_has_none() -> None:
    order = segments(10.0, jumps=[Jump(5.0, 2.0), Jump(3.0, 8.0)], loop=True)
    assert list(islice(order, 5)) == [
        Segment(0.0, 5.0),
        Segment(2.0, 3.0),
        Segment(8.0, END),
        Segment(0.0, END),
        Segment(0.0, END),
    ]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"start_s": 11.0}, "start offset 11 s lies outside the bag of 10.000 s"),
        ({"jumps": [Jump(5.0, 12.0)]}, "jump 12 s lies outside"),
        (
            {"jumps": [Jump(5.0, 8.0), Jump(6.0, 1.0)]},
            "6:1 cannot be made: by then the player is at 8",
        ),
    ],
)
def test_what_cannot_be_played_is_refused_before_playing(options: dict, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        segments(10.0, **options)


@pytest.mark.parametrize("text", ["5", "a:2", "5:", ""])
def test_a_jump_that_is_no_pair_of_numbers_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected AT:TO"):
        parse_jump(text)
    assert parse_jump("5:2.5") == Jump(5.0, 2.5)


def test_the_stopwatch_runs_at_its_rate_and_stands_while_paused() -> None:
    now = [100.0]
    watch = Stopwatch(2.0, lambda: now[0])
    watch.set(1.0)
    now[0] += 3.0
    assert watch.read_s() == 7.0
    assert watch.left_s(9.0) == 1.0
    assert watch.left_s(6.0) == 0.0
    watch.pause(True)
    now[0] += 50.0
    assert watch.read_s() == 7.0
    assert watch.left_s(6.0) == watch.left_s(9.0) == END
    watch.pause(False)
    now[0] += 1.0
    assert watch.read_s() == 9.0


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_that_is_not_positive_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="rate must be positive"):
        Stopwatch(rate)
