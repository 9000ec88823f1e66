"""Thousands of damaged messages through one live node: each is fused or rejected with its reason.

Publishers and the node's subscriptions are reliable here (`qos_overrides`), and the next messages
are sent when the node has said what became of these, so that none can be lost or replaced unseen.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray

from benchmarks.messages.outcomes import OF_STAMPS, Disagreement
from benchmarks.messages.wire import message_class
from benchmarks.reliability.damaged import OPTIONS, ROUNDS, Source
from benchmarks.reliability.ledger import Ledger
from benchmarks.reliability.node import NodeProcess, random_domain
from benchmarks.reliability.observer import RELIABLE, Observer
from benchmarks.reliability.record import Promise, Result
from benchmarks.reliability.sensors import NAMES, TOPICS
from smvae_core.fusion.rules import OF_OTHERS
from smvae_core.messages import REASONS

#: Reasons of the node itself, beside those of the conversions.
OF_THE_NODE = (*OF_STAMPS, "stamp not increasing", "frame", OF_OTHERS, "value")
#: A message of which nothing is heard for this long is lost.
PATIENCE_S = 20.0
#: Between the stamps of the well-formed messages at the end.
READING_NS = 5_000_000


def settings() -> dict[str, Any]:
    """Return the node's parameters: every stored message is decoded, nothing grows too old."""
    modality = {"max_skew_s": 50.0, "max_age_s": 60.0}
    return (
        {f"modalities.{n}.{k}": v for n in NAMES for k, v in modality.items()}
        | {f"qos_overrides./{t}.subscription.reliability": "reliable" for t in TOPICS.values()}
        | {"modalities.action.joint_names": ",".join(OPTIONS.joint_names)}
        | {"max_rate_hz": 1000.0, "collect_timeout_s": 0.0, "diagnostics_period_s": 0.1}
    )


def measure(bundle: Path, folder: Path, damaged: int) -> Result:
    """Send so many damaged messages, and the well-formed ones between them."""
    domain, rng = random_domain(), np.random.default_rng(0)
    found = Found()
    parameters = {"bundle": bundle} | settings() | _types(ROUNDS[0])
    begun = time.monotonic()
    with (
        NodeProcess(domain, folder / "malformed.log", parameters) as node,
        Observer(domain) as observer,
    ):
        for index, types in enumerate(ROUNDS):
            for name, value in _types(types).items() if index else ():
                observer.set(name, value)
            observer.activate()
            wanted = damaged * (index + 1) // len(ROUNDS)
            Round(observer, types, rng, found).run(wanted)
            found.state = observer.state()
            observer.put_away()
        found.alive = node.alive
        found.exit_code = node.interrupt()
        found.errors = node.text().count("callback failed")
    return result(found, time.monotonic() - begun)


def _types(types: dict[str, str]) -> dict[str, str]:
    """Return the parameters of a round; a bundle's are declared when it is first configured."""
    return {f"modalities.{n}.message_type": t for n, t in types.items()}


class Found:
    """What became of all messages."""

    def __init__(self) -> None:
        """Start empty."""
        self.damaged = self.lost = self.errors = self.error_latents = 0
        self.sent: Counter[str] = Counter()
        """By modality and message type."""
        self.converted = 0
        self.reasons: Counter[str] = Counter()
        self.wrong: list[str] = []
        """Messages of which something else became than was due."""
        self.fusing = 0
        """Rounds after which well-formed messages of every sensor were fused."""
        self.alive, self.state, self.exit_code = False, "", -1


