"""Why a publisher on our topic is not heard: it sends another type, or its QoS cannot match."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rclpy.qos import QoSCompatibility, qos_check_compatible

from smvae_core.errors import ConfigError

#: What rclpy's explanations of an incompatible pair say, and the policy they mean.
_POLICIES = (
    ("best effort", "RELIABILITY"),
    ("reliab", "RELIABILITY"),
    ("volatile", "DURABILITY"),
    ("deadline", "DEADLINE"),
    ("livel", "LIVELINESS"),
)


def type_name(cls: Any) -> str:
    """Return the ROS type of a message class, e.g. 'sensor_msgs/msg/Image'."""
    return f"{cls.__module__.partition('.')[0]}/msg/{cls.__name__}"


def policy_of(reason: str) -> str:
    """Return the name of the policy that rclpy's explanation is about."""
    text = reason.lower()
    return next((policy for word, policy in _POLICIES if word in text), "QoS")


def refuse_second_type(node: Any, name: str, topic: str, cls: Any) -> None:
    """Refuse a topic that this node itself has with another type: a process has one for each.

    Args:
        node: The rclpy node.
        name: Of the sensor that the topic is for.
        topic: Its full name.
        cls: Class of the messages that are expected there.

    Raises:
        ConfigError: If there is one. The middleware would say "invalid allocator".
    """
    for own in (*node.publishers, *node.subscriptions):
        if own.topic_name == topic and own.msg_type is not cls:
            raise ConfigError(
                f"{name} cannot be read from {topic} as {type_name(cls)}: this node itself has "
                f"that topic as {type_name(own.msg_type)}; give the sensor its own topic"
            )


def wrong_type(subscription: Any, publishers: Sequence[Any]) -> str:
    """Return which publisher of a subscription's topic sends another type; '' = none does."""
    return next(filter(None, (_wrong_type(subscription, each) for each in publishers)), "")


def mismatch(subscription: Any, publishers: Sequence[Any]) -> str:
    """Return why some publisher of a subscription's topic is not heard now; '' = all are.

    Nothing is adapted to it: a subscription that copied its peer's QoS would depend on who started
    first.

    Args:
        subscription: Of ours.
        publishers: What the graph says of its topic now, so that one that went is not among them.
    """
    topic = subscription.topic_name
    for publisher in publishers:
        if text := _wrong_type(subscription, publisher):
            return text
        verdict, reason = qos_check_compatible(publisher.qos_profile, subscription.qos_profile)
        if verdict == QoSCompatibility.ERROR:
            detail = reason.strip().strip(";").removeprefix("ERROR: ")
            return (
                f"{topic}: {publisher.node_name} offers an incompatible {policy_of(reason)} "
                f"({detail})"
            )
    return ""


def _wrong_type(subscription: Any, publisher: Any) -> str:
    expected = type_name(subscription.msg_type)
    if publisher.topic_type == expected:
        return ""
    who = f"{subscription.topic_name}: {publisher.node_name}"
    return f"{who} publishes {publisher.topic_type}, expected {expected}"
