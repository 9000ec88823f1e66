"""Plain messages of the corpus as those of rclpy."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def message_class(name: str) -> Any:
    """Return the class of a type, e.g. of 'sensor_msgs/msg/Image' or 'sensor_msgs/Image'."""
    package, _, cls = name.rpartition("/")
    return getattr(import_module(f"{package.split('/')[0]}.msg"), cls)


def to_ros(plain: Any, cls: Any) -> Any:
    """Return an rclpy message of a class with the fields of a plain object."""
    message = cls()
    types = cls.get_fields_and_field_types()
    for name, value in vars(plain).items():
        kind = types[name]
        inner = kind.removeprefix("sequence<").removesuffix(">")
        if isinstance(value, list) and "/" in inner:
            setattr(message, name, [to_ros(item, message_class(inner)) for item in value])
        elif "/" in kind:
            setattr(message, name, to_ros(value, message_class(kind)))
        else:
            setattr(message, name, value)
    return message
