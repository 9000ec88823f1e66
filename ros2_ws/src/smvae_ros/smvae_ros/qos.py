"""The qualities of service of every topic, in one place (REP 2003)."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from smvae_core.modality import Kind

#: Messages kept per kind: an image queue only adds latency, readings make a window.
SENSOR_DEPTH: dict[Kind, int] = {"force_window": 50}


def sensor(kind: Kind) -> QoSProfile:
    """Best effort matches every publisher; depth 1 so that latency cannot pile up."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=SENSOR_DEPTH.get(kind, 1),
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
