"""The qualities of service of every topic, in one place (REP 2003)."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from smvae_core.robot import Qos

_RELIABILITY = {
    "": ReliabilityPolicy.BEST_EFFORT,
    "best_effort": ReliabilityPolicy.BEST_EFFORT,
    "reliable": ReliabilityPolicy.RELIABLE,
}


def sensor(depth: int, declared: Qos | None = None) -> QoSProfile:
    """Best effort matches every publisher; `depth` messages are queued, see `Kind.queue_depth`.

    Args:
        depth: Of the kind.
        declared: Of the robot that the bundle is of; wins where it says something.
    """
    declared = declared or Qos()
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=declared.depth or depth,
        reliability=_RELIABILITY[declared.reliability],
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
