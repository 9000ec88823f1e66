"""The qualities of service of every topic, in one place (REP 2003)."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions


def sensor(depth: int) -> QoSProfile:
    """Best effort matches every publisher; `depth` messages are queued, see `Kind.queue_depth`."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
    )


def overridable() -> QoSOverridingOptions:
    """Let `qos_overrides.<topic>.subscription.*` change history, depth and reliability."""
    return QoSOverridingOptions.with_default_policies()


def output() -> QoSProfile:
    """Reliable, newest only: viewers and recorders match it untouched."""
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)


def latched() -> QoSProfile:
    """Reliable and kept for late joiners, who must ask for transient_local too."""
    return QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )
