"""What a prepared data set offers to training and evaluation, whatever it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import SMVAEError


class DataSetError(SMVAEError, ValueError):
    """A data set that cannot be used; names file, place, expected, got and what would be right."""

    def __init__(
        self,
        path: Path | str,
        what: str,
        *,
        line: int | None = None,
        expected: object | None = None,
        got: object | None = None,
        hint: str = "",
    ) -> None:
        where = f"{path}" if line is None else f"{path}, line {line}"
        tail = f": expected {expected}, got {got}" if expected is not None else ""
        super().__init__(f"{where}: {what}{tail}" + (f"; {hint}" if hint else ""))


class PreparedRecords(Protocol):
    """N prepared samples of one or more modalities, each in a group that a split keeps whole."""

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Modality name -> (N, *modality.shape) in the dtype of `preprocessing.prepare`."""

    @property
    def group(self) -> NDArray[np.int32]:
        """(N,) index into `group_names`: the trajectory, or the published part."""

    @property
    def group_names(self) -> tuple[str, ...]:
        """Name of each group, e.g. trajectory names, or 'train' and 'test'."""

    @property
    def path(self) -> Path | None:
        """Folder or archive that the records come from."""

    def __len__(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class ImageRecords:
    """N images with what belongs to them, in the order of the data set's files."""

    name: str
    """Data set as it stands in tables, e.g. 'mnist' or 'mnist_binarised': never to be mixed."""
    arrays: dict[str, NDArray[Any]]
    """Modality name -> (N, *modality.shape), uint8."""
    group: NDArray[np.int32]
    """(N,) index into `group_names`."""
    group_names: tuple[str, ...] = ("train", "test")
    labels: NDArray[np.int64] | None = None
    """(N,) class of each image, None where the data set has no classes."""
    origin: str = ""
    """What the images are where the name does not tell, e.g. 'simulated robot frames'."""
    published: bool = True
    """False for files that differ from the published ones, or have no published form."""
    path: Path | None = None
    """Folder or archive that the records come from."""

    def __len__(self) -> int:
        return len(self.group)
