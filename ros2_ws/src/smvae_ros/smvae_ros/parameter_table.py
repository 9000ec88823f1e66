"""THE table of the node's parameters: what each is, its default, its range, when it may change.

`parameters.py` checks, declares and hands it on; `config/perception.yaml` is this table written out
(`parameter_file.py`). Parameters of a modality are `modalities.<name>.*`; they exist once a bundle
is configured, for the modalities its manifest names. No ROS is imported, so that documentation
and tests need none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from smvae_core.messages import MESSAGE_TYPES
from smvae_core.modality import Kind, Modality

IMAGES: tuple[Kind, ...] = ("color_image", "depth_image")
When = Literal["unconfigured", "inactive", "any"]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of the node."""

    name: str
    default: bool | int | float | str
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    """Whether it may change after configure."""
    reloads: bool = False
    """Whether it may also change while inactive: the bundle is then loaded anew."""
    kinds: tuple[Kind, ...] = ()
    """Modality parameters only: the kinds that have it; empty = all."""

    @property
    def when(self) -> When:
        """State in which it may change at the latest: unconfigured, inactive, or any."""
        if self.live:
            return "any"
        return "inactive" if self.reloads else "unconfigured"


PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name="bundle",
        default="",
        reloads=True,
        description="Folder of the exported model: absolute path, file:// or package://PACKAGE/PATH.",
    ),
    Parameter(
        name="bundle_sha256",
        default="",
        reloads=True,
        description="Expected SHA-256 of the bundle's manifest.json; empty = any.",
    ),
    Parameter(
        name="provider",
        default="cpu",
        choices=("cpu", "cuda", "tensorrt"),
        description="Where the networks run.",
    ),
    Parameter(
        name="allow_cpu_fallback",
        default=False,
        description="Run on the CPU when the provider cannot be had or fails, instead of failing.",
    ),
    Parameter(
        name="device_id",
        default=0,
        low=0,
        high=63,
        description="GPU of cuda and tensorrt, counted among those that CUDA_VISIBLE_DEVICES "
        "leaves; diagnostics show the same one.",
    ),
    Parameter(
        name="gpu_mem_limit_mb",
        default=0.0,
        low=0.0,
        high=1e6,
        description="GPU memory that each network's arena takes at most [MB]; 0 = no limit. There "
        "are two networks per modality and one more; CUDA's own memory comes on top. Only cuda "
        "keeps it.",
    ),
    Parameter(name="threads", default=1, low=1, high=64, description="Threads of one network run."),
    Parameter(
        name="trigger",
        default="any",
        live=True,
        description="What asks for a latent: any (every new sample), timer, or a modality's name.",
    ),
    Parameter(
        name="max_rate_hz",
        default=30.0,
        low=0.1,
        high=1000.0,
        live=True,
        description="At most so many latents per second; the rate of trigger 'timer'.",
    ),
    Parameter(
        name="collect_timeout_s",
        default=0.01,
        low=0.0,
        high=1.0,
        live=True,
        description="How long to wait for others of the same moment, at most: for live ones with a "
        "modality as trigger, for those that are due within it with 'any', never with 'timer'.",
    ),
    Parameter(
        name="heartbeat_rate_hz",
        default=5.0,
        low=0.2,
        high=50.0,
        description="Rate of NO_INPUT messages while nothing is alive.",
    ),
    Parameter(
        name="max_future_s",
        default=0.5,
        low=0.0,
        high=3600.0,
        live=True,
        description="Messages stamped further ahead of the node's clock are rejected.",
    ),
    Parameter(
        name="publish_predicted",
        default="auto",
        choices=("auto", "always", "never"),
        live=True,
        description="Predicted images: auto = only those that have a subscriber.",
    ),
    Parameter(
        name="diagnostics_period_s",
        default=1.0,
        low=0.1,
        high=60.0,
        description="Time between diagnostics.",
    ),
)

