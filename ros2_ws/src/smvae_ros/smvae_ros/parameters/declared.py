"""Declaring the node's parameters; their table is `smvae_core/settings.py`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from smvae_core.errors import ConfigError
from smvae_core.parameter import Parameter
from smvae_core.settings import WrongType, choices_text


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
            raise WrongType(parameter, str(err)) from err
        except InvalidParameterValueException as err:
            raise ConfigError(f"parameter {parameter.name}: {err}") from err


def descriptor(parameter: Parameter) -> Any:
    """Return the rcl_interfaces/ParameterDescriptor of a parameter."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    message = ParameterDescriptor(description=parameter.description)
    constraints = [choices_text(parameter)] if parameter.choices else []
    if parameter.reloads:
        constraints.append("may change while the node is unconfigured or inactive")
    elif not parameter.live:
        constraints.append("may change only while the node is unconfigured")
    message.additional_constraints = "; ".join(constraints)
    if parameter.low is not None and parameter.high is not None:
        low, high = parameter.low, parameter.high
        if isinstance(parameter.default, float):
            message.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        else:
            message.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    return message
