"""Kinds of sensors: one file each. Importing the package registers them all."""

from smvae_core.kinds import (  # noqa: F401  each registers itself
    attributes,
    color_image,
    command,
    depth_image,
    grey_image,
    joint_state,
    label,
    scan,
    signal,
    vector,
)
from smvae_core.kinds.base import Converter, Kind, NoOptions
from smvae_core.kinds.registry import kind, kinds, register

__all__ = ["Converter", "Kind", "NoOptions", "kind", "kinds", "register"]
