"""Checking, declaring and reading the node's parameters; their table is `parameter_table.py`.

This module imports no ROS at its top, so that documentation and tests need none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from smvae_core.errors import ConfigError, nearest
from smvae_core.fusion.rules import FusionRule
from smvae_core.fusion.trigger import TRIGGERS
from smvae_core.messages import ConversionOptions, Converter, converter
from smvae_core.modality import Modality
from smvae_ros.parameter_table import (
    IMAGES,
    MODALITY_PARAMETERS,
    PARAMETERS,
    Parameter,
    When,
    default_topic,
    of_modality,
    table,
)

#: Parameters that rclpy itself declares, or that it reads before.
_OF_RCLPY = ("use_sim_time", "qos_overrides", "start_type_description_service")


def check(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> str:
    """Return why these values cannot be used together, or an empty string.

    Args:
        parameters: See `table`.
        values: Value of every one of them.
    """
    for name, parameter in parameters.items():
        value = values[name]
        if parameter.choices and value not in parameter.choices:
            return f"{name} must be {_one_of(parameter)}, got '{value}'"
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
    return next(filter(None, (_check_modality(name, values) for name in names)), "")


def _one_of(parameter: Parameter) -> str:
    named = f"one of {', '.join(filter(None, parameter.choices))}"
    return f"{named}, or empty" if "" in parameter.choices else named


def _check_modality(name: str, values: Mapping[str, Any]) -> str:
    """Return why the values of one modality contradict each other, or an empty string."""
    prefix = f"modalities.{name}"
    age, skew = values[f"{prefix}.max_age_s"], values[f"{prefix}.max_skew_s"]
    if age and skew and age <= skew:
        return f"{prefix}: max_age_s {age:g} must exceed max_skew_s {skew:g}"
    hold = values.get(f"{prefix}.hold_last_s", 0.0)
    if hold and hold <= max(age, skew):
        limit = "max_age_s" if age >= skew else "max_skew_s"
        return (
            f"{prefix}: hold_last_s {hold:g} must exceed {limit} {max(age, skew):g}, or be 0 "
            "(never hold)"
        )
    joints = joint_names(values.get(f"{prefix}.joint_names", ""))
    if len(set(joints)) < len(joints):
        return f"{prefix}.joint_names must differ, got '{', '.join(joints)}'"
    near, far = values.get(f"{prefix}.color_min_m", 0.0), values.get(f"{prefix}.color_max_m", 0.0)
    if far and far <= near:
        return f"{prefix}: color_max_m {far:g} must exceed color_min_m {near:g}"
    return ""


def fusion_rule(values: Mapping[str, Any], modality: Modality) -> FusionRule:
    """Return the collector's rule that the parameters of a modality ask for."""
    prefix = f"modalities.{modality.name}."
    return FusionRule(
        enabled=values[prefix + "enabled"],
        max_skew_s=values[prefix + "max_skew_s"] or None,
        max_age_s=values[prefix + "max_age_s"] or None,
        stamp_offset_s=values[prefix + "stamp_offset_s"],
        hold_last_s=values.get(prefix + "hold_last_s", FusionRule().hold_last_s),
        min_samples=values.get(prefix + "min_samples", FusionRule().min_samples),
    )


def joint_names(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list; rclpy cannot tell the type of an empty array."""
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def conversion_options(values: Mapping[str, Any], modality: Modality) -> ConversionOptions:
    """Return the conversion options that the parameters of a modality ask for."""
    prefix = f"modalities.{modality.name}."
    default = ConversionOptions()
    return ConversionOptions(
        depth_scale=values.get(prefix + "depth_scale", default.depth_scale),
        step_time_s=values.get(prefix + "step_time_s", default.step_time_s),
        joint_names=joint_names(values.get(prefix + "joint_names", "")),
    )


def message_converter(values: Mapping[str, Any], modality: Modality) -> Converter:
    """Return the conversion from the message type that a modality's topic carries.

    Raises:
        ConfigError: If the modality cannot be read from that type.
    """
    return converter(modality.kind, values[f"modalities.{modality.name}.message_type"])


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


def unknown(given: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Return what the node does with given parameters that it does not have: prefix -> why.

    Args:
        given: Names from launch, command line and parameter files.
        known: Those of the table, with the bundle's modalities.
    """
    known = set(known)
    modalities = {name.split(".")[1] for name in known if name.startswith("modalities.")}
    found = {}
    for name in given:
        of = name.split(".")
        if name in known or of[0] in _OF_RCLPY:
            continue
        if of[0] == "modalities" and len(of) > 2 and of[1] not in modalities:
            found[f"modalities.{of[1]}"] = f"the bundle has {', '.join(sorted(modalities))}"
        else:
            near = nearest(name, known)
            found[name] = f"did you mean {near}?" if near else "no such parameter"
    return found


def descriptor(parameter: Parameter) -> Any:
    """Return the rcl_interfaces/ParameterDescriptor of a parameter."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    message = ParameterDescriptor(description=parameter.description)
    if parameter.choices:
        message.additional_constraints = _one_of(parameter)
    elif parameter.reloads:
        message.additional_constraints = "may change while the node is unconfigured or inactive"
    elif not parameter.live:
        message.additional_constraints = "may change only while the node is unconfigured"
    if parameter.low is not None and parameter.high is not None:
        low, high = parameter.low, parameter.high
        if isinstance(parameter.default, float):
            message.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        else:
            message.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    return message


__all__ = [
    "IMAGES",
    "MODALITY_PARAMETERS",
    "PARAMETERS",
    "TRIGGERS",
    "Parameter",
    "When",
    "check",
    "conversion_options",
    "declare",
    "default_topic",
    "descriptor",
    "fusion_rule",
    "message_converter",
    "of_modality",
    "table",
]
