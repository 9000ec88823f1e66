"""Which sensors are suspect, moment by moment, from what a runtime has observed.

A renewal judges one sensor: runs of the set encoder on the others and on all but each of them, one
of its decoder, and only where that surprises further ones. Sensors take turns, so many renewals
per second in all, whatever their number. See `suspicion` for what is asked.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smvae_core.novelty.scale import reconstruction
from smvae_core.novelty.scorer import Networks
from smvae_core.novelty.suspicion import (
    EVIDENCE,
    FAST,
    LAG_S,
    LONGEST_LAG_S,
    MISFIT,
    STILLNESS,
    Span,
    Suspicion,
    blamed,
    change,
    excusing,
    stillness,
)

#: A suspect is one until its suspicion falls below this: in healthy data slow evidence gets to 0.7.
CLEARED = 0.75
#: What is held against a sensor, by evidence.
_CHARGES = {
    f"{MISFIT}/fast": "its samples are not what {others} foretell",
    f"{MISFIT}/middle": "its samples are not what {others} foretell",
    f"{MISFIT}/slow": "its samples are at odds with what {others} foretell all the time",
    f"{STILLNESS}/fast": "its samples stand still while {others} move",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is held of one sensor."""

    suspect: bool = False
    suspicion: float = math.nan
    """Largest evidence against it by its limit, so 1 = suspect; NaN = not known yet."""
    reason: str = ""
    """In words, of a suspect, or of one that contradicts the others where it cannot be told who
    is wrong; '' = neither."""


class _Seen(NamedTuple):
    """A sample at a time, and what others say at it."""

    at_s: float
    x: NDArray[np.float32]
    """(1, *shape), normalised."""
    means: dict[tuple[str, ...], NDArray[np.float32]]
    """Posterior mean (Z,) of all others, which stand first, and of all but each one."""
    foretold: dict[tuple[str, ...], NDArray[np.float32]]
    """What was decoded of those (1, *shape)."""

    @property
    def others(self) -> tuple[str, ...]:
        return next(iter(self.means))


@dataclass
class _Held:
    """What is known of one sensor."""

    spans: dict[str, Span] = field(
        default_factory=lambda: {k: Span(p) for k, (_, p) in EVIDENCE.items()}
    )
    contradiction: Span = field(default_factory=lambda: Span(FAST))
    past: deque[_Seen] = field(default_factory=deque)
    others: tuple[str, ...] = ()
    verdict: Verdict = field(default_factory=Verdict)

    def add(self, statistic: str, at_s: float, surprise: float) -> None:
        """Add a surprise to the evidence that is made of its statistic; NaN says nothing."""
        if not math.isnan(surprise):
            for key, (of, _) in EVIDENCE.items():
                if of == statistic:
                    self.spans[key].add(at_s, surprise)

    def begin_anew(self) -> None:
        """Drop the evidence and keep the verdict."""
        fresh = _Held()
        self.spans, self.contradiction, self.past = fresh.spans, fresh.contradiction, fresh.past


