"""A LatentState as the bytes that go out: sooner than a message is filled and converted.

A message for rclpy has an object per stamp and status, and is read field by field when it is
published; the bytes are one `struct` per modality. They are plain CDR, little-endian, as every
middleware of ROS 2 sends it. `check` compares them with the middleware's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from struct import Struct

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from smvae_msgs.msg import LatentState

from smvae_core.fusion.rules import FusionState, Observation
from smvae_core.fusion.rules import ModalityStatus as Status
from smvae_core.messages import time_fields
from smvae_core.novelty.renewed import Score
from smvae_core.runtime import Posterior
from smvae_ros.publish.messages import duration_fields

#: What stands before the message: CDR, little-endian. Alignment counts from behind it.
_CDR = b"\x00\x01\x00\x00"
#: Header (its frame is empty), epoch, sequence, valid, status, generation.
_HEAD = Struct("<4siII4xI4xQ?B2xI")
#: Of it what is known when the message is sent, and where that stands.
_NUMBER, _NUMBER_AT = Struct("<I4xQ"), 20
_GENERATION, _GENERATION_AT = Struct("<I"), 40
_COUNT = Struct("<I")
#: kl, novelty and how many modalities there are.
_SCORES = Struct("<ffI")
#: inference_time, node_latency, covariance, memory, predict_ahead, novelty_stamp.
_TAIL = Struct("<iIiIB3xiIiIiI")
#: Of it what is known when the message is sent, and where that stands.
_LATENCY, _LATENCY_AT = Struct("<iI"), 8
#: Of a status from `state` to `suspicion`, behind bytes that fill up to a multiple of four.
_STATUS = "B?{}xiIiIIIfIIiI?3xf"
_NO_REASON = b"\x01\x00\x00\x00\x00\x00\x00\x00"


class Written:
    """One message, whole but for what is known only when it is sent."""

    def __init__(self, content: bytearray, tail_at: int) -> None:
        """See `LatentWriter`."""
        self._content, self._tail_at = content, tail_at

    def numbered(self, epoch: int, sequence: int, generation: int, latency_s: float) -> bytes:
        """Return what goes out, with these values of the fields of their names [s]."""
        content = self._content
        _NUMBER.pack_into(content, _NUMBER_AT, epoch, sequence)
        _GENERATION.pack_into(content, _GENERATION_AT, generation)
        _LATENCY.pack_into(content, self._tail_at + _LATENCY_AT, *duration_fields(latency_s))
        return bytes(content)


class LatentWriter:
    """Writes latents of one model."""

    def __init__(
        self,
        kinds: Mapping[str, str],
        *,
        covariance: int = LatentState.DIAGONAL,
        novelty_error: float = math.nan,
    ) -> None:
        """Prepare.

        Args:
            kinds: Kind of each modality, in the model's order.
            covariance: What the variances are, see LatentState.
            novelty_error: Above it the status is OUT_OF_DISTRIBUTION; NaN = never.
        """
        self._covariance, self._novelty_error = covariance, novelty_error
        self._statuses: dict[str, tuple[Struct, bytes]] = {}
        for name, kind in kinds.items():
            names = _text(name) + _unfilled(kind)
            layout = f"<{len(names)}s" + _STATUS.format(-(len(names) + 2) % 4)
            self._statuses[name] = Struct(layout), names

    def latent(
        self,
        observation: Observation,
        posterior: Posterior,
        *,
        score: Score | None = None,
        memory_s: float = 0.0,
        ahead_s: float = 0.0,
        inference_s: float = 0.0,
    ) -> Written:
        """Write a valid latent.

        Args:
            observation: What it was made from.
            posterior: Finite.
            score: Its novelty; None = not available.
            memory_s: `memory`.
            ahead_s: `predict_ahead`.
            inference_s: `inference_time`.
        """
        status = LatentState.OK
        for each in observation.status.values():
            if each.state != FusionState.FUSED and each.state != FusionState.DISABLED:
                status = LatentState.DEGRADED
        novelty, nll, scored_ns = math.nan, {}, 0
        if score is not None:
            novelty, nll = score.report.score, score.report.nll
            scored_ns = 0 if math.isnan(novelty) else score.stamp_ns
        if novelty > self._novelty_error:  # never with NaN
            status = LatentState.OUT_OF_DISTRIBUTION
        content = self._begun(observation.reference_ns, True, status)
        for part in (posterior.mean, posterior.variance):
            content += _COUNT.pack(len(part))
            content += part.astype("<f4", copy=False).tobytes()
        content += _SCORES.pack(_float(posterior.kl), _float(novelty), len(self._statuses))
        self._write_statuses(content, observation.status, nll)
        tail = (
            *duration_fields(inference_s), 0, 0, self._covariance,
            *duration_fields(memory_s), *duration_fields(ahead_s), *time_fields(scored_ns),
        )  # fmt: skip
        return self._ended(content, tail)

    def blind(self, status: int, stamp_ns: int, found: Mapping[str, Status]) -> Written:
        """Write a message that carries no latent: NO_INPUT or ERROR.

        Args:
            status: One of the two.
            stamp_ns: The node's clock, which is also what `found` has its ages by.
            found: See `Mailbox.statuses`. Nothing entered a posterior that there is not: what could
                have been fused is shown as STALE.
        """
        unfused = {
            name: replace(s, state=FusionState.STALE, held=False, reason="no latent was made of it")
            if s.state == FusionState.FUSED
            else s
            for name, s in found.items()
        }
        content = self._begun(stamp_ns, False, status)
        content += 2 * _COUNT.pack(0)
        content += _SCORES.pack(math.nan, math.nan, len(self._statuses))
        self._write_statuses(content, unfused, {})
        return self._ended(content, (0, 0, 0, 0, LatentState.DIAGONAL, 0, 0, 0, 0, 0, 0))

    def check(self) -> None:
        """Have the installed middleware and messages read one, and compare what they make of it.

        Raises:
            RuntimeError: If they differ.
        """
        status = Status(
            state=FusionState.REJECTED, stamp_ns=1, age_s=-0.5, received=2, rejected=1,
            reject_reasons={}, period_s=None, max_skew_s=0.0, max_age_s=0.0, lag_s=0.0,
            reason="odd", further_ns=(1, 2),
        )  # fmt: skip
        found = dict.fromkeys(self._statuses, status)
        ours = self.blind(LatentState.NO_INPUT, 1, found).numbered(2, 3, 4, 5.0)
        try:
            read = deserialize_message(ours, LatentState)
            length = len(serialize_message(read))
        except Exception as err:  # rclpy raises errors of its own kind for each middleware
            raise RuntimeError(f"{_DIFFERS}: {err}") from err
        names, latency_s = [s.name for s in read.modalities], read.node_latency.sec
        if (length, names, latency_s) != (len(ours), list(self._statuses), 5):
            raise RuntimeError(_DIFFERS)

    @staticmethod
    def _begun(stamp_ns: int, valid: bool, status: int) -> bytearray:
        seconds, nanoseconds = time_fields(stamp_ns)
        return bytearray(_HEAD.pack(_CDR, seconds, nanoseconds, 1, 0, 0, valid, status, 0))

    @staticmethod
    def _ended(content: bytearray, tail: tuple[int, ...]) -> Written:
        tail_at = len(content)
        content += _TAIL.pack(*tail)
        return Written(content, tail_at)

    def _write_statuses(
        self, content: bytearray, found: Mapping[str, Status], nll: Mapping[str, float]
    ) -> None:
        for name, (layout, names) in self._statuses.items():
            status = found[name]
            fused = status.state == FusionState.FUSED
            content += layout.pack(
                names,
                status.state,
                status.held,
                *time_fields(status.stamp_ns),
                *duration_fields(status.age_s),
                _count(status.received),
                _count(status.rejected),
                _float(nll.get(name, math.nan)),
                _count(status.elements or fused),
                _count(status.folded),
                *time_fields(status.oldest_ns or (status.stamp_ns if fused else 0)),
                status.suspect,
                _float(status.suspicion),
            )
            content += _text(status.reason) if status.reason else _NO_REASON
            content += _COUNT.pack(len(status.further_ns))
            if status.further_ns:
                content += bytes((len(_CDR) - len(content)) % 8)
                content += np.array(status.further_ns, "<i8").tobytes()


_DIFFERS = (
    "the middleware does not write LatentState as this node does: build the workspace again "
    "(scripts/build_workspace.sh), or choose another RMW_IMPLEMENTATION"
)
_LARGEST = float(np.finfo(np.float32).max)


def _float(value: float) -> float:
    """Return a value that 32 bits hold: infinity instead of what is beyond."""
    return math.copysign(math.inf, value) if abs(value) > _LARGEST else value


def _count(number: int) -> int:
    """Return a count that 32 bits hold: readings at 1 kHz are more after 50 days."""
    return min(number, 2**32 - 1)


def _unfilled(text: str) -> bytes:
    content = text.encode("utf-8")
    return _COUNT.pack(len(content) + 1) + content + b"\0"


def _text(text: str) -> bytes:
    """Return a string, filled up to a multiple of four."""
    content = _unfilled(text)
    return content + bytes(-len(content) % 4)
