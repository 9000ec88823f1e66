"""The one thread that turns what the mailbox holds into latents."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from smvae_core.fusion.engine import Taken
from smvae_core.fusion.rules import SuspicionRule
from smvae_core.fusion.source import Source
from smvae_core.perceiver import Perceived, Perceiver
from smvae_core.runtime import Runtime
from smvae_ros.mailbox import Mailbox

#: One run may last so long [s], and not less than LONGEST_RUNS runs at the highest rate.
LONGEST_RUN_S = 2.0
LONGEST_RUNS = 10


@dataclass(frozen=True, kw_only=True)
class Result:
    """One posterior and where it comes from."""

    taken: Taken
    perceived: Perceived
    inference_s: float
    """Conversion, embedding and pooling, steady clock."""


class Inference:
    """Waits for triggers, embeds what changed, pools, and hands each result on."""

    def __init__(
        self,
        runtime: Runtime,
        mailbox: Mailbox,
        deliver: Callable[[Result], None],
        reject: Callable[[str, str], None],
        *,
        implausible: Callable[[str, str], None] | None = None,
    ) -> None:
        """Prepare; `start` runs the thread.

        Args:
            runtime: Used by this thread alone once started.
            mailbox: Where triggers and samples come from.
            deliver: Called with every result, in the thread.
            reject: Called with modality and text when a message turns out to be bad.
            implausible: Called with modality and what is odd about each new sample, '' = nothing.
        """
        self._runtime = runtime
        self._mailbox = mailbox
        self._deliver = deliver
        self.perceiver = Perceiver(runtime, rejected=reject, judged=implausible)
        self._stop = threading.Event()
        self._began_s: float | None = None
        self._overdue_s: float | None = None
        self._hangs = False
        self.thread: threading.Thread | None = None
        self.failure = ""
        """Why it ended, or was given up; '' = neither."""
        self.max_rate_hz = 30.0

    def configure(
        self,
        sources: Mapping[str, Source],
        max_rate_hz: float,
        memory_s: float = 0.0,
        ahead_s: float = 0.0,
        suspicion: SuspicionRule | None = None,
    ) -> None:
        """Apply parameters, also while running.

        Args:
            sources: How the messages of each modality are read.
            max_rate_hz: At most so many latents per second; a run may last as long as ten of them.
            memory_s: How far back samples count, where the bundle has a memory; 0 = none does.
            ahead_s: How long after a moment its latent answers for.
            suspicion: How sensors are judged, see `Perceiver.configure`.
        """
        self.perceiver.configure(sources, memory_s, ahead_s, suspicion)
        self.max_rate_hz = max_rate_hz

    @property
    def alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    @property
    def longest_run_s(self) -> float:
        """A run that lasts longer will not end, as far as a robot is concerned."""
        return max(LONGEST_RUN_S, LONGEST_RUNS / self.max_rate_hz)

    def check(self) -> str:
        """Return why no more latents will come, '' = they will; called again and again.

        A run counts as hung when it is found too long twice: a process that was stopped as a whole
        finds its run too long only once.
        """
        if self.failure or not self.alive:
            return self.failure or "the inference thread does not run"
        began_s = self._began_s
        late = began_s is not None and time.monotonic() - began_s > self.longest_run_s
        self._hangs = late and began_s == self._overdue_s
        self._overdue_s = began_s if late else None
        if self._hangs:
            self.failure = f"hangs: one run lasts longer than {self.longest_run_s:.3g} s"
        return self.failure

    def start(self) -> None:
        """Start the thread with an empty cache."""
        self.perceiver.forget()
        self._stop.clear()
        self._began_s = self._overdue_s = None
        self._hangs, self.failure = False, ""
        self._mailbox.open()
        self.thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self.thread.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """Stop and join, at once where it hangs; return whether the thread ended in time.

        One that ends later publishes nothing any more.
        """
        if self.thread is None:
            return True
        self._stop.set()
        self._mailbox.close()
        self.thread.join(0.0 if self._hangs else timeout_s)
        ended = not self.thread.is_alive()
        if ended:
            self.thread = None
        return ended

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                taken = self._mailbox.take(0.5)
                if taken is None or self._stop.is_set():
                    continue
                self._began_s = time.monotonic()
                self._once(taken, self._began_s)
                self._began_s = None
        except BaseException as err:  # noted here, shown and acted on by the node's watchdog
            if not self.failure:
                self.failure = f"stopped: {type(err).__name__}: {err}"

    def _once(self, taken: Taken, started_s: float) -> None:
        perceived = self.perceiver.perceive(
            taken.epoch, taken.observation, self._mailbox.drop, self._mailbox.observe
        )
        late = self._stop.is_set() or taken.epoch != self._mailbox.epoch
        if perceived is None or late:
            return
        spent_s = time.monotonic() - started_s
        self._deliver(Result(taken=taken, perceived=perceived, inference_s=spent_s))
        self.perceiver.judge()  # no latent waits for it
