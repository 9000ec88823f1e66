"""Why a publisher on our topic is not heard: it sends another type, or its QoS cannot match."""

from __future__ import annotations

from typing import Any

from rclpy.qos import QoSCompatibility, qos_check_compatible

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


def mismatch(node: Any, subscription: Any) -> str:
    """Return why some publisher of a subscription's topic is not heard now; '' = all are.

    Nothing is adapted to it: a subscription that copied its peer's QoS would depend on who started
    first. It asks the graph, so that the answer changes when that publisher goes.
    """
    topic, expected = subscription.topic_name, type_name(subscription.msg_type)
    for publisher in node.get_publishers_info_by_topic(topic):
        who = f"{topic}: {publisher.node_name}"
        if publisher.topic_type != expected:
            return f"{who} publishes {publisher.topic_type}, expected {expected}"
        verdict, reason = qos_check_compatible(publisher.qos_profile, subscription.qos_profile)
        if verdict == QoSCompatibility.ERROR:
            detail = reason.strip().strip(";").removeprefix("ERROR: ")
            return f"{who} offers an incompatible {policy_of(reason)} ({detail})"
    return ""
