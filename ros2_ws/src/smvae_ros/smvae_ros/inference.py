"""The one thread that turns what the mailbox holds into latents."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from smvae_core.conversions import (
    CONVERTERS,
    ConversionError,
    ConversionOptions,
    Converter,
    plausibility,
)
from smvae_core.errors import SampleError, SMVAEError
from smvae_core.fusion import Observation
from smvae_core.modality import Modality
from smvae_core.runtime import Posterior, Runtime
from smvae_ros.mailbox import Mailbox, Taken


class Unforeseen(SampleError):
    """A message whose conversion failed without saying why: a fault of ours, not to be hidden."""

    def __init__(self, modality: str, err: Exception) -> None:
        """Name the error, which is also the reason that is counted."""
        self.reason = f"unforeseen {type(err).__name__}"
        super().__init__(modality, "message", expected="a conversion or a reason", got=repr(err))


@dataclass(frozen=True, kw_only=True)
class Result:
    """One posterior and where it comes from."""

    taken: Taken
    observation: Observation
    posterior: Posterior
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
        self._reject = reject
        self._implausible = implausible
        self._modalities: dict[str, Modality] = {m.name: m for m in runtime.modalities}
        self._embedded: dict[str, Any] = {}
        self._options: dict[str, ConversionOptions] = {}
        self._converters: dict[str, Converter] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.error: BaseException | None = None
        self.max_rate_hz = 30.0
        self.collect_timeout_s = 0.0
        self.on_grid = False

    def configure(
        self,
        options: Mapping[str, ConversionOptions],
        *,
        max_rate_hz: float,
        collect_timeout_s: float,
        on_grid: bool,
        converters: Mapping[str, Converter] | None = None,
    ) -> None:
        """Apply parameters, also while running.

        Args:
            options: Of each modality's conversion.
            max_rate_hz: At most so many latents per second.
            collect_timeout_s: How long to wait for others of a moment.
            on_grid: Latents on a grid of 1 / max_rate_hz, whenever messages arrive.
            converters: Of each modality, for the message type its topic carries; None = each
                kind's default.
        """
        self._options = dict(options)
        self._converters = dict(converters or {})
        self.max_rate_hz = max_rate_hz
        self.collect_timeout_s = collect_timeout_s
        self.on_grid = on_grid

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread with an empty cache."""
        self._embedded.clear()
        self._stop.clear()
        self.error = None
        self._mailbox.open()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """Stop and join; return whether the thread ended in time."""
        if self._thread is None:
            return True
        self._stop.set()
        self._mailbox.close()
        self._thread.join(timeout_s)
        ended = not self._thread.is_alive()
        if ended:
            self._thread = None
        return ended

    def _run(self) -> None:
        next_s = time.monotonic()
        try:
            while not self._stop.is_set():
                if self.on_grid:
                    self._stop.wait(max(0.0, next_s - time.monotonic()))
                if not self._mailbox.wait(0.5):
                    continue
                if not self.on_grid:
                    self._stop.wait(max(0.0, next_s - time.monotonic()))
                    self._mailbox.collect(self.collect_timeout_s)
                if self._stop.is_set():
                    return
                started = time.monotonic()
                next_s = max(next_s + 1.0 / self.max_rate_hz, started)
                self._once()
        except BaseException as err:  # noted here, shown and acted on by the node's watchdog
            self.error = err

    def _once(self) -> None:
        taken = self._mailbox.take()
        started = time.monotonic()
        observation = taken.observation
        while bad := self._embed(taken.epoch, observation):
            for name, reason in bad.items():
                stamp = observation.status[name].stamp_ns
                self._mailbox.drop(name, stamp, reason)
            observation = self._mailbox.observe(observation.reference_ns)
        if not observation.samples or taken.epoch != self._mailbox.epoch:
            return
        posterior = self._runtime.posterior(observation.subset)
        self._deliver(
            Result(
                taken=taken,
                observation=observation,
                posterior=posterior,
                inference_s=time.monotonic() - started,
            )
        )

    def _embed(self, epoch: int, observation: Observation) -> dict[str, str]:
        """Embed the fused samples that are new; return the reason for each that is bad."""
        bad = {}
        for name, value in observation.samples.items():
            options = self._options[name]
            key = (epoch, observation.status[name].stamp_ns, options)
            if self._embedded.get(name) == key:
                continue
            self._embedded.pop(name, None)
            try:
                sample = self._sample(name, value, options)
                self._runtime.observe(name, sample)
            except (ConversionError, SampleError) as err:
                bad[name] = getattr(err, "reason", "value")
                self._reject(name, str(err))
            else:
                self._embedded[name] = key
                if self._implausible is not None:
                    self._implausible(name, plausibility(self._modalities[name], sample))
        return bad

    def _sample(self, name: str, value: Any, options: ConversionOptions) -> Any:
        """Return what the mailbox held as a raw sample.

        A conversion may fail in ways that nobody thought of: the message is refused by the name of
        the error, since no message may stop the thread.
        """
        modality = self._modalities[name]
        if modality.kind == "force_window":
            return value  # the collector made a window of readings
        converter = self._converters.get(name) or CONVERTERS[modality.kind]
        try:
            return converter.to_array(modality, value, options)
        except SMVAEError:
            raise
        except Exception as err:
            raise Unforeseen(name, err) from err
