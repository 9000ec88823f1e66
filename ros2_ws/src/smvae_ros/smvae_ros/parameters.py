"""THE table of the node's parameters: it declares, checks and documents them.

`config/perception.yaml` is this table written out (`smvae_ros/parameter_file.py`). Parameters of
a modality are `modalities.<name>.*`; they exist once a bundle is configured, for the modalities its
manifest names. This module imports no ROS at its top, so that documentation and tests need none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from smvae_core.conversions import ConversionOptions
from smvae_core.errors import ConfigError
from smvae_core.fusion import FusionRule
from smvae_core.modality import Kind, Modality

IMAGES: tuple[Kind, ...] = ("color_image", "depth_image")
#: Triggers that are not a modality.
TRIGGERS = ("any", "timer")


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
    kinds: tuple[Kind, ...] = ()
    """Modality parameters only: the kinds that have it; empty = all."""


PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name="bundle",
        default="",
        description="Folder of the exported model: absolute path, file:// or package://PACKAGE/PATH.",
    ),
    Parameter(
        name="bundle_sha256",
        default="",
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
        description="Run on the CPU when the provider is not available, instead of failing.",
    ),
    Parameter(name="threads", default=1, low=1, high=64, description="Threads of one network run."),
    Parameter(
        name="trigger",
        default="any",
        live=True,
        description="What asks for a latent: any (every message), timer, or a modality's name.",
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
        description="With a modality as trigger: how long to wait for live others of its moment.",
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
        name="max_skew_s",
        default=0.0,
        low=0.0,
        high=60.0,
        live=True,
        description="Fused up to this far from the reference time; 0 = 1.5 measured periods.",
    ),
    Parameter(
        name="max_age_s",
        default=0.0,
        low=0.0,
        high=60.0,
        live=True,
        description="Stale after this long without a message; 0 = 3 measured periods.",
    ),
    Parameter(
        name="stamp_offset_s",
        default=0.0,
        low=-10.0,
        high=10.0,
        live=True,
        description="Known constant delay of its stamps.",
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
    return tuple(
        replace(p, name=prefix + p.name, default=defaults.get(p.name, p.default))
        for p in MODALITY_PARAMETERS
        if not p.kinds or modality.kind in p.kinds
    )


def table(modalities: Iterable[Modality]) -> dict[str, Parameter]:
    """Return all parameters of a node with these modalities, by full name."""
    entries = [*PARAMETERS, *(p for m in modalities for p in of_modality(m))]
    return {p.name: p for p in entries}


def check(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> str:
    """Return why these values cannot be used together, or an empty string.

    Args:
        parameters: See `table`.
        values: Value of every one of them.
    """
    for name, parameter in parameters.items():
        value = values[name]
        if parameter.choices and value not in parameter.choices:
            return f"{name} must be one of {', '.join(parameter.choices)}, got '{value}'"
        low, high = parameter.low, parameter.high
        if low is not None and high is not None and not low <= value <= high:
            return f"{name} must lie in [{low:g}, {high:g}], got {value:g}"
    names = [n.split(".")[1] for n in parameters if n.endswith(".enabled")]
    if not names:
        return ""
    enabled = [n for n in names if values[f"modalities.{n}.enabled"]]
    if not enabled:
        return "at least one modality must stay enabled"
    trigger = values["trigger"]
    if trigger not in (*TRIGGERS, *enabled):
        return f"trigger must be one of {', '.join((*TRIGGERS, *enabled))}, got '{trigger}'"
    for name in names:
        age = values[f"modalities.{name}.max_age_s"]
        skew = values[f"modalities.{name}.max_skew_s"]
        if age and skew and age < skew:
            return f"modalities.{name}: max_age_s {age:g} must not be less than max_skew_s {skew:g}"
    return ""


def fusion_rule(values: Mapping[str, Any], modality: Modality) -> FusionRule:
    """Return the collector's rule that the parameters of a modality ask for."""
    prefix = f"modalities.{modality.name}."
    return FusionRule(
        enabled=values[prefix + "enabled"],
        max_skew_s=values[prefix + "max_skew_s"] or None,
        max_age_s=values[prefix + "max_age_s"] or None,
        stamp_offset_s=values[prefix + "stamp_offset_s"],
        min_samples=values.get(prefix + "min_samples", FusionRule().min_samples),
    )


def conversion_options(values: Mapping[str, Any], modality: Modality) -> ConversionOptions:
    """Return the conversion options that the parameters of a modality ask for."""
    prefix = f"modalities.{modality.name}."
    default = ConversionOptions()
    return ConversionOptions(
        depth_scale=values.get(prefix + "depth_scale", default.depth_scale),
        step_time_s=values.get(prefix + "step_time_s", default.step_time_s),
    )


def declare(node: Any, parameters: Iterable[Parameter]) -> None:
    """Declare parameters with their descriptors; those declared already stay as they are.

    Raises:
        ConfigError: If a value given from outside has another type or lies outside its range.
    """
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    for parameter in parameters:
        if node.has_parameter(parameter.name):
            continue
        try:
            node.declare_parameter(parameter.name, parameter.default, descriptor(parameter))
        except InvalidParameterTypeException as err:
            kind = type(parameter.default).__name__
            hint = " (write 30.0, not 30)" if kind == "float" else ""
            raise ConfigError(f"parameter {parameter.name} must be a {kind}{hint}: {err}") from err
        except InvalidParameterValueException as err:
            raise ConfigError(f"parameter {parameter.name}: {err}") from err


def descriptor(parameter: Parameter) -> Any:
    """Return the rcl_interfaces/ParameterDescriptor of a parameter."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    message = ParameterDescriptor(description=parameter.description)
    if parameter.choices:
        message.additional_constraints = f"one of {', '.join(parameter.choices)}"
    elif not parameter.live:
        message.additional_constraints = "may change only while the node is unconfigured"
    if parameter.low is not None and parameter.high is not None:
        low, high = parameter.low, parameter.high
        if isinstance(parameter.default, float):
            message.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        else:
            message.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    return message
