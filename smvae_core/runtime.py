"""Runtime: a bundle and onnxruntime -> posterior and reconstructions for any subset. No torch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.bundle import RECALL, Bundle, Manifest
from smvae_core.errors import ConfigError, EmptySubset, UnknownModality, refusing
from smvae_core.estimates import Estimates
from smvae_core.fusion.spacing import most_at_once
from smvae_core.graphs.pooled_set import PooledSet
from smvae_core.graphs.sessions import Placement, Provider, Sessions
from smvae_core.memory.recall import Reading, Recall
from smvae_core.memory.samples import LATE_S
from smvae_core.modality import Modality
from smvae_core.novelty.scorer import NoveltyReport, NoveltyScorer
from smvae_core.preprocessing import normaliser, prepare, restore

#: Of 32 bits: the exponential of more is infinite.
_LARGEST_LOG = float(np.log(np.finfo(np.float32).max))


@dataclass(frozen=True)
class Posterior:
    """q(z given x_S), of which each latent dimension by itself is N(mean, exp(log_var)).

    All there is to know where `ModelConfig.covariance` is diagonal; where it is full, the latent
    dimensions covary besides.
    """

    mean: NDArray[np.float32]
    """(Z,)"""
    log_var: NDArray[np.float32]
    """(Z,), natural logarithm of the variance."""

    @cached_property
    def variance(self) -> NDArray[np.float32]:
        return np.exp(self.log_var)

    @property
    def finite(self) -> bool:
        """Whether mean and variance are numbers; otherwise there is no latent to act on."""
        largest = float(self.log_var.max())  # NaN where one is
        return largest < _LARGEST_LOG and bool(np.isfinite(self.mean).all())

    @property
    def kl(self) -> float:
        """KL(q || N(0, I)) in nats, summed over dimensions; a lower bound where they covary."""
        spread = float(np.sum(self.variance - self.log_var))
        return 0.5 * (float(self.mean @ self.mean) + spread - len(self.mean))


def pooled(
    embedded: PooledSet, index: Mapping[str, int], subsets: Sequence[Sequence[str]]
) -> list[Posterior]:
    """Return the posteriors of subsets of what is embedded.

    Args:
        embedded: The embeddings.
        index: Of each modality, by name.
        subsets: Of observed modalities.

    Raises:
        EmptySubset: If a subset is empty.
    """
    present = presence(index, subsets)
    return [Posterior(*pair) for pair in zip(*embedded.posteriors(present), strict=True)]


def presence(index: Mapping[str, int], subsets: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
    """Return who is in which subset, (R, M).

    Args:
        index: Of each modality, by name.
        subsets: Of modalities.

    Raises:
        EmptySubset: If a subset is empty.
    """
    present = np.zeros((len(subsets), len(index)), np.bool_)
    for row, subset in zip(present, subsets, strict=True):
        if not subset:
            raise EmptySubset("publish the prior's absence instead of a posterior")
        for name in subset:
            row[index[name]] = True
    return present


class Runtime:
    """Runs a bundle. Caches each modality's embedding, so one new sensor costs one network."""

    def __init__(
        self,
        bundle: Bundle | Path | str,
        *,
        provider: Provider = "cpu",
        allow_cpu_fallback: bool = False,
        threads: int = 1,
        device_id: int = 0,
        gpu_mem_limit_mb: float = 0.0,
    ) -> None:
        """Load and verify the bundle and create its sessions.

        Args:
            bundle: Folder or loaded bundle.
            provider: Where to run; 'tensorrt' leaves to CUDA what it cannot run.
            allow_cpu_fallback: Accept the CPU when `provider` cannot be had, or fails in a run;
                refused otherwise.
            threads: CPU threads of each session.
            device_id: GPU, as CUDA counts those that CUDA_VISIBLE_DEVICES leaves.
            gpu_mem_limit_mb: Most that the arena of each session takes on the GPU [MB]; 0 = no
                limit. 'cuda' alone can keep it.

        Raises:
            BundleError: If the bundle cannot be used.
            ConfigError: If the provider cannot be had, or cannot keep the limit.
            MissingDependency: If onnxruntime is not installed.
        """
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
        placement = Placement(
            provider=provider,
            allow_cpu_fallback=allow_cpu_fallback,
            threads=threads,
            device_id=device_id,
            gpu_mem_limit_mb=gpu_mem_limit_mb,
        )
        self._sessions = Sessions(self.bundle, placement)
        manifest = self.manifest
        self._modalities = {m.name: m for m in manifest.modalities}
        self._index = {name: i for i, name in enumerate(manifest.names)}
        self._keys: dict[str, Hashable] = {}
        self._observed: set[str] = set()
        self._present = lru_cache(maxsize=256)(lambda subset: presence(self._index, (subset,)))
        self._seen: dict[str, NDArray[np.float32]] = {}
        self._normalised: dict[str, Callable[[NDArray[Any]], NDArray[np.float32]]] = {}
        self._scorer = NoveltyScorer()
        for name in manifest.names:
            self._sessions.open(f"embed/{name}")
        self._set = PooledSet(self._sessions, manifest)
        self.recall: Recall | None = None
        """Memory, where the bundle has one."""
        if (parameters := self.bundle.memory()) is not None:
            self.recall = Recall(manifest.names, parameters, self._sessions)
            self._sessions.open(RECALL)
        self.estimates: Estimates | None = None
        """What it says of its model's targets, where the bundle is calibrated for that."""
        if self.manifest.estimates is not None:
            self.estimates = Estimates.of_bundle(self.bundle, self._sessions)

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return self.manifest.modalities

    @property
    def provider(self) -> str:
        """The provider really used, by onnxruntime's name: the worst over all sessions."""
        return self._sessions.provider

    @property
    def nodes(self) -> dict[str, int]:
        """How many nodes of all loaded graphs each provider runs; empty before onnxruntime 1.24."""
        return self._sessions.nodes

    @property
    def version(self) -> str:
        return self._sessions.version

    def late_s(self, memory_s: float) -> float:
        """Return how late a message may come after a later one of its sensor; 0 = it may not."""
        return LATE_S if self.recall is not None and memory_s else 0.0

    def modality(self, name: str) -> Modality:
        """Return the modality called `name`, or raise UnknownModality."""
        if name not in self._modalities:
            raise UnknownModality(name, self._modalities)
        return self._modalities[name]

    def observe(
        self,
        name: str,
        sample: NDArray[Any],
        key: Hashable | None = None,
        *,
        prepared: bool = False,
    ) -> None:
        """Embed one raw sample in SI units and cache the embedding.

        Args:
            name: Modality.
            sample: See `Kind.raw_sample`.
            key: What identifies the sample, e.g. its stamp; the same key again costs nothing.
            prepared: Whether it is what `prepare` returned of it, such as a data set's.

        Raises:
            UnknownModality: If the bundle has no such modality.
            SampleError: If the sample is not what the modality declares, or preprocessing fails on
                it (`Unforeseen`); the old embedding is gone.
        """
        self.modality(name)
        if key is not None and self._keys.get(name) == key:
            return
        self.forget(name)
        x = self.network_input(name, sample, prepared=prepared)
        self._set.embed(self._index[name], x)
        self._took(name, x)
        if key is not None:
            self._keys[name] = key

    def embed(self, name: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the embedding (D,) of a `network_input`; also while another thread observes."""
        embedding: NDArray[np.float32] = self._sessions.run(f"embed/{name}", x=x[None])[0][0]
        return embedding

    def put(self, name: str, x: NDArray[np.float32], embedding: NDArray[np.float32]) -> None:
        """Take a new sample whose `embed` is known; as `observe`."""
        self.forget(name)
        self._set.put(self._index[name], embedding)
        self._took(name, x)

    def _took(self, name: str, x: NDArray[np.float32]) -> None:
        self._observed.add(name)
        self._seen[name] = x[None]

    def network_input(
        self, name: str, sample: NDArray[Any], *, prepared: bool = False
    ) -> NDArray[np.float32]:
        """Return what a modality's network takes of one raw sample (*shape); see `observe`.

        Raises:
            UnknownModality: If the bundle has no such modality.
            SampleError: If the sample is not what the modality declares, or preprocessing fails on
                it (`Unforeseen`).
        """
        modality = self.modality(name)
        with refusing(name):
            ready = sample if prepared else prepare(modality, sample)
            if (normalised := self._normalised.get(name)) is None:
                normalised = normaliser(modality, self.manifest.statistics[name])
                self._normalised[name] = normalised
            return normalised(ready)

    def forget(self, name: str) -> None:
        """Drop the cached embedding of one modality."""
        self._observed.discard(name)
        self._keys.pop(name, None)
        self._seen.pop(name, None)

    def seen(self, name: str) -> NDArray[np.float32]:
        """Return the network input (1, *shape) of what was observed of a modality."""
        return self._seen[name]

    def reading(self, name: str) -> Reading:
        """Return what a memory takes of the newest sample of a modality that was observed."""
        return self._set.evidence(self._index[name])

    def readings(
        self, inputs: Mapping[str, Sequence[NDArray[np.float32]]]
    ) -> dict[str, list[Reading]]:
        """Return `reading` of each of some other samples, in few runs; what was observed stays.

        Of a bundle with a memory.

        Args:
            inputs: Some of each modality, see `network_input`.
        """
        embedded = {name: self._embed(name, samples) for name, samples in inputs.items() if samples}
        if not embedded:
            return {}
        found = iter(self._set.read_others(np.concatenate(list(embedded.values()))))
        return {name: list(islice(found, len(each))) for name, each in embedded.items()}

    def _embed(self, name: str, inputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the embeddings (N, D) of some samples: in one run where the graph allows it."""
        role = f"embed/{name}"
        if self._sessions.is_dynamic(role, "x"):
            return self._sessions.run(role, x=np.stack(inputs))[0]
        return np.concatenate([self._sessions.run(role, x=x[None])[0] for x in inputs])

    def posterior(self, subset: Sequence[str]) -> Posterior:
        """Pool the cached embeddings of `subset` into q(z given x_S), paper Eq. 7-8.

        Raises:
            EmptySubset: If the subset is empty.
            ConfigError: If a modality of it was never observed.
        """
        subset = tuple(subset)
        self._require(subset)
        mean, log_var = self._set.posteriors(self._present(subset))
        return Posterior(mean[0], log_var[0])

    def posteriors(self, subsets: Sequence[Sequence[str]]) -> list[Posterior]:
        """Return `posterior` of several subsets, in one run where the bundle's graph allows it.

        Raises:
            EmptySubset: If a subset is empty.
            ConfigError: If a modality of one was never observed.
        """
        self._require(chain.from_iterable(subsets))
        return pooled(self._set, self._index, subsets)

    def _require(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._observed:
                self.modality(name)
                raise ConfigError(
                    f"'{name}' was not observed: call observe('{name}', sample) first"
                )

    def snapshot(self, scorer: NoveltyScorer) -> Snapshot:
        """Return what was observed so far, for another thread: what comes later is not in it.

        Args:
            scorer: That thread's, which keeps from one snapshot to the next what stays the same.
        """
        return Snapshot(self, scorer, dict(self._seen), self._set.copy(), self._index)

    def infer(self, samples: Mapping[str, NDArray[Any]]) -> Posterior:
        """Return the posterior of raw samples in SI units: `observe` each, then `posterior`."""
        for name, sample in samples.items():
            self.observe(name, sample)
        return self.posterior(tuple(samples))

    def novelty(self, subset: Sequence[str], posterior: Posterior) -> float:
        """Return how unusual a posterior's evidence is; NaN where the bundle is not calibrated.

        The score is -log10 of the share of held-out samples that are at least as unusual, so that
        2 means one in 100 whatever the subset; compare it with `manifest.novelty.warn` and
        `.error`. Call it after `posterior(subset)`, before anything else is observed.

        Args:
            subset: What the posterior was made from.
            posterior: As `posterior(subset)` returned it.
        """
        return self.novelty_report(subset, posterior).score

    def novelty_report(self, subset: Sequence[str], posterior: Posterior) -> NoveltyReport:
        """Return the novelty with what it is made from, as `novelty`."""
        return self._scorer.report(self, subset, posterior)

    def decode(self, name: str, mean: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a decoder's raw output (*shape), in normalised units, for a latent (Z,).

        Raises:
            UnknownModality: If the bundle has no such modality.
            ConfigError: If the latent is not of the bundle's length.
        """
        self.modality(name)
        z, latent_dim = np.ascontiguousarray(mean, np.float32), self.manifest.latent_dim
        if z.shape != (latent_dim,):
            raise ConfigError(
                f"{name} is decoded from one latent ({latent_dim},), got {np.shape(mean)}"
            )
        return self._sessions.run(f"decode/{name}", z=z[None])[0][0]

    def reconstruct(
        self,
        name: str,
        mean: NDArray[np.float32],
        decoded: NDArray[np.float32] | None = None,
    ) -> NDArray[Any]:
        """Decode one modality from a latent (Z,), in SI units and the raw sample's layout.

        Args:
            name: Modality.
            mean: (Z,)
            decoded: What `decode` gave for it, where that is known; None = it is decoded here.

        Returns:
            Colour (H, W, 3) uint8 RGB; depth (H, W) float32 m; force (T, C) float32; vector (C,).

        Raises:
            UnknownModality: If the bundle has no such modality.
            ConfigError: If the latent is not of the bundle's length.
        """
        modality = self.modality(name)
        raw = self.decode(name, mean) if decoded is None else decoded
        si = restore(modality, self.manifest.statistics[name], raw)
        return modality.family.layout(modality, si)

    def try_out_memory(self) -> Posterior:
        """Return the posterior of what was observed by memory, which keeps nothing of it.

        Of a bundle with a memory; what runs there on several samples runs on the most.
        """
        assert self.recall is not None
        for modality in self.modalities:
            example = self.network_input(modality.name, modality.example_sample())
            most = most_at_once(modality.family.spacing_s(modality))
            self.readings({modality.name: [example] * most})
        return Posterior(*self.recall.try_out(self.reading))

    def warm_up(self) -> None:
        """Run every graph once on an example, so that no real sample meets first-run costs.

        Those of any number of samples or subsets run on one and on the most that they are asked.
        """
        first = self.modalities[0]
        self.infer({first.name: first.example_sample()})
        for modality in self.modalities:
            self.observe(modality.name, modality.example_sample())
        posterior = self.posterior(self.manifest.names)
        self.novelty(self.manifest.names, posterior)
        if self.recall is not None:
            self.try_out_memory()
        if self.estimates is not None:
            self.estimates.apply(self.manifest.names, posterior.mean, posterior.variance)
        for modality in self.modalities:
            self.reconstruct(modality.name, posterior.mean)
            self.forget(modality.name)


class Snapshot:
    """What a runtime had observed at a time, to be judged in another thread than observes."""

    def __init__(
        self,
        runtime: Runtime,
        scorer: NoveltyScorer,
        seen: Mapping[str, NDArray[np.float32]],
        embedded: PooledSet,
        index: Mapping[str, int],
    ) -> None:
        """See `Runtime.snapshot`."""
        self._runtime, self._scorer = runtime, scorer
        self._seen, self._set, self._index = seen, embedded, index

    @property
    def manifest(self) -> Manifest:
        return self._runtime.manifest

    def modality(self, name: str) -> Modality:
        """As the runtime's."""
        return self._runtime.modality(name)

    def seen(self, name: str) -> NDArray[np.float32]:
        """As the runtime's was."""
        return self._seen[name]

    def posteriors(self, subsets: Sequence[Sequence[str]]) -> list[Posterior]:
        """As the runtime's were; of modalities that had been observed."""
        return pooled(self._set, self._index, subsets)

    def decode(self, name: str, mean: NDArray[np.float32]) -> NDArray[np.float32]:
        """As the runtime's."""
        return self._runtime.decode(name, mean)

    def novelty_report(self, subset: Sequence[str], posterior: Posterior) -> NoveltyReport:
        """As the runtime's."""
        return self._scorer.report(self, subset, posterior)
