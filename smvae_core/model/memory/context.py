"""What a batch remembers: stamped samples of any sensors, any number of each, in any order.

B batch, R samples of one sensor, D embedding.
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class Context(NamedTuple):
    """Samples before the reference times of a batch; those of the reference time are not in it.

    A sensor that nobody remembers may be left out. Two samples of one sensor with one stamp count
    as one.
    """

    inputs: Mapping[str, Tensor]
    """Network inputs (R, *shape) by sensor."""
    owner: Mapping[str, Tensor]
    """(R,) int64: which sample of the batch remembers it."""
    age_s: Mapping[str, Tensor]
    """(R,) float32: reference time minus stamp; below 0 counts as 0."""


class Elements(NamedTuple):
    """A context whose samples are embedded. No embedding knows a time: it may serve many."""

    embeddings: Mapping[str, Tensor]
    """(R, D) by sensor."""
    owner: Mapping[str, Tensor]
    """As Context's."""
    age_s: Mapping[str, Tensor]
    """As Context's."""


class Embedded(NamedTuple):
    """A batch and what it remembers, embedded."""

    embeddings: Tensor
    """(B, M, D) of the reference times; rows of what was not recorded are never read."""
    elements: Elements
