"""The order and the pace in which a bag is played: segments, jumps, loops, pauses. No ROS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from smvae_core.errors import ConfigError


@dataclass(frozen=True)
class Jump:
    """A seek: at one moment of the bag, go on at another, forward or back."""

    at_s: float
    to_s: float


@dataclass(frozen=True)
class Segment:
    """A stretch of the bag that is played without a seek; seconds since its first message."""

    begin_s: float
    end_s: float
    """Left out; infinity for all that is left."""


def parse_jump(text: str) -> Jump:
    """Return the jump of 'AT:TO' in seconds, e.g. '5:2' back and '5:8' forward.

    Raises:
        ConfigError: If it is not two numbers.
    """
    at, colon, to = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return Jump(float(at), float(to))
    except ValueError:
        raise ConfigError(f"jump: expected AT:TO in seconds such as 5:2, got '{text}'") from None


def segments(
    duration_s: float, *, start_s: float = 0.0, jumps: Sequence[Jump] = (), loop: bool = False
) -> Iterator[Segment]:
    """Yield what is played, in order; without an end when it loops.

    Args:
        duration_s: Of the bag.
        start_s: Where to begin, and to begin again when looping.
        jumps: Each is made once, in this order.
        loop: Whether the end is followed by the start.

    Raises:
        ConfigError: If the start or a jump lies outside the bag, or a jump before where it finds
            the player. Raised before anything is played.
    """
    position = start_s
    _inside("start offset", start_s, duration_s)
    first: list[Segment] = []
    for jump in jumps:
        _inside("jump", jump.at_s, duration_s)
        _inside("jump", jump.to_s, duration_s)
        if jump.at_s <= position:
            raise ConfigError(
                f"jump {jump.at_s:g}:{jump.to_s:g} cannot be made: by then the player is at "
                f"{position:g} s already; expected a later moment"
            )
        first.append(Segment(position, jump.at_s))
        position = jump.to_s
    return _played([*first, Segment(position, float("inf"))], start_s, loop)


def _played(first: Sequence[Segment], start_s: float, loop: bool) -> Iterator[Segment]:
    yield from first
    while loop:
        yield Segment(start_s, float("inf"))


def _inside(what: str, moment_s: float, duration_s: float) -> None:
    if not 0.0 <= moment_s <= duration_s:
        raise ConfigError(f"{what} {moment_s:g} s lies outside the bag of {duration_s:.3f} s")


class Stopwatch:
    """Bag time that runs at a rate of steady time, and can be paused and set."""

    def __init__(self, rate: float = 1.0, now: Callable[[], float] = time.monotonic) -> None:
        """Stand at 0.

        Args:
            rate: Bag seconds per second.
            now: Steady clock [s].

        Raises:
            ConfigError: If the rate is not positive.
        """
        if not rate > 0.0:
            raise ConfigError(f"rate must be positive, got {rate:g}")
        self._rate, self._now = rate, now
        self._bag_s, self._since_s = 0.0, now()
        self._paused = False

    @property
    def paused(self) -> bool:
        return self._paused

    def read_s(self) -> float:
        """Return the bag's time."""
        if self._paused:
            return self._bag_s
        return self._bag_s + (self._now() - self._since_s) * self._rate

    def set(self, bag_s: float) -> None:
        """Go on from another moment of the bag."""
        self._bag_s, self._since_s = bag_s, self._now()

    def pause(self, paused: bool) -> None:
        """Stop or go on."""
        self.set(self.read_s())
        self._paused = paused

    def left_s(self, bag_s: float) -> float:
        """Return the steady time until a moment of the bag; 0 if it is over, infinity if paused."""
        left = bag_s - self.read_s()
        if left <= 0.0 and not self._paused:
            return 0.0
        return float("inf") if self._paused else left / self._rate
