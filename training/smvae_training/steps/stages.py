"""The stages of a run: the model by itself, then what a memory needs, see `ContextConfig`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Stage = Literal["own", "match", "tune"]

#: Share of the steps of stage 'match' in which its learning rate rises.
WARMUP = 0.1


@dataclass(frozen=True)
class Stages:
    """Steps of each stage, in their order."""

    own: int
    """The model, of single instants: all there is without a memory."""
    match: int = 0
    """Nothing is decoded: posteriors with memory are drawn towards the fixed ones of the instant
    in which everything was there."""
    tune: int = 0
    """Means of posteriors with memory are decoded, and matched on; the sensors' networks stay."""

    @property
    def total(self) -> int:
        return self.own + self.match + self.tune

    def of(self, step: int) -> Stage:
        """Return the stage of step 0, 1, ..."""
        if step < self.own:
            return "own"
        return "match" if step < self.own + self.match else "tune"

    def begins(self, step: int) -> bool:
        """Return whether a stage after the first one begins at this step."""
        return step in (self.own, self.own + self.match)

    def lr_factor(self, step: int, end: float) -> float:
        """Return the learning rate of a later stage over the largest.

        It falls along a cosine to `end` while matching, and from there to zero.
        """
        if self.of(step) == "match":
            done = step - self.own
            rising = min(1.0, (done + 1) / (WARMUP * self.match + 1))
            return rising * (end + (1.0 - end) * _cosine(done / self.match))
        return end * _cosine((step - self.own - self.match) / max(1, self.tune))


def _cosine(done: float) -> float:
    """Return what a cosine leaves after a share of its way."""
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
