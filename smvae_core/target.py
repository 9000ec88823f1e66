"""What a model decodes from its latent and never observes, such as where the hole is.

K numbers of a target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from smvae_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DecodedTarget:
    """One target: its numbers, and where they lie in the training records."""

    name: str
    mean: tuple[float, ...]
    """(K,) of the training records, in `unit`; not read of a binary one."""
    deviation: tuple[float, ...]
    """(K,) their standard deviation, positive; not read of a binary one."""
    unit: str = "1"
    binary: bool = False
    """Whether each number is yes or no, 1 or 0."""
    fields: tuple[str, ...] = ()
    """Name of each number, e.g. 'x'; empty for numbers from 0."""
    frame_id: str = ""
    """Frame that the numbers are in; empty = not declared, or they are in none."""
    rule: str = ""
    """How it was computed from the sensors, in words; empty = it was recorded."""

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.deviation):
            raise ConfigError(
                f"target '{self.name}': expected one mean and one deviation per number, got "
                f"{len(self.mean)} and {len(self.deviation)}"
            )
        if self.fields and len(self.fields) != len(self.mean):
            raise ConfigError(
                f"target '{self.name}': expected {len(self.mean)} fields, got {self.fields}"
            )
        if not all(math.isfinite(m) for m in self.mean) or not all(
            0.0 < d < math.inf for d in self.deviation
        ):
            raise ConfigError(
                f"target '{self.name}': expected finite means and positive deviations, got "
                f"{self.mean} and {self.deviation}"
            )

    @property
    def size(self) -> int:
        """K."""
        return len(self.mean)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each of the K numbers."""
        return self.fields or tuple(map(str, range(self.size)))

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        if not self.rule:
            del data["rule"]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DecodedTarget:
        """Rebuild a target.

        Raises:
            ConfigError: If a value cannot be.
            KeyError, TypeError: If something is missing, or too much.
        """
        numbers = {k: tuple(map(float, data[k])) for k in ("mean", "deviation")}
        return cls(**{**data, **numbers, "fields": tuple(data["fields"])})
