"""Who tells the controller where the hole is: nobody, the truth, or a bundle's latents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smvae_core.assistance.pose import Pose
from smvae_core.assistance.sighting import TARGETS, Sighting, sighting
from smvae_core.bundle import Bundle
from smvae_core.errors import BundleError, EmptySubset, SampleError
from smvae_core.estimates import Estimates
from smvae_core.modality import Modality
from smvae_core.readout import Estimate
from smvae_core.runtime import Posterior, Runtime
from smvae_datasets.simulation.closed_loop.failures import Samples

#: Deviations that the truth is given with [m], [rad].
TRUTH_M, TRUTH_RAD = 0.001, 0.02


class Method(Protocol):
    """Where sightings of the hole come from."""

    assisted: bool
    """Whether the controller stands between operator and robot; else its limits alone do."""
    perceives: bool
    """Whether samples of the sensors are needed."""

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

    def see(self, samples: Samples, tip: Pose, hole: Pose) -> Sighting | None:
        return None


class Truth:
    """Knows the hole: the ceiling of every method with this controller."""

    assisted = True
    perceives = False
    flagged = False

    def see(self, samples: Samples, tip: Pose, hole: Pose) -> Sighting | None:
        return Sighting(pose=hole, std=np.array([TRUTH_M] * 3 + [TRUTH_RAD]))


class Latents:
    """Sees by a bundle's latents, as the node does: the set of what is delivered, nothing else.

    Estimates of the model's targets, or the readout where it has none. A latent out of distribution
    by the bundle's own threshold is not looked at.
    """

    assisted = True
    perceives = True

    def __init__(self, bundle: Bundle) -> None:
        """Load what runs the bundle.

        Raises:
            BundleError: If it cannot be used, or tells nothing of the hole.
        """
        self._runtime = Runtime(bundle)
        self._estimates = Estimates.of_bundle(bundle) if bundle.manifest.targets else None
        self._readout = None if self._estimates else bundle.readout()
        told = {t.name for t in bundle.manifest.targets}
        if self._readout is not None:
            told = set(self._readout.targets)
        if not told & set(TARGETS):
            raise BundleError(
                bundle.path,
                f"tells {', '.join(sorted(told))}, and not where the hole is: "
                f"{' or '.join(map(repr, TARGETS))}",
            )
        self.flagged = False
        self._posterior: Posterior | None = None

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Sensors of the model."""
        return self._runtime.modalities

    def imagined(self, name: str) -> NDArray[Any] | None:
        """Return a sensor's sample, raw in SI units, by the latent of what was delivered last.

        None where nothing was delivered.
        """
        if self._posterior is None:
            return None
        return self._runtime.reconstruct(name, self._posterior.mean)

    def see(self, samples: Samples, tip: Pose, hole: Pose) -> Sighting | None:
        runtime = self._runtime
        names = tuple(
            n for n in runtime.manifest.names if n in samples and self._usable(n, samples)
        )
        self.flagged, self._posterior = False, None
        try:
            posterior = self._posterior = runtime.posterior(names)
        except EmptySubset:
            return None
        novelty = runtime.manifest.novelty
        if novelty is not None:
            score = runtime.novelty(names, posterior)
            self.flagged = math.isfinite(score) and score >= novelty.error
            if self.flagged:
                return None
        return sighting(self._found(names, posterior.mean, posterior.variance), tip)

    def _usable(self, name: str, samples: Samples) -> bool:
        """Embed a sample; return whether it is one, as the node refuses what is not."""
        try:
            self._runtime.observe(name, samples[name])
        except SampleError:
            return False
        return True

    def _found(
        self, names: tuple[str, ...], mean: np.ndarray, variance: np.ndarray
    ) -> Mapping[str, Estimate]:
        source = self._estimates or self._readout
        assert source is not None
        return source.apply(names, mean, variance)


def make(name: str, bundle: Path | None) -> Method:
    """Return the method called `name`: alone, blind, ceiling, or any other of a bundle."""
    if name in ("alone", "blind"):
        return Nobody(assisted=name == "blind")
    if name == "ceiling":
        return Truth()
    assert bundle is not None, "methods of latents have a bundle"
    return Latents(Bundle.load(bundle))
