"""The set encoder on a robot: keeps what it read of each modality, and pools any subsets of them.

M modality, D embedding, R subsets, Z latent.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

import numpy as np
from numpy.typing import NDArray

from smvae_core.bundle import READ, Manifest
from smvae_core.graphs.sessions import Sessions
from smvae_core.memory.recall import Reading


class PooledSet:
    """The newest embedding of each modality, each read once, and the posteriors of its subsets."""

    def __init__(self, sessions: Sessions, manifest: Manifest) -> None:
        self._sessions = sessions
        self._modalities = manifest.modalities
        size = len(manifest.names)
        self.embeddings = np.zeros((1, size, manifest.embedding_dim), np.float32)
        """(1, M, D), of the newest samples."""
        self._unread: set[int] = set()
        self._inputs: dict[int, NDArray[np.float32]] = {}
        #: Runs on these arrays by what they do, made when first wanted; none of a copy.
        self._bound: dict[str, Callable[[], object]] | None = {}
        self._one = np.zeros((1, size), np.bool_)
        self._posterior = np.zeros((2, 1, manifest.latent_dim), np.float32)
        self._reads = READ in manifest.graphs
        self._reading: dict[str, NDArray[np.float32]] = {}
        if self._reads:
            sessions.open(READ)
        else:
            self._reading["embeddings"] = self.embeddings
        #: Bundles of before format 3 take one subset at a time.
        self._together = sessions.is_dynamic("set_encoder", "present")

    def copy(self) -> PooledSet:
        """Return one with the same embeddings, which does not follow this one."""
        if self._unread:
            self._read_new()
        other = copy(self)
        other.embeddings = self.embeddings.copy()
        other._unread, other._bound = set(), None
        other._reading = {name: part.copy() for name, part in self._reading.items()}
        if not self._reads:
            other._reading["embeddings"] = other.embeddings
        return other

    def put(self, index: int, embedding: NDArray[np.float32]) -> None:
        """Take the embedding (D,) of a modality's new sample."""
        self.embeddings[0, index] = embedding
        if self._reads:
            self._unread.add(index)

    def embed(self, index: int, x: NDArray[np.float32]) -> None:
        """Embed what the network of a modality takes of its new sample (*shape), and take that."""
        assert self._bound is not None, "a copy follows no sample"
        modality = self._modalities[index]
        role = f"embed/{modality.name}"
        run = self._bound.get(role)
        if run is None:
            given = self._inputs[index] = np.zeros((1, *modality.shape), np.float32)
            row = self.embeddings[0, index : index + 1]
            run = self._bound[role] = self._sessions.bound(role, {"x": given}, [row])
        self._inputs[index][:] = x
        run()
        if self._reads:
            self._unread.add(index)

    def posteriors(
        self, present: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and log variance (R, Z) of subsets (R, M) of what was put."""
        if self._unread:
            self._read_new()
        if self._bound is not None and len(present) == 1:
            return self._one_posterior(present)
        if self._together or len(present) == 1:
            mean, log_var = self._sessions.run("set_encoder", **self._reading, present=present)
            return mean, log_var
        rows = [self.posteriors(row[None]) for row in present]
        mean, log_var = (np.concatenate(column) for column in zip(*rows, strict=True))
        return mean, log_var

    def evidence(self, index: int) -> Reading:
        """Return a modality's embedding, and what is read of it by pooling `evidence`."""
        if self._unread:
            self._read_new()
        term, log_precision, mean = self._reading.values()
        return self.embeddings[0, index], term[0, index], log_precision[0, index], mean[0, index]

    def read_others(self, embeddings: NDArray[np.float32]) -> list[Reading]:
        """Return other embeddings (N, D), each with what is read of it, as `evidence`.

        What was put and is not read yet is read in the same run.
        """
        read = self._read(sorted(self._unread), embeddings)
        return list(zip(embeddings, *(part[0] for part in read), strict=True))

    def _one_posterior(
        self, present: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        assert self._bound is not None
        run = self._bound.get("set_encoder")
        if run is None:
            given = {**self._reading, "present": self._one}
            run = self._bound["set_encoder"] = self._sessions.bound(
                "set_encoder", given, list(self._posterior)
            )
        self._one[:] = present
        run()
        mean, log_var = self._posterior.copy()
        return mean, log_var

    def _read_new(self) -> None:
        """Read what was put and is not read yet."""
        if self._bound is None or len(self._unread) > 1 or not self._reading:
            self._read(sorted(self._unread))
            return
        (index,) = self._unread
        role = f"{READ}/{index}"
        run = self._bound.get(role)
        if run is None:
            here = slice(index, index + 1)
            given, read = self.embeddings[:, here], [p[:, here] for p in self._reading.values()]
            run = self._bound[role] = self._sessions.bound(READ, {"embeddings": given}, read)
        run()
        self._unread.clear()

    def _read(
        self, indices: list[int], others: NDArray[np.float32] | None = None
    ) -> list[NDArray[np.float32]]:
        """Read these modalities in one run, and keep it; return what is read of others (N, D)."""
        count = len(indices)
        whole = count and indices[-1] - indices[0] + 1 == count
        rows = slice(indices[0], indices[-1] + 1) if whole else indices  # a slice copies nothing
        embeddings = self.embeddings[:, rows]
        if others is not None:
            embeddings = np.concatenate([embeddings, others[None]], axis=1)
        found = self._sessions.run(READ, embeddings=embeddings)
        self._unread.clear()
        if not count:
            return found
        for index, part in enumerate(found):
            name = f"reading{index}"
            if name not in self._reading:
                shape = (1, self.embeddings.shape[1], *part.shape[2:])
                self._reading[name] = np.zeros(shape, np.float32)
            self._reading[name][:, rows] = part[:, :count]
        return [part[:, count:] for part in found]
