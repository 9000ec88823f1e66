"""Subscriptions: callbacks check the header, store the message, and return."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import qos_policy_name_from_kind
from sensor_msgs.msg import CameraInfo

from smvae_core.conversions import CONVERTERS, ConversionError, ConversionOptions, stamp_ns
from smvae_core.modality import Modality
from smvae_ros import qos
from smvae_ros.mailbox import Mailbox


def message_class(message_type: str) -> Any:
    """Return the class of a ROS type, e.g. of 'sensor_msgs/msg/Image'."""
    package, _, name = message_type.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), name)


def camera_info_topic(image_topic: str) -> str:
    """Return the sibling camera_info of an image topic, where image_transport puts it."""
    return "/".join([*image_topic.split("/")[:-1], "camera_info"])


class Inputs:
    """The subscriptions of one active period."""

    def __init__(
        self,
        node: Any,
        modalities: tuple[Modality, ...],
        mailbox: Mailbox,
        on_restart: Callable[[str], None],
    ) -> None:
        """Prepare; `open` subscribes.

        Args:
            node: The rclpy node.
            modalities: What the bundle knows.
            mailbox: Where messages go.
            on_restart: Called with a reason when stamps jump back.
        """
        self._node = node
        self._modalities = modalities
        self._mailbox = mailbox
        self._on_restart = on_restart
        self._subscriptions: list[Any] = []
        self._readings: dict[str, Any] = {}
        self.topics: dict[str, str] = {}
        self.frame_ids: dict[str, str] = {}
        self.camera_infos: dict[str, CameraInfo] = {}
        self.qos_mismatches: dict[str, str] = {}
        self.errors = 0
        self.max_future_s = 0.5

    def open(self, topics: Mapping[str, str]) -> None:
        """Subscribe to the topic of every modality, and to camera_info beside images."""
        for modality in self._modalities:
            name, topic = modality.name, topics[modality.name]
            converter = CONVERTERS[modality.kind]
            store = self._store_burst if modality.kind == "force_window" else self._store
            self._subscribe(
                name,
                message_class(converter.message_type),
                topic,
                partial(store, modality),
                qos.sensor(modality.kind),
            )
            self._readings[name] = self._subscriptions[-1]
            self.topics[name] = self._subscriptions[-1].topic_name
            if modality.is_image:
                keep = partial(self.camera_infos.__setitem__, name)
                self._subscribe(
                    name,
                    CameraInfo,
                    camera_info_topic(topic),
                    keep,
                    qos.sensor(modality.kind),
                )

    def close(self) -> None:
        """Unsubscribe; remembered frames and camera infos stay."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._readings.clear()
        self.qos_mismatches.clear()

    def publishers(self, name: str) -> int:
        """Return how many publishers a modality's topic has."""
        return int(self._node.count_publishers(self.topics[name])) if name in self.topics else 0

    def _subscribe(
        self,
        name: str,
        cls: Any,
        topic: str,
        callback: Callable[[Any], None],
        profile: Any,
    ) -> None:
        events = SubscriptionEventCallbacks(
            incompatible_qos=partial(self._incompatible, name, topic), use_default_callbacks=False
        )
        self._subscriptions.append(
            self._node.create_subscription(
                cls,
                topic,
                self._guarded(callback),
                profile,
                event_callbacks=events,
                qos_overriding_options=qos.overridable(),
            )
        )

    def _incompatible(self, name: str, topic: str, info: Any) -> None:
        policy = qos_policy_name_from_kind(info.last_policy_kind)
        self.qos_mismatches[name] = f"{topic}: a publisher offers an incompatible {policy}"
        self._node.get_logger().error(
            f"{self.qos_mismatches[name]}; see `ros2 topic info --verbose`, or set "
            f"qos_overrides.<topic>.subscription.*",
            throttle_duration_sec=5.0,
        )

    def _guarded(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """Keep an exception in one callback from ending the process; it is logged and counted."""

        def guarded(message: Any) -> None:
            try:
                callback(message)
            except Exception as err:
                self.errors += 1
                self._node.get_logger().error(
                    f"callback failed: {type(err).__name__}: {err}", throttle_duration_sec=5.0
                )

        return guarded

    def _store(self, modality: Modality, message: Any) -> None:
        """Check the header and leave the message in the mailbox.

        Force readings become arrays here (six numbers); images are decoded when they are used.
        """
        name = modality.name
        stamp = stamp_ns(message)
        reason = self._bad_stamp(stamp)
        value = message
        if not reason and modality.kind == "force_window":
            try:
                value = CONVERTERS[modality.kind].to_array(modality, message, ConversionOptions())
            except ConversionError as err:
                reason = err.reason
        if reason:
            self._mailbox.reject(name, stamp, reason)
            self._node.get_logger().warning(
                f"{name}: message rejected: {reason}", throttle_duration_sec=5.0
            )
            return
        if self._mailbox.restarted(name, stamp):
            self._on_restart(f"stamps of {name} jumped back")
        self.frame_ids[name] = message.header.frame_id
        self._mailbox.put(name, stamp, value)

    def _store_burst(self, modality: Modality, message: Any) -> None:
        """Store a reading, and at once those that wait behind it.

        The executor takes one message of each topic per turn: after a pause, the newest image would
        overtake a queue of readings of the time before it, and force would count as stale.
        """
        self._store(modality, message)
        subscription = self._readings[modality.name]
        with subscription.handle:
            while taken := subscription.handle.take_message(subscription.msg_type, False):
                self._store(modality, taken[0])

    def _bad_stamp(self, stamp: int) -> str:
        if stamp <= 0:
            return "zero stamp"
        now = self._node.get_clock().now().nanoseconds
        if now > 0 and stamp - now > self.max_future_s * 1e9:
            return "future stamp"
        return ""
