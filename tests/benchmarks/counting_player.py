"""A contender of tests: counts its turns, prints where it must not, and ends when it is told to."""

from __future__ import annotations

import os
from typing import Any


class Counting:
    def __init__(self, start: int, fails_at: int = -1) -> None:
        self.number, self.fails_at = start, fails_at
        self.about = {"pid": os.getpid()}

    def begin(self) -> None:
        self.number += 1

    def turn(self) -> dict[str, Any]:
        print("what a package prints is no answer")
        if self.number == self.fails_at:
            raise ValueError(f"told to fail at {self.number}")
        return {"samples": self.number, "work": sum(range(10_000))}
