"""Records embedded once, for what a memory learns: the sensors' networks no longer change.

N training record, B batch, M modality, D embedding, Z latent.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smvae_core.files import naming
from smvae_core.model.distributions import Posterior
from smvae_core.model.memory.context import Elements, Embedded
from smvae_core.model.set_encoder import SetEncoder
from smvae_core.model.smvae import SMVAE
from smvae_datasets.dataset import Dataset
from smvae_training.steps.data import References, gather
from smvae_training.steps.normalise import BatchNormaliser

logger = logging.getLogger(__name__)

#: Records that are embedded together.
CHUNK = 256


def embed_records(
    model: SMVAE,
    normaliser: BatchNormaliser,
    data: Dataset,
    index: NDArray[np.int64],
    device: torch.device,
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield, of some records at a time, where in `index` they are, what they hold, embeddings.

    The latter are (N, M) bool and (N, M, D) in single precision, on the device. The caller says
    whether gradients are wanted.
    """
    for first in range(0, len(index), CHUNK):
        part = slice(first, min(first + CHUNK, len(index)))
        recorded = torch.from_numpy(data.recorded[index[part]]).to(device)
        arrays = gather(data.arrays, index[part])
        inputs = normaliser({n: x.to(device) for n, x in arrays.items()})
        with torch.autocast(device.type, enabled=False):
            yield part, recorded, model.embed(inputs, recorded).float()


class EmbeddedRecords:
    """Embeddings of training records, in a nameless file of the run's folder."""

    def __init__(self, data: Dataset, index: NDArray[np.int64], folder: Path) -> None:
        """Say what is to be embedded, see `make`; `index` are the records of the training split."""
        self._data, self._index, self._folder = data, index, folder
        self._row = np.full(len(data), -1, np.int64)
        self._row[index] = np.arange(len(index))
        self._names = tuple(m.name for m in data.sensors)
        self._embeddings: NDArray[np.float32] | None = None
        self._best: tuple[Tensor, Tensor] | None = None

    @property
    def made(self) -> bool:
        return self._embeddings is not None

    @torch.no_grad()
    def make(
        self, model: SMVAE, best: SetEncoder, normaliser: BatchNormaliser, device: torch.device
    ) -> None:
        """Embed every record, and keep what `best` says of all that it holds.

        Raises:
            OSError: If the folder has no room.
        """
        start = time.perf_counter()
        shape = (len(self._index), len(self._names), model.config.embedding_dim)
        with naming(self._folder), tempfile.TemporaryFile(dir=self._folder) as file:
            file.truncate(4 * int(np.prod(shape)))
            found = np.memmap(file, np.float32, "r+", shape=shape)
        means, log_vars = [], []
        with torch.autocast(device.type, enabled=False):
            for part, recorded, embeddings in embed_records(
                model, normaliser, self._data, self._index, device
            ):
                found[part] = embeddings.cpu().numpy()
                posterior = best.nested(embeddings, (recorded,))[0]
                means.append(posterior.mean.cpu())
                log_vars.append(posterior.log_var.cpu())
        self._embeddings, self._best = found, (torch.cat(means), torch.cat(log_vars))
        seconds = time.perf_counter() - start
        logger.info("embedded %d records once for all in %.0f s", len(self._index), seconds)

    def embedded(self, references: References, device: torch.device) -> Embedded:
        """Return the embeddings of the reference times and of what they remember."""
        embeddings, owner, age_s = {}, {}, {}
        for number, name in enumerate(self._names):
            remembered = references.remembered.get(name)
            if remembered is None or not len(remembered.record):
                continue
            embeddings[name] = self._of(remembered.record, number).to(device)
            owner[name] = torch.from_numpy(remembered.owner).to(device)
            age_s[name] = torch.from_numpy(remembered.age_s).to(device)
        reference = self._of(references.record, slice(None)).to(device)
        return Embedded(reference, Elements(embeddings, owner, age_s))

    def best(self, references: References, device: torch.device) -> Posterior:
        """Return the posteriors of everything that the reference records hold."""
        assert self._best is not None
        rows = torch.from_numpy(self._row[references.record])
        mean, log_var = (part[rows].to(device) for part in self._best)
        return Posterior(mean, log_var)

    def second_moment(self) -> Tensor:
        """Return E[z^2] (Z,) over the records, each with everything that it holds."""
        assert self._best is not None
        mean, log_var = self._best
        return (mean.square() + log_var.exp()).mean(0)

    def _of(self, record: NDArray[np.int64], sensor: int | slice) -> Tensor:
        assert self._embeddings is not None
        return torch.from_numpy(self._embeddings[self._row[record], sensor])
