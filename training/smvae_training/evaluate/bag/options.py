"""What `smvae evaluate-bag` may be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smvae_core.bag_formats.types import DEFAULT_TYPESTORE
from smvae_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class BagOptions:
    """What is done with a bag."""

    topics: tuple[str, ...] = ()
    """Topics that differ from the node's defaults, NAME=TOPIC each."""
    drop: str = ""
    """Modalities to leave out, parted by commas; they are still compared with."""
    subsets: str = "all"
    """Table over the subsets of what the bag holds: all or none."""
    trigger: str | None = None
    """What asks for a latent: any (the default), timer, or a modality's name."""
    max_rate_hz: float | None = None
    """At most so many latents per second of the bag; the node's 100 by default."""
    memory_s: float | None = None
    """How far back samples count, where the bundle has a memory; the node's 5 by default, 0 = the
    moment alone."""
    predict_ahead_s: float | None = None
    """Latents answer for their moment and this much more, and are compared with what the bag held
    then; the node's 0 by default, 0.5 at most. Needs a bundle with a memory."""
    outage: tuple[str, ...] = ()
    """Messages that never come, SENSORS:START:LENGTH each in seconds of the bag, e.g.
    rgb,depth:2.0:1.0; the sensors are still compared with, by time since their loss."""
    targets: tuple[str, ...] = ()
    """Recorded targets that the latents are compared with, NAME=TOPIC:PATH[+PATH] each, e.g.
    offset=/ground_truth:pose.position; by default those that the bundle's robot declares."""
    params_file: Path | None = None
    """The node's parameter file; the options above win over it."""
    node: str = ""
    """Full name of the node in a params file that is for several, e.g. /left/smvae."""
    typestore: str = DEFAULT_TYPESTORE
    """Message definitions for bags that hold none, e.g. ros2_humble."""
    moments: int = 200
    """At most so many moments for the subset table, spread evenly."""
    video: bool = True
    """Write predictions.mp4 where OpenCV can."""
    audit: bool = True
    """Make the latents that the bag holds again too, as `smvae audit` does."""
    strict: bool = False
    """Exit 1 if a sensor that is not dropped is missing, or lost a message."""

    def __post_init__(self) -> None:
        if self.subsets not in ("all", "none"):
            raise ConfigError(f"--subsets must be all or none, got '{self.subsets}'")
        if self.moments < 1:
            raise ConfigError(f"--moments must be at least 1, got {self.moments}")

    @property
    def dropped(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.drop.split(",") if name.strip())
