"""Classes of message types by name."""

from __future__ import annotations

import importlib
from typing import Any

from smvae_core.errors import ConfigError, did_you_mean


def message_class(message_type: str, given_as: str = "") -> Any:
    """Return the class of a ROS type, e.g. of 'sensor_msgs/msg/Image'.

    Args:
        message_type: Its name.
        given_as: What names it, for errors.

    Raises:
        ConfigError: If it is no name of a type, or no such type is installed here.
    """
    where = f"{given_as}: " if given_as else ""
    parts = message_type.split("/")
    if len(parts) != 3 or not all(part.isidentifier() for part in parts):
        raise ConfigError(
            f"{where}'{message_type}' is no message type, such as sensor_msgs/msg/Image"
        )
    package, folder, name = parts
    try:
        found = importlib.import_module(f"{package}.{folder}")
    except ImportError as err:
        raise ConfigError(
            f"{where}{message_type} needs package {package}, which this process cannot load "
            f"({err}): install it or source its workspace, and start the node again; or choose a "
            "type that is installed"
        ) from err
    if not hasattr(found, name):
        near = did_you_mean(name, [n for n in vars(found) if n[:1].isupper()])
        raise ConfigError(f"{where}{message_type}: package {package} has no message {name}.{near}")
    return getattr(found, name)
