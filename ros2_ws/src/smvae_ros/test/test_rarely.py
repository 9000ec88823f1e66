"""What repeats is logged once in a while, and holds nothing else back."""

from __future__ import annotations

from typing import Any

import pytest
from rclpy.logging import get_logger
from smvae_ros.lifecycle.guards import surviving
from smvae_ros.report.rarely import Rarely


def test_each_thing_is_said_once_a_period() -> None:
    now_s = [100.0]
    rarely = Rarely(5.0, clock=lambda: now_s[0])
    assert [rarely("rgb"), rarely("depth"), rarely("rgb")] == [True, True, False]
    now_s[0] = 105.0
    assert rarely("rgb")


def test_a_timer_that_fails_holds_back_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    class Node:
        def get_logger(self) -> Any:
            return get_logger("rarely")

    def watch() -> None:
        raise ValueError("watchdog")

    def diagnose() -> None:
        raise ValueError("diagnostics")

    ticks = [surviving(Node(), tick) for tick in (watch, diagnose)]
    for _ in range(3):
        for tick in ticks:
            tick()
    said = capfd.readouterr().err
    assert said.count("watch failed: ValueError: watchdog") == 1
    assert said.count("diagnose failed: ValueError: diagnostics") == 1
