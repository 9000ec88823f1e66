"""The glances of several recordings on one time line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smvae_core.view.glance import Glance
from smvae_training.view.records import PAUSE_NS

Show = Callable[[Glance], None]


class Following:
    """Shows glances of several recordings one behind the other, whatever their clocks say."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self._shift_ns = self._newest_ns = 0

    def begin(self, begin_ns: int) -> None:
        """Begin a recording; one that lies behind what was shown is moved after it."""
        if begin_ns <= self._newest_ns:
            self._shift_ns = self._newest_ns + PAUSE_NS - begin_ns
        else:
            self._shift_ns = 0

    def show(self, stamp_ns: int, **what: Any) -> None:
        stamp_ns += self._shift_ns
        self._newest_ns = max(self._newest_ns, stamp_ns)
        self._show(Glance(stamp_ns=stamp_ns, **what))
