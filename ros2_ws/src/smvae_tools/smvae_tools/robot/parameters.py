"""Parameters of the simulated robot: declared, described and checked in this one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter
from smvae_ros.topics import require_name

from smvae_core.errors import ConfigError, SMVAEError
from smvae_core.presets import VISION_TOUCH
from smvae_datasets.simulation.cell import Variation, variation_range

#: Switchable sensors, named after the first part of their topics.
SENSORS = tuple(modality.default_topic.partition("/")[0] for modality in VISION_TOUCH)
_PREFIX, _SUFFIX = "sensors.", ".enabled"


@dataclass(frozen=True, kw_only=True)
class RobotSettings:
    """What is fixed while the robot runs."""

    seed: int
    episode_steps: int
    variation: Variation
    wrench_period_ms: int
    command_topic: str
    """TwistStamped that the robot follows; empty: its scripted operator moves it."""
    command_timeout_s: float


def _whole(name: str, default: int, low: int, high: int, text: str) -> tuple[str, int, object]:
    span = [IntegerRange(from_value=low, to_value=high, step=1)]
    return (
        name,
        default,
        ParameterDescriptor(description=text, read_only=True, integer_range=span),
    )


def declare(node: Node) -> RobotSettings:
    """Declare all parameters on the node and return the settings that stay fixed.

    Raises:
        ConfigError: If a value given at start is outside its range or not one of its choices.
    """
    table = [
        _whole("seed", 1000, 0, 2**31 - 1, "With the episode's number it fixes all that happens"),
        _whole("episode_steps", 250, 1, 10_000, "Steps of 50 ms; then a new cell and a new start"),
        _whole("wrench_rate_hz", 500, 20, 1000, "Force readings per second; must divide 1000"),
        (
            "variation",
            "cell",
            ParameterDescriptor(
                description="'cell': one lab cell; 'wide': everything varies more", read_only=True
            ),
        ),
        (
            "command_topic",
            "",
            ParameterDescriptor(
                description="TwistStamped in base_link to follow; empty: the scripted operator",
                read_only=True,
            ),
        ),
        (
            "command_timeout_s",
            0.25,
            ParameterDescriptor(
                description="Without a command for this long the robot holds still",
                read_only=True,
                floating_point_range=[FloatingPointRange(from_value=0.05, to_value=10.0)],
            ),
        ),
    ]
    try:
        for name, default, descriptor in table:
            node.declare_parameter(name, default, descriptor)
        for sensor in SENSORS:
            text = f"Publish {sensor}; takes effect at once, to play a sensor that dies and returns"
            node.declare_parameter(
                f"{_PREFIX}{sensor}{_SUFFIX}", True, ParameterDescriptor(description=text)
            )
    except Exception as err:  # rclpy's own classes, which differ between releases
        raise ConfigError(f"parameter refused: {err}") from err
    values = {name: node.get_parameter(name).value for name, *_ in table}
    rate = values.pop("wrench_rate_hz")
    if 1000 % rate:
        raise ConfigError(f"wrench_rate_hz must divide 1000, got {rate}")
    for name, demand in (("variation", variation_range), ("command_topic", require_name)):
        _demand(name, demand, values[name])
    return RobotSettings(wrench_period_ms=1000 // rate, **values)


def _demand(name: str, demand: Callable[[str], object], value: str) -> None:
    try:
        demand(value)
    except SMVAEError as err:
        raise ConfigError(f"parameter {name}: {err}") from err


def sensor_switches(parameters: Iterable[Parameter]) -> dict[str, bool]:
    """Return the sensors that these parameters switch, and to what."""
    found = {}
    for parameter in parameters:
        sensor = parameter.name[len(_PREFIX) : -len(_SUFFIX)]
        if parameter.name == f"{_PREFIX}{sensor}{_SUFFIX}" and sensor in SENSORS:
            found[sensor] = bool(parameter.value)
    return found


def accepted() -> SetParametersResult:
    """Return the answer to a change that is allowed; rclpy has checked ranges and types."""
    return SetParametersResult(successful=True)