MODALITY_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(name="enabled", default=True, live=True, description="False: never fused."),
    Parameter(name="topic", default="", description="Where its messages come from."),
    Parameter(
        name="message_type",
        default="",
        description="What its topic carries; empty = the first one.",
    ),
    Parameter(
        name="max_skew_s",
        default=0.0,
        low=0.0,
        high=60.0,
        live=True,
        description="Fused up to this far from the reference time; 0 = 1.5 measured periods "
        "between stamps, and what it is measured to arrive later than the others (up to 0.2 s).",
    ),
    Parameter(
        name="max_age_s",
        default=0.0,
        low=0.0,
        high=60.0,
        live=True,
        description="Lost after this long without a good message, until two have come; 0 = 3 "
        "measured periods.",
    ),
    Parameter(
        name="stamp_offset_s",
        default=0.0,
        low=-10.0,
        high=10.0,
        live=True,
        description="Known constant error of its stamps, positive = late: a sample happened at "
        "stamp - offset.",
    ),
    Parameter(
        name="hold_last_s",
        default=0.0,
        low=0.0,
        high=60.0,
        live=True,
        kinds=(*IMAGES, "vector"),
        description="Use the last sample for this long beside fresh ones of others, flagged as "
        "held; 0 = never. For commands that come rarely.",
    ),
    Parameter(
        name="frame_id",
        default="",
        live=True,
        description="Expected frame of its messages, others are rejected; empty = any.",
    ),
    Parameter(
        name="depth_scale",
        default=0.0,
        low=0.0,
        high=1000.0,
        live=True,
        kinds=("depth_image",),
        description="Metres per unit; 0 = by encoding (32FC1 metres, 16 bit millimetres).",
    ),
    Parameter(
        name="color_min_m",
        default=0.0,
        low=0.0,
        high=1000.0,
        live=True,
        kinds=("depth_image",),
        description="Depth at the near end of the coloured prediction [m].",
    ),
    Parameter(
        name="color_max_m",
        default=0.0,
        low=0.0,
        high=1000.0,
        live=True,
        kinds=("depth_image",),
        description="Depth at its far end [m]; 0 = both ends of the model's range, 0 to 2 m.",
    ),
    Parameter(
        name="min_samples",
        default=3,
        low=2,
        high=1000,
        live=True,
        kinds=("force_window",),
        description="Readings that a window needs at least.",
    ),
    Parameter(
        name="step_time_s",
        default=0.05,
        low=0.0001,
        high=10.0,
        live=True,
        kinds=("vector",),
        description="Displacement of one control step = commanded twist x this time.",
    ),
    Parameter(
        name="joint_names",
        default="",
        live=True,
        kinds=("vector",),
        description="Joints of a JointState in the modality's order, separated by commas; empty = "
        "named as its fields.",
    ),
)


def default_topic(modality: Modality) -> str:
    """Return the relative topic that a modality listens to unless told otherwise."""
    if modality.kind in IMAGES:
        return f"{modality.name}/image"
    return "wrench" if modality.kind == "force_window" else modality.name


def of_modality(modality: Modality) -> tuple[Parameter, ...]:
    """Return the parameters of one modality under their full names."""
    prefix = f"modalities.{modality.name}."
    defaults = {"topic": default_topic(modality)}
    choices = {"message_type": ("", *MESSAGE_TYPES.get(modality.kind, ()))}
    return tuple(
        replace(
            p,
            name=prefix + p.name,
            default=defaults.get(p.name, p.default),
            choices=choices.get(p.name, p.choices),
        )
        for p in MODALITY_PARAMETERS
        if not p.kinds or modality.kind in p.kinds
    )


def table(modalities: Iterable[Modality]) -> dict[str, Parameter]:
    """Return all parameters of a node with these modalities, by full name."""
    entries = [*PARAMETERS, *(p for m in modalities for p in of_modality(m))]
    return {p.name: p for p in entries}
