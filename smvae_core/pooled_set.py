"""The set encoder on a robot: keeps what it read of each modality, and pools any subsets of them.

M modality, D embedding, R subsets, Z latent.
"""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

from smvae_core.bundle import READ, Manifest
from smvae_core.recall import Reading
from smvae_core.sessions import Sessions


class PooledSet:
    """The newest embedding of each modality, each read once, and the posteriors of its subsets."""

    def __init__(self, sessions: Sessions, manifest: Manifest) -> None:
        self._sessions = sessions
        size = len(manifest.names)
        self.embeddings = np.zeros((1, size, manifest.embedding_dim), np.float32)
        """(1, M, D), of the newest samples."""
        self._unread: set[int] = set()
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
            self._read(sorted(self._unread))
        other = copy(self)
        other.embeddings = self.embeddings.copy()
        other._unread = set()
        other._reading = {name: part.copy() for name, part in self._reading.items()}
        if not self._reads:
            other._reading["embeddings"] = other.embeddings
        return other

    def put(self, index: int, embedding: NDArray[np.float32]) -> None:
        """Take the embedding (D,) of a modality's new sample."""
        self.embeddings[0, index] = embedding
        if self._reads:
            self._unread.add(index)

    def posteriors(
        self, present: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and log variance (R, Z) of subsets (R, M) of what was put."""
        if self._unread:
            self._read(sorted(self._unread))
        if self._together or len(present) == 1:
            mean, log_var = self._sessions.run("set_encoder", **self._reading, present=present)
            return mean, log_var
        rows = [self.posteriors(row[None]) for row in present]
        mean, log_var = (np.concatenate(column) for column in zip(*rows, strict=True))
        return mean, log_var

    def evidence(self, index: int) -> Reading:
        """Return a modality's embedding, and what is read of it by pooling `evidence`."""
        if self._unread:
            self._read(sorted(self._unread))
        term, log_precision, mean = self._reading.values()
        return self.embeddings[0, index], term[0, index], log_precision[0, index], mean[0, index]

    def read_others(self, embeddings: NDArray[np.float32]) -> list[Reading]:
        """Return other embeddings (N, D), each with what is read of it, as `evidence`.

        What was put and is not read yet is read in the same run.
        """
        read = self._read(sorted(self._unread), embeddings)
        return list(zip(embeddings, *(part[0] for part in read), strict=True))

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
