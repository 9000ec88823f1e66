"""Read the idx format of MNIST and Fashion-MNIST, checked against what its header promises."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_datasets.dataset import DataSetError

_UBYTE = 0x08
_IMAGES, _LABELS = 3, 1


def parse_images(content: bytes, path: Path) -> NDArray[np.uint8]:
    """Return the images (N, H, W) uint8 of an idx3-ubyte file.

    Args:
        content: The whole file, unpacked.
        path: Its name, for messages.

    Raises:
        DataSetError: If it has a wrong magic number, or is shorter or longer than its header says.
    """
    return _parse(content, path, _IMAGES, "images")


def parse_labels(content: bytes, path: Path, num_classes: int) -> NDArray[np.int64]:
    """Return the labels (N,) int64 of an idx1-ubyte file.

    Raises:
        DataSetError: As `parse_images`, or if a label is not below `num_classes`.
    """
    labels = _parse(content, path, _LABELS, "labels")
    if labels.size and labels.max() >= num_classes:
        where = int(np.argmax(labels >= num_classes))
        expected = f"0 to {num_classes - 1}"
        raise DataSetError(path, f"label {where}", expected=expected, got=labels[where])
    return labels.astype(np.int64)


def _parse(content: bytes, path: Path, rank: int, kind: str) -> NDArray[Any]:
    header = 4 + 4 * rank
    magic = struct.pack(">HBB", 0, _UBYTE, rank)
    if content[:4] != magic[: len(content)] or not content:
        got = f"'{content[:4].hex()}'" if content else "an empty file"
        expected = f"'{magic.hex()}' (idx{rank}-ubyte, {kind})"
        raise DataSetError(path, "magic number", expected=expected, got=got)
    if len(content) < header:
        got = f"{len(content)} bytes"
        raise DataSetError(path, "truncated header", expected=f"{header} bytes", got=got)
    shape = struct.unpack(f">{rank}I", content[4:header])
    promised = header + int(np.prod(shape, dtype=np.uint64))
    if len(content) != promised:
        what = "truncated file" if len(content) < promised else "data after the end"
        expected = f"{promised} bytes for {shape[0]} {kind}"
        raise DataSetError(path, what, expected=expected, got=f"{len(content)} bytes")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
