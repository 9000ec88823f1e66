"""Subscriptions: each message goes into the mailbox, in the thread that listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rclpy.qos import qos_policy_name_from_kind
from sensor_msgs.msg import CameraInfo

from smvae_core.errors import ConfigError, one_line
from smvae_core.fusion.rules import OF_OTHERS, UNREADABLE, none_used
from smvae_core.fusion.source import Source
from smvae_core.messages import has_stamp
from smvae_core.modality import Modality
from smvae_core.robot import Qos
from smvae_ros import qos
from smvae_ros.lifecycle.rclpy_versions import (
    TELLS_MATCHES,
    SubscriptionEventCallbacks,
    UnsupportedEventTypeError,
)
from smvae_ros.listen.listening import Listener
from smvae_ros.listen.mailbox import Mailbox
from smvae_ros.listen.matching import mismatch, refuse_second_type, type_name, wrong_type
from smvae_ros.listen.message_types import message_class
from smvae_ros.report.restarts import SPAN_S
from smvae_ros.report.topic_statistics import TopicStatistics
from smvae_ros.topics import camera_info_topic


class Inputs:
    """The subscriptions of one active period."""

    def __init__(
        self,
        node: Any,
        modalities: tuple[Modality, ...],
        mailbox: Mailbox,
        listener: Listener,
        images: Listener,
        on_restart: Callable[[str, bool], None],
        declared: Mapping[str, Qos] | None = None,
        embed_ahead: Callable[[str, Any], None] = lambda name, message: None,
    ) -> None:
        """Prepare; `configure` tells how to read messages, `open` subscribes.

        Args:
            node: The rclpy node.
            modalities: What the bundle knows.
            mailbox: Where messages go.
            listener: Whose thread takes them.
            images: The same of images, which cost more.
            on_restart: Called when the stamps of a topic began again, with a reason and whether
                that is news: it is not where they do so again and again.
            declared: Quality of service that a sensor is declared with.
            embed_ahead: Called with modality and message of each image before it is stored.
        """
        self._declared = declared or {}
        self._node = node
        self._modalities = modalities
        self._mailbox = mailbox
        self._listener, self._images = listener, images
        self._embed_ahead = embed_ahead
        self._on_restart = on_restart
        self._subscriptions: list[tuple[str, Any]] = []
        self._sources: dict[str, Source] = {}
        self.topics: dict[str, str] = {}
        self.frame_ids: dict[str, str] = {}
        self.settings_from: dict[str, str] = {}
        """Which settings of a sensor are not the node's defaults, and where each came from."""
        self.camera_infos: dict[str, CameraInfo] = {}
        self.statistics = {m.name: TopicStatistics() for m in modalities}
        self.errors = 0

    def configure(self, sources: Mapping[str, Source]) -> None:
        """Apply parameters: a changed message type counts at the next `open`."""
        self._sources = dict(sources)

    def open(self, topics: Mapping[str, str]) -> None:
        """Subscribe to the topic of every modality, and to camera_info beside images."""
        self.errors = 0
        for modality in self._modalities:
            name, topic = modality.name, topics[modality.name]
            converter = self._sources[name].converter
            depth = modality.family.depth(converter)
            profile = partial(qos.sensor, depth, self._declared.get(name))
            self.statistics[name] = TopicStatistics()
            cls = message_class(converter.message_type)
            listener = self._images if modality.is_image else self._listener
            store = partial(self._store_image if modality.is_image else self._store, modality)
            subscription = self._subscribe(
                name, cls, topic, store, profile(), self._matched, listener
            )
            self.topics[name] = subscription.topic_name
            if modality.is_image:
                keep = partial(self._keep_camera_info, name)
                self._subscribe(name, CameraInfo, self._camera_info(topic), keep, profile())

    def _camera_info(self, image_topic: str) -> str:
        """Return the topic beside the image's, also where that was remapped and this was not."""
        topic, resolve = camera_info_topic(image_topic), self._node.resolve_topic_name
        if resolve(topic) != resolve(topic, only_expand=True):
            return topic
        return camera_info_topic(resolve(image_topic))

    def close(self) -> None:
        """Unsubscribe; remembered frames and camera infos stay."""
        self._listener.clear()
        self._images.clear()
        for _, subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def publishers(self, name: str) -> int:
        """Return how many publishers a modality's topic has, also those that do not match."""
        return int(self._node.count_publishers(self.topics[name])) if name in self.topics else 0

    def rate_hz(self, name: str) -> float:
        """Return how many messages of a modality arrive per second on the steady clock."""
        return self.statistics[name].rate_hz(time.monotonic())

    def tell_mismatches(self) -> dict[str, str]:
        """Return which sensors have a publisher that is not heard now, and why.

        Log which topics have publishers of another message type, at most every 5 s each.
        """
        found: dict[str, str] = {}
        for name, subscription in self._subscriptions:
            publishers = self._node.get_publishers_info_by_topic(subscription.topic_name)
            if text := wrong_type(subscription, publishers):
                self._tell_error(name, "type", text)
            if text := mismatch(subscription, publishers):
                found.setdefault(name, text)
        return found

    def implausible(self, name: str, text: str) -> None:
        """Note what is odd about a valid sample ('' = nothing); called by the inference thread."""
        self.statistics[name].judged(text)
        if text:
            self._warn(name, "implausible", f"{name}: {text}")

    def rejected(self, name: str, text: str) -> None:
        """Tell of a message that was refused, and of a sensor all of whose messages are."""
        self._warn(name, "rejected", f"message rejected: {text}")
        statistics = self.statistics[name]
        if not statistics.used and statistics.rarely("none used"):
            lost = none_used(self._mailbox.observe().status[name], statistics.used)
            self._node.get_logger().warning(f"{name}: {lost}")

    def suspected(self, name: str, text: str) -> None:
        """Tell of a sensor that is suspect; called for each latent that says so."""
        self._warn(name, "suspect", f"{name}: {text}")

    def _subscribe(
        self,
        name: str,
        cls: Any,
        topic: str,
        callback: Callable[[Any, Mapping[str, Any]], None],
        profile: Any,
        matched: Callable[[str, Any], None] | None = None,
        listener: Listener | None = None,
    ) -> Any:
        # for complaints alone: a name that is remapped already would be remapped again
        resolved = self._node.resolve_topic_name(topic)
        refuse_second_type(self._node, name, resolved, cls)
        guarded = self._guarded(name, callback)
        create = partial(
            self._create,
            (name, resolved),
            msg_type=cls,
            topic=topic,
            callback=guarded,
            qos_profile=profile,
            callback_group=None if listener is None else listener.group,
            qos_overriding_options=qos.overridable(),
        )
        if matched is None or not TELLS_MATCHES:
            subscription = create()
        else:
            try:
                subscription = create(matched=self._guarded_event(name, matched))
                self._mailbox.set_publishers(name, 0)  # as many as `matched` will tell of
            except UnsupportedEventTypeError:  # then it is not known whether anybody publishes
                subscription = create()
        self._subscriptions.append((name, subscription))
        if listener is not None:
            listener.add(subscription, guarded, partial(self._unreadable, name, type_name(cls)))
        return subscription

    def _create(
        self,
        about: tuple[str, str],
        matched: Callable[[Any], None] | None = None,
        **options: Any,
    ) -> Any:
        """Create a subscription.

        Args:
            about: Sensor and full topic, for complaints.
            matched: Called when publishers come and go; None = nobody wants to know.
            options: For rclpy.

        Raises:
            ConfigError: If it cannot be had.
            UnsupportedEventTypeError: If the middleware does not tell of publishers.
        """
        name, topic = about
        events = SubscriptionEventCallbacks(
            incompatible_qos=self._guarded_event(name, partial(self._incompatible, topic)),
            use_default_callbacks=False,
            **({"matched": matched} if matched else {}),
        )
        try:
            return self._node.create_subscription(event_callbacks=events, **options)
        except UnsupportedEventTypeError:
            raise
        except Exception as err:  # rclpy's own classes, which differ between releases
            raise ConfigError(
                f"{name} cannot subscribe to {topic}; is a qos_overrides.{topic}.subscription "
                f"value wrong? {one_line(err)}"
            ) from err

    def _incompatible(self, topic: str, name: str, info: Any) -> None:
        policy = qos_policy_name_from_kind(info.last_policy_kind)
        self._tell_error(
            name,
            f"QoS of {topic}",
            f"{topic}: a publisher offers an incompatible {policy}; see `ros2 topic info --verbose "
            f"{topic}`, or set qos_overrides.{topic}.subscription.*",
        )

    def _matched(self, name: str, info: Any) -> None:
        self._mailbox.set_publishers(name, info.current_count)

    def _guarded(
        self, name: str, callback: Callable[[Any, Mapping[str, Any]], None]
    ) -> Callable[[Any, Mapping[str, Any]], None]:
        """Keep an exception in one callback from ending the process; it is logged and counted."""

        def guarded(message: Any, info: Mapping[str, Any]) -> None:
            try:
                callback(message, info)
            except Exception as err:
                self._failed(name, err)

        return guarded

    def _guarded_event(
        self, name: str, callback: Callable[[str, Any], None]
    ) -> Callable[[Any], None]:
        def guarded(info: Any) -> None:
            try:
                callback(name, info)
            except Exception as err:
                self._failed(name, err)

        return guarded

    def _failed(self, name: str, err: Exception) -> None:
        self.errors += 1
        self._tell_error(name, "failed", f"callback failed: {type(err).__name__}: {err}")

    def _keep_camera_info(self, name: str, message: CameraInfo, _: Mapping[str, Any]) -> None:
        self.camera_infos[name] = message

    def _store(self, modality: Modality, message: Any, info: Mapping[str, Any]) -> None:
        """Leave a message in the mailbox, whose engine says what becomes of it."""
        self.statistics[modality.name].arrived(time.monotonic(), info)
        self._receive(modality.name, message, self._node.get_clock().now().nanoseconds, info)

    def _store_image(self, modality: Modality, message: Any, info: Mapping[str, Any]) -> None:
        """Do so once it is embedded, unless everything was forgotten meanwhile."""
        name, arrived_s = modality.name, time.monotonic()
        self.statistics[name].arrived(arrived_s, info)
        now_ns, epoch = self._node.get_clock().now().nanoseconds, self._mailbox.epoch
        self._embed_ahead(name, message)
        if self._mailbox.epoch == epoch:
            self._receive(name, message, now_ns, info, arrived_s)

    def _unreadable(self, name: str, message_type: str, why: str) -> None:
        """Count a message that the middleware could not read, and tell of it."""
        text = (
            f"{name}: {UNREADABLE}: its bytes are no {message_type}: is its publisher built with "
            f"another definition of that type? {why}"
        ).rstrip()
        self._mailbox.reject(name, UNREADABLE, text)
        self.rejected(name, text)

    def _receive(
        self,
        name: str,
        message: Any,
        clock_ns: int,
        info: Mapping[str, Any],
        arrived_s: float | None = None,
    ) -> None:
        verdict = self._mailbox.receive(name, message, clock_ns, info, arrived_s)
        if verdict.restarted:
            self._restarted(name)
        if verdict.reason == OF_OTHERS:
            return  # no fault; counted in diagnostics
        if verdict.reason:
            self.rejected(name, verdict.text or f"{name}: {verdict.reason}")
        elif has_stamp(message):
            self.frame_ids[name] = message.header.frame_id

    def _restarted(self, name: str) -> None:
        """Tell of stamps that began again; where they do so all the time, why that may be."""
        times = self.statistics[name].restarts.often(time.monotonic())
        self._on_restart(f"stamps of {name} jumped back", not times)
        if times:
            self._warn(
                name,
                "restarts",
                f"{name}: its stamps jumped back {times} times in {SPAN_S:g} s, and each time all "
                f"samples were dropped: {self.topics[name]} has {self.publishers(name)} "
                "publisher(s); let one driver publish there, and each message once",
            )

    def _warn(self, name: str, what: str, text: str) -> None:
        if self.statistics[name].rarely(what):
            self._node.get_logger().warning(text)

    def _tell_error(self, name: str, what: str, text: str) -> None:
        """Log an error of one sensor; rclpy's throttle would hold back those of the others too."""
        if self.statistics[name].rarely(what):
            self._node.get_logger().error(f"{name}: {text}")
