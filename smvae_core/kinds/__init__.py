"""Kinds of sensors: one file each. Importing the package imports all; each registers itself."""

from importlib import import_module
from pkgutil import iter_modules

from smvae_core.kinds.base import Converter, Kind, NoOptions
from smvae_core.kinds.registry import kind, kinds, register

for _file in iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")

__all__ = ["Converter", "Kind", "NoOptions", "kind", "kinds", "register"]
