"""Samples of one modality that are fused into no moment, and which of them memory is told of."""

from __future__ import annotations

from operator import attrgetter

from smvae_core.fusion.samples import Sample, Samples
from smvae_core.fusion.spacing import Spacing

_stamp = attrgetter("stamp_ns")


class Untold:
    """What memory does not know yet: messages that wait, or readings since the last window."""

    def __init__(self, samples: Samples, spacing_s: float, *, is_window: bool) -> None:
        """Start empty.

        Args:
            samples: Those that are kept, to which a window's readings belong.
            spacing_s: How far apart samples count, see `Kind.spacing_s`.
            is_window: Whether a sample is a window of readings.
        """
        self._samples, self._is_window = samples, is_window
        self._spacing = Spacing(spacing_s)
        self._waiting: list[Sample] = []

    @property
    def left_out(self) -> int:
        """Samples that would have counted, had they not been too many."""
        return self._spacing.left_out

    def add(self, sample: Sample) -> None:
        """Let a message wait; readings are found where they are kept."""
        if not self._is_window:
            self._waiting.append(sample)
            if len(self._waiting) > (self._samples.maxlen or 0):
                del self._waiting[0]
                self._spacing.left_out += 1

    def choose(self, limit_ns: int, fused_ns: int | None, most: int | None) -> list[Sample]:
        """Return what memory is to be told of beside the sample that is fused, each once.

        Of a window those are the readings that it ends with. What is not chosen is no longer
        waited for.

        Args:
            limit_ns: Newest stamp of the moment.
            fused_ns: Stamp of the sample that is fused; None = none is.
            most: At most so many; None = see `Spacing`.
        """
        if self._is_window:
            found = [] if fused_ns is None else self._readings_since(fused_ns)
        elif not self._waiting and fused_ns in (None, self._spacing.last_ns):
            return []
        else:
            found = sorted((s for s in self._waiting if s.stamp_ns <= limit_ns), key=_stamp)
            self._waiting = [s for s in self._waiting if s.stamp_ns > limit_ns]
        chosen = self._spacing.choose([s.stamp_ns for s in found], fused_ns, most)
        return [found[index] for index in chosen]

    def forget(self) -> None:
        """Forget what memory was told of, and what it was not."""
        self._waiting.clear()
        self._spacing.forget()

    def reset_count(self) -> None:
        """Count from zero again."""
        self._spacing.left_out = 0

    def _readings_since(self, fused_ns: int) -> list[Sample]:
        """Return the readings since the newest window that memory knows of, up to one."""
        told_ns, samples = self._spacing.last_ns, self._samples
        if told_ns is not None and not self._spacing.between(told_ns, fused_ns):
            return []
        first = len(samples) if told_ns is None else samples.after(told_ns)
        return [samples[i] for i in range(first, samples.place(fused_ns))]
