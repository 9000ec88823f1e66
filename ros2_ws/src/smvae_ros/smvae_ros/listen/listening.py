"""A wait set of sensors alone: the thread that uses what they say waits for them itself.

rclpy's executor makes a wait set of all that a node has, anew for every message: of a lifecycle
node two dozen services, timers and events. For 1000 readings per second that costs more than the
network does, and who infers would then have to be woken besides. The executor keeps everything but
the sensors' subscriptions. Those have their events waited for here as well: with Fast DDS a message
that nobody took yet ends every wait for an event of its subscription.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.subscription import Subscription

from smvae_core.errors import one_line

#: What is called with a message and what the middleware tells beside it.
Callback = Callable[[Any, Mapping[str, Any]], None]
#: Publishers that come and go are looked for so often [s].
EVENTS_S = 0.1


class SensorGroup(ReentrantCallbackGroup):
    """Callback group of subscriptions that no executor serves."""

    def can_execute(self, entity: Any) -> bool:
        return False


class _Heard(NamedTuple):
    subscription: Subscription
    pointer: int
    callback: Callback
    unreadable: Callable[[str], None]
    events: tuple[Any, ...]
    """Handlers of its events."""


class Listener:
    """Waits for messages, and for a bell: see `smvae_ros.listen.mailbox.Bell`."""

    def __init__(self, node: Any) -> None:
        """Listen to nothing yet.

        Args:
            node: The rclpy node.
        """
        self.group = SensorGroup()
        self._context = node.context
        self._guard = GuardCondition(None, None, context=node.context)
        self._heard: tuple[_Heard, ...] = ()
        self._waits_for: tuple[_Heard, ...] | None = None
        self._wait_set: Any = None
        self._events: Any = None
        self._events_s = 0.0
        self._thread = 0

    def add(
        self, subscription: Subscription, callback: Callback, unreadable: Callable[[str], None]
    ) -> None:
        """Listen to a subscription of `group`.

        Args:
            subscription: Whose messages are taken.
            callback: Called with each, in the thread that waits.
            unreadable: Called in the same thread for a message that came and cannot be read, with
                what the middleware says of it; '' = nothing.
        """
        events: Any = subscription.event_handlers
        pointer = subscription.handle.pointer
        heard = _Heard(subscription, pointer, callback, unreadable, tuple(events))
        self._heard = (*self._heard, heard)
        self.ring()

    def clear(self) -> None:
        """Listen to nothing any more; what is being taken still comes."""
        self._heard = ()
        self.ring()

    def ring(self) -> None:
        """End the wait; the thread that waits has no need to be woken by itself."""
        if threading.get_ident() != self._thread:
            self._guard.trigger()

    def wait(self, timeout_s: float) -> None:
        """Wait for messages, and call back with all that came; always in the same thread."""
        self._thread = threading.get_ident()
        heard = self._heard
        if self._waits_for is not heard:
            self._make_wait_sets(heard)
        now_s = time.monotonic()
        if now_s >= self._events_s:
            self._events_s = now_s + EVENTS_S
            self._serve_events(heard)
        with _held([each.subscription.handle for each in heard]) as kept:
            wait_set = self._wait_set
            wait_set.clear_entities()
            for handle in kept:
                wait_set.add_subscription(handle)
            wait_set.add_guard_condition(self._guard.handle)
            wait_set.wait(round(min(max(timeout_s, 0.0), EVENTS_S) * 1e9))
            ready = wait_set.get_ready_entities("subscription")
            for each in heard if ready else ():
                if each.pointer in ready:
                    _take(each)

    def _make_wait_sets(self, heard: tuple[_Heard, ...]) -> None:
        events = sum(len(each.events) for each in heard)
        with self._context.handle:
            of = self._context.handle
            self._wait_set = _rclpy.WaitSet(len(heard), 1, 0, 0, 0, 0, of)
            self._events = _rclpy.WaitSet(0, 0, 0, 0, 0, events, of)
        self._waits_for, self._events_s = heard, 0.0

    def _serve_events(self, heard: tuple[_Heard, ...]) -> None:
        """Call back for the events of subscriptions that came since it was done last."""
        handlers = [handler for each in heard for handler in each.events]
        if not handlers:
            return
        with _held(handlers) as kept:
            self._events.clear_entities()
            for handler in kept:
                handler.add_to_wait_set(self._events)
            self._events.wait(0)
            for handler in kept:
                if handler.is_ready(self._events):
                    _run(handler.execute(handler.take_data()))


@contextmanager
def _held(handles: Iterable[Any]) -> Iterator[list[Any]]:
    """Keep what is used from being destroyed meanwhile; yield those that were not before."""
    kept = []
    try:
        for handle in handles:
            try:
                handle.__enter__()
            except InvalidHandle:
                continue
            kept.append(handle)
        yield kept
    finally:
        for handle in kept:
            handle.__exit__(None, None, None)


def _run(coroutine: Any) -> None:
    """Run a coroutine that awaits nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return


def _take(heard: _Heard) -> None:
    """Call back with the messages that wait, at most a queue of them.

    All at once, since after a pause the newest image would else overtake a queue of readings of the
    time before it, and force would count as stale.
    """
    handle, message_type = heard.subscription.handle, heard.subscription.msg_type
    for number in range(max(1, heard.subscription.qos_profile.depth)):
        try:
            taken = handle.take_message(message_type, False)
        except Exception as err:  # rclpy's own class of some middleware
            heard.unreadable(one_line(err))
            return
        if taken is None:
            if not number:  # one was there: Fast DDS drops what it cannot read
                heard.unreadable("")
            return
        heard.callback(*taken)
