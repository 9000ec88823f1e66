"""Whatever a test does to signals, the next one hears them: the first of these comes before."""

from __future__ import annotations

import signal

import pytest

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(scope="module")
def heard() -> dict[int, object]:
    return {number: signal.getsignal(number) for number in SIGNALS}


def test_a_program_in_this_process_may_end_deaf(heard: dict[int, object]) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    assert [signal.getsignal(number) for number in heard] == [signal.SIG_IGN] * 2


def test_the_next_test_hears_what_was_heard_before(heard: dict[int, object]) -> None:
    assert {number: signal.getsignal(number) for number in SIGNALS} == heard
