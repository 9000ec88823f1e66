"""One latent from what belongs to a moment: convert, embed what is new, drop what is bad, pool.

The node's inference thread runs it live, a bag evaluator offline: what a message is refused for is
the same in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import refusing
from smvae_core.fusion.rules import Further, FusionState, Observation, SuspicionRule
from smvae_core.fusion.source import REFUSALS, Source
from smvae_core.memory.recall import Recall
from smvae_core.novelty.renewed import Asked, RenewedNovelty, Score, judge
from smvae_core.novelty.scorer import UNKNOWN, NoveltyReport
from smvae_core.novelty.suspects import Suspects
from smvae_core.runtime import Posterior, Runtime, Snapshot

#: Judges sensors by a snapshot; None = by the runtime itself.
Judgement = Callable[[Snapshot | None], None]
#: Takes modality, stamp [ns], reason and text of a stored message that is bad.
Refuse = Callable[[str, int, str, str], None]


@dataclass(frozen=True, kw_only=True)
class Perceived:
    """One posterior and what it was made from."""

    observation: Observation
    """As taken, without the samples that turned out to be bad."""
    posterior: Posterior
    score: Score
    """Its novelty. What is remembered is no part of it: it was calibrated on moments by themselves.
    Infinite where the posterior of the moment is no number."""
    memory_s: float = 0.0
    """How far back other samples count beside those of the moment; 0 = none does."""
    ahead_s: float = 0.0
    """How long after the moment the posterior answers for."""

    @property
    def answers_ns(self) -> int:
        """When the posterior answers for."""
        return self.observation.reference_ns + round(self.ahead_s * 1e9)

    @property
    def subset(self) -> tuple[str, ...]:
        """What the posterior rests on: modalities that are fused or remembered."""
        counted = (FusionState.FUSED, FusionState.REMEMBERED)
        return tuple(n for n, s in self.observation.status.items() if s.state in counted)

    @property
    def remembering(self) -> bool:
        """Whether the posterior is one with memory."""
        return self.memory_s > 0.0

    @property
    def novelty(self) -> NoveltyReport:
        """What is said of the set that is left."""
        return self.score.report

    @property
    def finite(self) -> bool:
        """Whether mean and variance are numbers; otherwise there is no latent to act on."""
        return self.posterior.finite


class _Ahead(NamedTuple):
    """A message that was embedded before a moment asked for it."""

    message: Any
    source: Source
    odd: str
    """What is odd about it, '' = nothing."""
    x: NDArray[np.float32]
    """What its network took (*shape)."""
    embedding: NDArray[np.float32]
    """(D,)"""


#: So many newest messages of a modality stay embedded ahead: a moment may ask for one before.
_KEPT_AHEAD = 3


class Perceiver:
    """Runs a model on what a collector holds, and keeps what was embedded."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        rejected: Callable[[str, str], None] | None = None,
        judged: Callable[[str, str], None] | None = None,
        renewed: RenewedNovelty | None = None,
    ) -> None:
        """Prepare; `configure` tells how to read messages.

        Args:
            runtime: Used by nobody else meanwhile.
            rejected: Called with modality and text when a message turns out to be bad.
            judged: Called with modality and what is odd about each new sample that is used, '' =
                nothing; None = nobody is told. Of a refused one the rejection says it.
            renewed: Whose scores moments may carry; None = each gets its own.
        """
        self._runtime = runtime
        self._rejected, self._judged = rejected, judged
        self._sources: dict[str, Source] = {}
        self._memory_s = self._ahead_s = 0.0
        self._embedded: dict[str, Any] = {}
        self._ahead: dict[str, tuple[_Ahead, ...]] = {}
        self._suspicion = SuspicionRule()
        self._suspects = Suspects(runtime)
        self._judge_next: tuple[float, dict[str, int]] | None = None
        self._renewed = renewed
        self._left_out: tuple[str, ...] = ()

    def configure(
        self,
        sources: Mapping[str, Source],
        memory_s: float = 0.0,
        ahead_s: float = 0.0,
        suspicion: SuspicionRule | None = None,
    ) -> None:
        """Say how the messages of each modality are read, also while another thread perceives.

        Args:
            sources: By modality; others than before make memory forget.
            memory_s: How far back samples count, where the bundle has a memory; 0 = none does.
            ahead_s: How long after a moment its posterior answers for; needs a memory.
            suspicion: Who is judged how often, and what becomes of suspects; None = nobody is.
        """
        self._sources, self._memory_s, self._ahead_s = dict(sources), memory_s, ahead_s
        self._suspicion = suspicion or SuspicionRule()

    def forget(self) -> None:
        """Embed everything anew, remember nothing and suspect nobody."""
        self._embedded.clear()
        self._ahead.clear()
        self._suspects.forget()
        self._left_out = ()
        if self._runtime.recall is not None:
            self._runtime.recall.forget()

    def perceive(
        self,
        epoch: int,
        observation: Observation,
        drop: Refuse,
        observe: Callable[[int], Observation],
    ) -> Perceived | None:
        """Return the posterior of a moment; None when nothing of it can be used.

        Args:
            epoch: Of the samples; the same stamp in another epoch is another sample.
            observation: The moment.
            drop: Is told of every one that is bad.
            observe: Gives the observation at a reference time [ns] without those.
        """
        further = observation.further

        def refuse(name: str, stamp_ns: int, reason: str, text: str) -> None:
            drop(name, stamp_ns, reason, text)
            if self._rejected is not None:
                self._rejected(name, text)

        while bad := self._embed(epoch, observation):
            for name, (reason, text) in bad.items():
                refuse(name, observation.status[name].stamp_ns, reason, text)
            observation = observe(observation.reference_ns)
        left_out = self._hear_suspicion(epoch, observation)
        if not observation.samples:
            score, posterior = None, None
        else:
            score, posterior = self._score(epoch, observation)
            left_out += score.left_out
        recall, memory_s, ahead_s = self._runtime.recall, self._memory_s, self._ahead_s
        if recall is not None and memory_s:
            further = {n: each for n, each in further.items() if n not in left_out}
            recall.begin((epoch, tuple(self._sources.items())))
            self._count(recall, observation, further, refuse)
        elif recall is not None and recall.begun:
            recall.forget()
        if score is None or not observation.samples:
            return None
        if recall is None or not memory_s:
            if posterior is None:
                posterior = self._runtime.posterior(observation.subset)
            return Perceived(observation=observation, posterior=posterior, score=score)
        left = [n for n in score.asked.subset if n not in score.left_out]
        if left != list(observation.samples) and self._runtime.manifest.novelty is not None:
            # memory refused a sample
            asked = self._asked(epoch, observation)._replace(leave_out=False)
            score, _ = judge(self._runtime, asked)
        return Perceived(
            observation=observation,
            posterior=Posterior(*recall.posterior(observation, memory_s, ahead_s)),
            # what was decoded is not of the latent that is published
            score=replace(score, report=replace(score.report, decoded={})),
            memory_s=memory_s,
            ahead_s=ahead_s,
        )

    def embed_ahead(self, name: str, message: Any) -> None:
        """Embed a message before a moment asks for it, also while another thread perceives.

        Whatever is wrong with it, or with the network, is left to the moment, which tells.
        """
        source = self._sources[name]
        try:
            sample = self.sample(name, message)
            odd = self._odd(name, sample)
            x = self._runtime.network_input(name, sample)
            ahead = _Ahead(message, source, odd, x, self._runtime.embed(name, x))
        except Exception:  # met again, and told, when a moment asks for it
            return
        self._ahead[name] = (*self._ahead.get(name, ())[1 - _KEPT_AHEAD :], ahead)

    def judge(self) -> None:
        """Judge the sensors whose turn it is by the moment perceived last.

        What comes of it stands in the next one: no latent waits for it.
        """
        if (judgement := self.judgement()) is not None:
            judgement(None)

    def judgement(self) -> Judgement | None:
        """Return what `judge` would do, once, for another thread; None where it is nobody's turn.

        It takes a snapshot of the runtime, made before that observes anything else.
        """
        if self._judge_next is None:
            return None
        at_s, stamps_ns = self._judge_next
        self._judge_next = None
        rate_hz = self._suspicion.rate_hz
        if not self._suspects.owes(at_s, rate_hz):
            return None
        return lambda networks: self._suspects.renew(at_s, stamps_ns, rate_hz, networks)

    def _hear_suspicion(self, epoch: int, observation: Observation) -> list[str]:
        """Write what is held of each sensor into a moment; return the suspects left out of it.

        One is left out only beside others that are not suspect.
        """
        rule, suspects, self._judge_next = self._suspicion, self._suspects, None
        if not rule.rate_hz or suspects.calibrated is None:
            return []
        suspects.begin((epoch, tuple(self._sources.items())))
        stamps_ns = {n: observation.status[n].stamp_ns for n in observation.samples}
        self._judge_next = observation.reference_ns * 1e-9, stamps_ns
        for name, status in observation.status.items():
            verdict = suspects.verdict(name)
            status.suspect, status.suspicion = verdict.suspect, verdict.suspicion
            if name in stamps_ns and verdict.reason:
                status.reason = "; ".join(filter(None, (verdict.reason, status.reason)))
        named = [n for n in suspects.named if n in stamps_ns]
        if not rule.leave_out or len(named) == len(stamps_ns):
            return []
        for name in named:
            del observation.samples[name]
            observation.status[name].state = FusionState.REJECTED
            observation.status[name].reason += "; left out (leave_out_suspects)"
        return named

    def _asked(self, epoch: int, observation: Observation) -> Asked:
        return Asked(
            epoch=epoch,
            stamp_ns=observation.reference_ns,
            subset=observation.subset,
            memory=self._remembers,
            leave_out=self._suspicion.leave_out,
        )

    @property
    def _remembers(self) -> bool:
        return self._runtime.recall is not None and self._memory_s > 0.0

    def _score(self, epoch: int, observation: Observation) -> tuple[Score, Posterior | None]:
        """Return a moment's score, and the posterior of what is left of it where that is known.

        Takes the odd ones out of the moment.
        """
        asked, posterior = self._asked(epoch, observation), None
        score = self._renewed.of(asked) if self._renewed is not None else None
        if score is None and self._remembers and self._runtime.manifest.novelty is None:
            score = Score(asked=asked, report=UNKNOWN)  # nobody asks what it says by itself
        elif score is None:
            score, found = judge(self._runtime, asked, self._left_out)
            posterior = found.posterior
            if self._renewed is not None:
                self._renewed.keep(score)
        self._left_out = tuple(score.left_out)
        for name, reason in (score.left_out | score.either).items():
            status = observation.status[name]
            status.reason = "; ".join(filter(None, (reason, status.reason)))
        for name in score.left_out:
            del observation.samples[name]
            observation.status[name].state = FusionState.REJECTED
            observation.status[name].suspect = observation.status[name].novel = True
        return score, posterior

    def sample(self, name: str, value: Any) -> NDArray[Any]:
        """Return what the collector holds of a modality as a raw sample in SI units.

        Raises:
            ConversionError: If the message is not what the modality declares.
            Unforeseen: If its conversion fails without saying why.
        """
        modality = self._runtime.modality(name)
        if modality.family.is_window:
            window: NDArray[Any] = value  # the collector made it of readings
            return window
        return self._sources[name].read(modality, value)

    def _count(
        self,
        recall: Recall,
        observation: Observation,
        further: Mapping[str, Sequence[Further]],
        refuse: Refuse,
    ) -> None:
        """Put into memory what is fused, and samples of no moment; their networks run together."""
        good = {n: list(self._good(recall, n, each, refuse)) for n, each in further.items()}
        readings = self._runtime.readings({n: [x for _, x in each] for n, each in good.items()})
        recall.take(observation, self._runtime.reading)
        for name, samples in good.items():
            for (sample, _), reading in zip(samples, readings.get(name, ()), strict=True):
                if (refused := recall.add(name, sample, reading)) is not None:
                    refuse(name, sample.stamp_ns, refused[0], f"{name}: {refused[1]}")

    def _good(
        self, recall: Recall, name: str, samples: Sequence[Further], refuse: Refuse
    ) -> Iterator[tuple[Further, NDArray[np.float32]]]:
        """Yield those that memory lacks and that are good, with what their network takes."""
        is_window = self._runtime.modality(name).family.is_window
        for further in samples:
            if recall.has(name, further.at_ns):
                continue
            try:
                sample = self._further_sample(name, further.value)
                yield further, self._runtime.network_input(name, sample)
            except REFUSALS as err:
                if not is_window:  # its readings are good, and do not cover it
                    refuse(name, further.stamp_ns, err.reason, str(err))

    def _further_sample(self, name: str, value: Any) -> NDArray[Any]:
        """Return a sample of no moment, see `Further.value`."""
        modality = self._runtime.modality(name)
        if modality.family.is_window:
            window: NDArray[Any] = modality.family.assemble(modality, *value)
            return window
        return self.sample(name, value)

    def _embed(self, epoch: int, observation: Observation) -> dict[str, tuple[str, str]]:
        """Embed the fused samples that are new; return reason and text of each that is bad."""
        bad: dict[str, tuple[str, str]] = {}
        for name, value in observation.samples.items():
            key = (epoch, observation.status[name].stamp_ns, self._sources.get(name))
            if self._embedded.get(name) == key:
                continue
            self._embedded.pop(name, None)
            odd = ""
            try:
                if (ahead := self._made_ahead(name, value)) is not None:
                    odd = ahead.odd
                    self._runtime.put(name, ahead.x, ahead.embedding)
                else:
                    sample = self.sample(name, value)
                    odd = self._odd(name, sample)
                    self._runtime.observe(name, sample)
            except REFUSALS as err:
                bad[name] = err.reason, f"{err}; {odd}" if odd else str(err)
            else:
                self._embedded[name] = key
                if self._judged is not None:
                    self._judged(name, odd)
        return bad

    def _made_ahead(self, name: str, message: Any) -> _Ahead | None:
        """Return what was made ahead of this very message, read as now; None = nothing."""
        source = self._sources.get(name)
        for ahead in reversed(self._ahead.get(name, ())):
            if ahead.message is message and ahead.source is source:
                return ahead
        return None

    def _odd(self, name: str, sample: NDArray[Any]) -> str:
        """Return what is odd about a sample, '' = nothing, or nobody asks."""
        if self._judged is None:
            return ""
        with refusing(name):
            return self._runtime.modality(name).plausibility(sample)
