"""Live equals offline: recorded inputs through `Runtime` give the latents that were published."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import refusing
from smvae_core.fusion.rules import FusionRule
from smvae_core.preprocessing import prepare
from smvae_core.runtime import Runtime
from smvae_training.audit.reproduce import Reproducer
from smvae_training.audit.samples import Readings
from smvae_training.evaluate.live.bag import LiveRun

#: A window is shorter.
_SPAN_NS = 200_000_000


class RecordedSamples:
    """The samples of a live run in memory."""

    def __init__(self, run: LiveRun) -> None:
        """Take them from a run."""
        self._run = run
        self._modalities = {m.name: m for m in run.modalities}

    def find(self, name: str, stamp_ns: int) -> Any:
        """Return the one with a stamp, of a window its `Readings`; None if it is not there."""
        track = self._run.inputs[name]
        sample = track.at(stamp_ns)
        if sample is None or not self._modalities[name].family.is_window:
            return sample
        first = int(np.searchsorted(track.stamps_ns, stamp_ns - _SPAN_NS))
        last = track.before(stamp_ns) + 1
        return Readings(stamps_ns=track.stamps_ns[first:last], values=[*track.samples[first:last]])

    def why_not(self, name: str, stamp_ns: int) -> str:
        """Return why there is none."""
        return "the recorder missed the message that was fused"

    def prepared(self, name: str, value: Any) -> NDArray[Any]:
        """Prepare a sample; images are kept in the network's view.

        Raises:
            SampleError: If it cannot be prepared.
        """
        with refusing(name):
            return prepare(self._modalities[name].uncut, value)


def reproducer(run: LiveRun, runtime: Runtime) -> Reproducer:
    """Return what makes the latents of a run again, whose node had the default rules."""
    rules = {m.name: FusionRule() for m in run.modalities}
    return Reproducer(runtime, rules, RecordedSamples(run))
