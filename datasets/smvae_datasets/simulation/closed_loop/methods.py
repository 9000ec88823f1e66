"""Who tells the controller where the hole is: nobody, the truth, or a bundle's latents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smvae_core.assistance.pose import Pose
from smvae_core.assistance.sighting import Sighting, require_hole, sighting
from smvae_core.bundle import Bundle
from smvae_core.estimates import Estimates
from smvae_core.fusion.rules import FusionState, ModalityStatus, Observation
from smvae_core.fusion.source import Source
from smvae_core.kinds import Converter
from smvae_core.modality import Modality
from smvae_core.perceiver import Perceived, Perceiver
from smvae_core.readout import Estimate
from smvae_core.runtime import Runtime
from smvae_core.settings import Settings, complete, table
from smvae_datasets.simulation.closed_loop.failures import Samples
from smvae_datasets.simulation.robot import STEP_MS

#: A sample is no message: there is nothing to convert.
AS_IT_IS = Source(converter=Converter("", lambda modality, value, options: value, lambda *_: None))
#: Deviations that the truth is given with [m], [rad].
TRUTH_M, TRUTH_RAD = 0.001, 0.02


class Method(Protocol):
    """Where sightings of the hole come from."""

    assisted: bool
    """Whether the controller stands between operator and robot; else its limits alone do."""
    perceives: bool
    """Whether samples of the sensors are needed."""

    def begin(self) -> None:
        """Begin another attempt: nothing of the one before is known any more."""

    def see(self, samples: Samples, tip: Pose, hole: Pose) -> Sighting | None:
        """Return what is seen of the hole now, None if nothing is."""

    @property
    def flagged(self) -> bool:
        """Whether the method itself says that its last samples are not to be trusted."""


class Nobody:
    """Sees nothing: the operator alone, or a blind search where the operator puts the peg down."""

    perceives = False
    flagged = False

    def __init__(self, *, assisted: bool) -> None:
        self.assisted = assisted

    def begin(self) -> None:
        pass

    def see(self, samples: Samples, tip: Pose, hole: Pose) -> Sighting | None:
        return None


class Truth:
    """Knows the hole: the ceiling of every method with this controller."""

    assisted = True
    perceives = False
    flagged = False

    def __init__(self, std: tuple[float, ...] = (TRUTH_M, TRUTH_M, TRUTH_M, TRUTH_RAD)) -> None:
        """Tell it with these deviations [m, m, m, rad]."""
        self._std = std

    def begin(self) -> None:
        pass

    def see(self, samples: Samples, tip: Pose, hole: Pose) -> Sighting | None:
        return Sighting(pose=hole, std=np.array(self._std))


class Latents:
    """Sees by a bundle's latents, as the node with its default parameters does.

    What is delivered in a step is a moment of the node's own `Perceiver`, so suspects are left out
    of it. Estimates of the model's targets, or the readout where it has none; none of a latent out
    of distribution.
    """

    assisted = True
    perceives = True
    step_s = STEP_MS * 1e-3
    """Time from one moment to the next."""

    def __init__(
        self, bundle: Bundle, *, leave_out: bool = True, memory_s: float | None = None
    ) -> None:
        """Load what runs the bundle.

        Args:
            bundle: Of the model.
            leave_out: Parameter `leave_out_suspects` of the node.
            memory_s: Its parameter of that name [s]; None = the default.

        Raises:
            BundleError: If it cannot be used, or tells nothing of the hole.
        """
        self._runtime = Runtime(bundle)
        given: dict[str, Any] = {"leave_out_suspects": leave_out}
        given |= {} if memory_s is None else {"memory_s": memory_s}
        settings = _settings(self._runtime, given)
        self._perceiver = Perceiver(self._runtime)
        self._perceiver.configure(
            dict.fromkeys(self._runtime.manifest.names, AS_IT_IS),
            settings.memory_s,
            suspicion=settings.suspicion,
        )
        self._estimates = Estimates.of_bundle(bundle) if bundle.manifest.targets else None
        self._readout = None if self._estimates else bundle.readout()
        told = {t.name for t in bundle.manifest.targets}
        if self._readout is not None:
            told = set(self._readout.targets)
        require_hole(bundle.path, told)
        self.begin()

    def begin(self) -> None:
        self._perceiver.forget()
        self._at_ns = 0
        self._perceived: Perceived | None = None
        self.flagged = False

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Sensors of the model."""
        return self._runtime.modalities

    def imagined(self, name: str) -> NDArray[Any] | None:
        """Return a sensor's sample, raw in SI units, by the latent of what was delivered last.

        None where nothing was delivered.
        """
        if self._perceived is None:
            return None
        return self._runtime.reconstruct(name, self._perceived.posterior.mean)

    def see(self, samples: Samples, tip: Pose, hole: Pose) -> Sighting | None:
        self._at_ns += round(self.step_s * 1e9)
        perceived = self._perceived = self._perceive(samples)
        self._perceiver.judge()
        self.flagged = False
        if perceived is None:
            return None
        novelty = self._runtime.manifest.novelty
        statuses = list(perceived.observation.status.values())
        novel = novelty is not None and perceived.novelty.score > novelty.error
        self.flagged = novel or any(status.suspect for status in statuses)
        if novel:
            return None
        remembered = any(status.state is FusionState.REMEMBERED for status in statuses)
        return sighting(self._found(perceived), tip, remembered=remembered)

    def _found(self, perceived: Perceived) -> Mapping[str, Estimate]:
        source = self._estimates or self._readout
        assert source is not None
        posterior = perceived.posterior
        return source.apply(
            perceived.subset,
            posterior.mean,
            posterior.variance,
            remembering=perceived.remembering,
        )

    def _perceive(self, samples: Samples) -> Perceived | None:
        """Return what a step's samples say; those that the node refuses are taken as absent."""
        refused: set[str] = set()

        def moment(reference_ns: int) -> Observation:
            given = {n: x for n, x in samples.items() if n not in refused}
            names = self._runtime.manifest.names
            return Observation(
                reference_ns=reference_ns,
                samples={n: given[n] for n in names if n in given},
                status={n: _status(n in given, reference_ns) for n in names},
            )

        return self._perceiver.perceive(
            0, moment(self._at_ns), lambda name, *_: refused.add(name), moment
        )


def _settings(runtime: Runtime, given: Mapping[str, Any]) -> Settings:
    """Return the node's own, with every other parameter at its default."""
    parameters = table(runtime.modalities, runtime.manifest.parameters())
    return Settings.of(complete(parameters, given), runtime.modalities)


def _status(there: bool, stamp_ns: int) -> ModalityStatus:
    """Return the status of a sensor that delivers in each step, or does not."""
    return ModalityStatus(
        state=FusionState.FUSED if there else FusionState.ABSENT,
        stamp_ns=stamp_ns if there else 0,
        age_s=0.0,
        received=0,
        rejected=0,
        reject_reasons={},
        period_s=None,
        max_skew_s=0.0,
        max_age_s=0.0,
        lag_s=0.0,
    )


def make(
    name: str, bundle: Path | None, *, leave_out: bool = True, memory_s: float | None = None
) -> Method:
    """Return the method called `name`: alone, blind, ceiling, or any other of a bundle.

    Args:
        name: Of the method.
        bundle: Of one that perceives.
        leave_out: See `Latents`.
        memory_s: See `Latents`.
    """
    if name in ("alone", "blind"):
        return Nobody(assisted=name == "blind")
    if name == "ceiling":
        return Truth()
    assert bundle is not None, "methods of latents have a bundle"
    return Latents(Bundle.load(bundle), leave_out=leave_out, memory_s=memory_s)
