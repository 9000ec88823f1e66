"""What `smvae audit` may be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smvae_core.bag_formats.types import DEFAULT_TYPESTORE


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """How a recording is read."""

    latent: str = ""
    """Topic of the latents; needed where the recording has those of several nodes."""
    topics: tuple[str, ...] = ()
    """Topics that differ from what the node said in ModelInfo, NAME=TOPIC each."""
    params_file: Path | None = None
    """The node's parameter file, over what it said in ModelInfo; --topics wins over it."""
    targets: tuple[str, ...] = ()
    """Recorded targets that the bundle's estimates or readout are compared with,
    NAME=TOPIC:PATH[+PATH] each; a path leads to a number, a list, or x, y, z:
    offset=/ground_truth:pose.position. By default those that the bundle's robot declares."""
    typestore: str = DEFAULT_TYPESTORE
    """Message definitions for recordings that hold none, e.g. ros2_humble."""