class Suspects:
    """Judges the sensors of a runtime in turns."""

    def __init__(self, networks: Networks) -> None:
        """Start without evidence.

        Args:
            networks: A runtime; used by nobody else meanwhile.
        """
        self._networks = self._runtime = networks
        self._held: dict[str, _Held] = {}
        self._judged: dict[str, int] = {}
        self._turn = tuple(networks.manifest.names)
        self._owed, self._last_s = 0.0, -math.inf
        self._key: Hashable = None
        self.renewals = 0
        """Sensors judged so far."""

    @property
    def calibrated(self) -> Suspicion | None:
        return self._networks.manifest.suspicion

    def begin(self, key: Hashable) -> None:
        """Forget all unless the same was said last: an epoch, how messages are read."""
        if key != self._key:
            self.forget()
            self._key = key

    def forget(self) -> None:
        """Suspect nobody, know nothing; the turns begin anew."""
        self._held.clear()
        self._judged.clear()
        self._turn = tuple(self._runtime.manifest.names)
        self._owed, self._last_s, self._key = 0.0, -math.inf, None

    def verdict(self, name: str) -> Verdict:
        """Return what is held of a sensor."""
        held = self._held.get(name)
        return held.verdict if held is not None else Verdict()

    def evidence(self, name: str) -> dict[str, float]:
        """Return the evidence against a sensor by name; NaN where samples do not cover its span."""
        held = self._held.get(name)
        return {k: span.evidence for k, span in held.spans.items()} if held is not None else {}

    @property
    def named(self) -> tuple[str, ...]:
        """The sensors that are suspect."""
        held = tuple(self._held.items())  # another thread may judge
        return tuple(n for n, each in held if each.verdict.suspect)

    def owes(self, at_s: float, rate_hz: float) -> bool:
        """Return whether `renew` would judge anybody, as far as time is concerned."""
        since_s = at_s - self._last_s
        return since_s > 0.0 and not self._owed + since_s * rate_hz < 1.0 - 1e-6

    def renew(
        self,
        at_s: float,
        stamps_ns: Mapping[str, int],
        rate_hz: float,
        networks: Networks | None = None,
    ) -> None:
        """Judge those whose turn it is, as many as the time since the last call allows.

        In one thread at a time; verdicts may be read meanwhile, and all be forgotten.

        Args:
            at_s: Reference time of a moment.
            stamps_ns: Stamp of the sample of each sensor that is there at that moment, all of them
                observed. One that was judged is not judged again.
            rate_hz: Renewals per second, all sensors together.
            networks: A snapshot of the runtime at that moment; None = the runtime itself.
        """
        self._networks = networks or self._runtime
        if self.calibrated is None or at_s <= self._last_s:
            return
        since_s = at_s - self._last_s if math.isfinite(self._last_s) else 0.0
        self._last_s = at_s
        self._owed = min(self._owed + since_s * rate_hz, len(stamps_ns))
        for name in (n for n in self._turn if n in stamps_ns):
            if self._owed < 1.0 - 1e-6:
                return
            if self._judged.get(name) == stamps_ns[name]:
                continue
            self._judged[name] = stamps_ns[name]
            self._turn = (*(n for n in self._turn if n != name), name)
            self._owed -= 1.0
            self._judge(self.calibrated, name, at_s, tuple(stamps_ns))

    def _judge(self, scales: Suspicion, name: str, at_s: float, present: tuple[str, ...]) -> None:
        """Judge one sensor by those of the others that are not suspect."""
        held = self._held.setdefault(name, _Held())
        bad = self.named
        order = self._networks.manifest.names
        others = tuple(n for n in order if n in present and n != name and n not in bad)
        if not others:
            held.begin_anew()  # its verdict stands until there is a witness
            return
        self.renewals += 1
        seen = self._see(name, at_s, others)
        given_all = self._misfit(scales, name, others, seen)
        fewer = excusing(others)
        if not math.isnan(given_all):
            held.contradiction.add(at_s, given_all)
        left = blamed(MISFIT, given_all, (self._misfit(scales, name, o, seen) for o in fewer))
        held.add(MISFIT, at_s, left)
        before = self._before(held, seen)
        if before is not None:
            still = self._stillness(scales, name, others, seen, before)
            each = (self._stillness(scales, name, o, seen, before) for o in fewer)
            held.add(STILLNESS, at_s, blamed(STILLNESS, still, each))
        held.past.append(seen)
        held.others = others
        self._decide(scales, name, held)

    def _decide(self, scales: Suspicion, name: str, held: _Held) -> None:
        """Renew the verdict; as a suspect is no witness, the others' evidence then begins anew."""
        limits = scales.limits_of(name, held.others)
        ratios = {k: span.evidence / limits[k] for k, span in held.spans.items() if k in limits}
        known = {k: v for k, v in ratios.items() if not math.isnan(v)}
        before = held.verdict
        if not known:
            return
        worst = max(known, key=known.__getitem__)
        suspicion = known[worst]
        suspect = suspicion >= (CLEARED if before.suspect else 1.0)
        reason, others = "", ", ".join(held.others)
        if suspect:
            reason = before.reason if before.suspect else f"suspect: {_CHARGES[worst]}"
            reason = reason.format(others=others)
        elif held.contradiction.evidence >= scales.contradiction:
            reason = f"it and {others} contradict each other, and which is wrong cannot be told"
        held.verdict = Verdict(suspect=suspect, suspicion=suspicion, reason=reason)
        if suspect != before.suspect:
            for other, each in tuple(self._held.items()):
                if other != name and not each.verdict.suspect:
                    each.begin_anew()

    def _see(self, name: str, at_s: float, others: tuple[str, ...]) -> _Seen:
        """Return a sensor's sample and what others say at it."""
        sets = [others, *excusing(others)]
        means = [posterior.mean for posterior in self._networks.posteriors(sets)]
        return _Seen(at_s, self._networks.seen(name), dict(zip(sets, means, strict=True)), {})

    def _foretold(self, name: str, others: tuple[str, ...], seen: _Seen) -> NDArray[np.float32]:
        """Return what others predict of a sensor's sample (1, *shape), normalised."""
        if others not in seen.foretold:
            seen.foretold[others] = self._networks.decode(name, seen.means[others])[None]
        return seen.foretold[others]

    def _misfit(self, scales: Suspicion, name: str, others: tuple[str, ...], seen: _Seen) -> float:
        """Return the surprise of a sample given others; NaN where it was not calibrated."""
        foretold = self._foretold(name, others, seen)
        value = reconstruction(self._networks.modality(name), seen.x, foretold)
        return float(scales.surprise(MISFIT, name, others, value)[0])

    def _stillness(
        self, scales: Suspicion, name: str, others: tuple[str, ...], seen: _Seen, before: _Seen
    ) -> float:
        """Return the surprise of how little a sensor changed; NaN where it was not calibrated."""
        moved = change(self._foretold(name, others, seen), self._foretold(name, others, before))
        value = stillness(moved, change(seen.x, before.x))
        return float(scales.surprise(STILLNESS, name, others, value)[0])

    def _before(self, held: _Held, seen: _Seen) -> _Seen | None:
        """Return the sample to compare with, of the same others; None where there is none."""
        past = held.past
        while len(past) > 1 and seen.at_s - past[1].at_s >= LAG_S:
            past.popleft()
        if not past or past[0].others != seen.others:
            return None
        return past[0] if LAG_S <= seen.at_s - past[0].at_s <= LONGEST_LAG_S else None
