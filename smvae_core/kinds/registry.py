"""THE table of kinds, and the one way to look one up."""

from __future__ import annotations

from smvae_core.errors import ConfigError, did_you_mean
from smvae_core.kinds.base import Kind

_KINDS: dict[str, Kind] = {}


def register(kind: Kind) -> Kind:
    """Add a kind and return it.

    Raises:
        ConfigError: If another kind has its name.
    """
    if type(_KINDS.get(kind.name, kind)) is not type(kind):
        raise ConfigError(f"there is a kind '{kind.name}' already")
    _KINDS[kind.name] = kind
    return kind


def kind(name: str) -> Kind:
    """Return a kind by name.

    Raises:
        ConfigError: If there is none of that name; lists those that there are.
    """
    if name not in _KINDS:
        known = tuple(_KINDS)
        raise ConfigError(f"kind '{name}' is not one of {known}.{did_you_mean(name, known)}")
    return _KINDS[name]


def kinds() -> tuple[Kind, ...]:
    """Return every kind, in the order of registration."""
    return tuple(_KINDS.values())