class Round:
    """One activation of the node with one message type per modality."""

    def __init__(
        self, observer: Observer, types: dict[str, str], rng: np.random.Generator, found: Found
    ) -> None:
        """Make publishers and listen to diagnostics."""
        self._observer, self._types, self._found = observer, types, found
        self._source, self._ledger = Source(types, rng), Ledger()
        self._classes = {n: message_class(t) for n, t in types.items()}
        self._expected: dict[str, Counter[str]] = {n: Counter() for n in NAMES}
        node = observer.node
        self._publishers = {
            n: node.create_publisher(self._classes[n], TOPICS[n], RELIABLE) for n in NAMES
        }
        self._board = node.create_subscription(
            DiagnosticArray, "/diagnostics", self._ledger.diagnostics, RELIABLE
        )

    def run(self, damaged: int) -> None:
        """Send until so many were damaged in all rounds, then see that all is still well."""
        observer, found = self._observer, self._found
        connected = self._publishers.values()
        observer.until(lambda: all(p.get_subscription_count() for p in connected), "the node")
        observer.latents.clear()
        while found.damaged < damaged and not found.lost:
            self._moment(time.time_ns(), well_formed=False)
        self._last_words()
        begun = time.time_ns()
        for n in range(40):  # a force window needs readings of its whole length, however slow this
            self._moment(begun + n * READING_NS, well_formed=True)
        observer.until(self._drain, "the node's answers", PATIENCE_S)
        last = self._fused
        found.fusing += last == NAMES
        found.error_latents += self._ledger.errors
        self._compare()
        for publisher in self._publishers.values():
            observer.node.destroy_publisher(publisher)
        observer.node.destroy_subscription(self._board)

    def _moment(self, stamp: int, *, well_formed: bool) -> None:
        """Send one message of each modality, and wait until the node has answered all.

        Stamps may run ahead of the clock, by which the node stamps a message without one.
        """
        ledger, found = self._ledger, self._found
        before = {n: ledger.seen[n][1] for n in NAMES}
        messages, sent_ns = [], time.time_ns()
        for name in NAMES:
            try:
                message = self._source.draw(name, stamp, well_formed=well_formed)
            except Disagreement as err:
                found.wrong.append(f"conversion: {err}")
                continue
            messages.append(message)
            self._publishers[name].publish(message.ros)
            self._source.sent(message)
            ledger.sent[name] += 1
            found.sent[f"{name} {self._types[name]}"] += 1
            found.damaged += message.damaged
            self._expected[name][message.expected] += 1

        def answered() -> bool:
            self._drain()
            return all(ledger.settled(m, before[m.name], sent_ns) for m in messages)

        if not self._observer.came_true(answered, PATIENCE_S):
            late = [m for m in messages if not ledger.settled(m, before[m.name], sent_ns)]
            found.lost += len(late)
            found.wrong += [f"no answer to {m}" for m in late]
            return
        for message in messages:
            rejected = ledger.seen[message.name][1] > before[message.name]
            found.converted += not rejected
            if rejected == (message.expected == "converted"):
                said = "rejected" if rejected else "converted"
                found.wrong.append(f"{said}, expected {message.expected}: {message}")

    _fused: tuple[str, ...] = ()

    def _drain(self) -> bool:
        """Take in the latents that came; return whether every message is counted."""
        while self._observer.latents:
            heard = self._observer.latents.popleft()
            self._ledger.latent(heard)
            if heard.message.valid:
                self._fused = heard.fused
        return all(sum(self._ledger.seen[n]) == self._ledger.sent[n] for n in NAMES)

    def _last_words(self) -> None:
        """Wait for diagnostics of all that was sent."""
        ledger = self._ledger

        def told() -> bool:
            self._drain()
            return all(sum(ledger.reasons[n].values()) == ledger.seen[n][1] for n in NAMES)

        self._observer.came_true(told, PATIENCE_S)

    def _compare(self) -> None:
        """Hold the node's reasons against those that the messages have."""
        self._last_words()
        for name in NAMES:
            counted = Counter(self._ledger.reasons[name])
            self._found.reasons.update(counted)
            due = Counter(self._expected[name])
            del due["converted"]
            if counted != due:
                self._found.wrong.append(f"{name}: rejected {counted}, expected {due}")


def result(found: Found, seconds: float) -> Result:
    """Judge what became of the messages."""
    sent, rejected = found.sent.total(), found.reasons.total()
    known = {*REASONS, *OF_THE_NODE}
    unknown = sum(n for reason, n in found.reasons.items() if reason not in known)
    ended = (not found.alive) + (found.state != "active") + (found.exit_code != 0)
    return Result(
        promises=(
            Promise(
                text="damaged messages of every type are sent to the live node",
                figure=found.damaged,
                limit=5000,
                unit="messages",
                at_least=True,
            ),
            Promise(
                text="none of them is lost: sent = converted + rejected",
                figure=abs(sent - found.converted - rejected) + found.lost,
                limit=0,
                unit="messages",
            ),
            Promise(
                text="none of them is rejected without a documented reason",
                figure=unknown,
                limit=0,
                unit="messages",
            ),
            Promise(
                text="none of them gets a wrong verdict: converted although it must be rejected, "
                "rejected although it has a meaning, or rejected for a reason that it does not "
                "have",
                figure=len(found.wrong),
                limit=0,
                unit="messages",
            ),
            Promise(
                text="the node neither ends nor leaves active, and no callback fails",
                figure=ended + found.errors,
                limit=0,
                unit="faults",
            ),
            Promise(
                text="afterwards well-formed messages of all four sensors are fused, for each set "
                "of message types",
                figure=found.fusing,
                limit=len(ROUNDS),
                unit=f"of {len(ROUNDS)}",
                at_least=True,
            ),
        ),
        done=f"One node got {sent} messages of every message type in {seconds:.0f} s, of which "
        f"{found.damaged} were damaged. It converted {found.converted}: well-formed ones, and "
        f"damaged ones that still have a meaning. It rejected {rejected}. Both sides were "
        "reliable, and each message was answered before the next was sent.",
        settings={"parameters": settings(), "message_types": list(ROUNDS), "seed": 0},
        raw={
            "sent": sent,
            "damaged": found.damaged,
            "converted": found.converted,
            "rejected": dict(found.reasons.most_common()),
            "by_type": dict(sorted(found.sent.items())),
            "wrong": found.wrong[:20],
            "callback_errors": found.errors,
            "latents_of_status_error": found.error_latents,
            "exit_code_of_sigint": found.exit_code,
            "seconds": seconds,
        },
    )
