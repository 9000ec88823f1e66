"""What the live node says became of the messages that it was sent."""

from __future__ import annotations

from collections import Counter

from diagnostic_msgs.msg import DiagnosticArray
from smvae_msgs.msg import LatentState

from benchmarks.reliability.damaged import Damaged
from benchmarks.reliability.observer import Heard
from benchmarks.reliability.sensors import NAMES
from smvae_core.fusion.rules import FusionState


class Ledger:
    """What the node says became of the messages of each modality, counted since activation."""

    def __init__(self) -> None:
        """Start empty."""
        self.sent: Counter[str] = Counter()
        self.seen: dict[str, tuple[int, int]] = dict.fromkeys(NAMES, (0, 0))
        """Received (good so far) and rejected."""
        self.reasons: dict[str, dict[str, int]] = {n: {} for n in NAMES}
        self.fused_ns: Counter[str] = Counter()
        self.errors = 0
        """Latents with status ERROR: a posterior that is not finite."""

    def latent(self, heard: Heard) -> None:
        """Note a latent's counts and the stamps that it was made from.

        ERROR is made from samples too: numbers as large as 1e38 are finite, their posterior is not.
        """
        self.errors += heard.message.status == LatentState.ERROR
        for status in heard.message.modalities:
            self._count(status.name, status.received, status.rejected)
            if status.state == FusionState.FUSED:
                self.fused_ns[status.name] = status.stamp.sec * 10**9 + status.stamp.nanosec

    def diagnostics(self, message: DiagnosticArray) -> None:
        """Note counts and reasons."""
        for entry in message.status:
            name = entry.name.rpartition(" ")[2]
            if ": modality " not in entry.name or name not in self.seen:
                continue
            values = {v.key: v.value for v in entry.values}
            self._count(name, int(values["received"]), int(values["rejected"]))
            self.reasons[name] = {
                k.removeprefix("rejected: "): int(v)
                for k, v in values.items()
                if k.startswith("rejected: ")
            }

    def _count(self, name: str, received: int, rejected: int) -> None:
        new = (received, rejected)
        if (sum(new), rejected) >= (sum(self.seen[name]), self.seen[name][1]):
            self.seen[name] = new

    def settled(self, message: Damaged, rejected_before: int, sent_ns: int) -> bool:
        """Return whether the node has said what became of the newest message of a modality.

        Args:
            message: It.
            rejected_before: The modality's rejected messages when it was sent.
            sent_ns: System clock when it was sent.
        """
        received, rejected = self.seen[message.name]
        if received + rejected < self.sent[message.name]:
            return False
        if rejected > rejected_before or message.name == "force":
            return True
        return self.fused_ns[message.name] >= (message.stamp_ns or sent_ns)
