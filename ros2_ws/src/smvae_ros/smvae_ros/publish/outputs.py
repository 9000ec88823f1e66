"""What the node says: the latent first, then what of estimates, timing, predictions is wanted."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rclpy.serialization import deserialize_message
from smvae_msgs.msg import LatentState, ModelInfo, Setting, Timing

from smvae_core.fusion.rules import ModalityStatus
from smvae_core.novelty.scorer import UNKNOWN
from smvae_core.runtime import Runtime
from smvae_ros import qos
from smvae_ros.infer.inference import Result
from smvae_ros.infer.scoring import Scoring
from smvae_ros.listen.inputs import Inputs
from smvae_ros.publish import messages
from smvae_ros.publish.estimated import Estimated
from smvae_ros.publish.latent_bytes import LatentWriter, Written
from smvae_ros.publish.predicted import Predicted
from smvae_ros.report.latencies import Latencies

#: Publishing takes microseconds; longer than this [s] nobody waits for another thread that does it.
_LONGEST_WAIT_S = 1.0


class Outputs:
    """The publishers of one loaded model."""

    def __init__(
        self,
        node: Any,
        runtime: Runtime,
        generation: int,
        epoch: int,
        settings: Sequence[Setting] = (),
        scoring: Scoring | None = None,
    ) -> None:
        """Create the publishers and latch the description of the model.

        Args:
            node: The rclpy lifecycle node.
            runtime: The loaded model; used by the inference thread alone once that runs.
            generation: Number of this model within the process.
            epoch: To begin with; what was made in an earlier one is not published.
            settings: Of the node, for the model's description.
            scoring: Who scores for latents that carry another's novelty; None = each has its own.

        Raises:
            Exception: What rclpy raises where a publisher cannot be had; then none is left behind.
        """
        self._node = node
        self._runtime = runtime
        self._scoring = scoring
        self.generation = generation
        self._lock = threading.Lock()
        self._epoch = epoch
        self._sequence = 0
        self.kinds = {m.name: m.kind for m in runtime.modalities}
        self._writer = LatentWriter(
            self.kinds,
            covariance=messages.covariance_form(runtime),
            novelty_error=messages.novelty_thresholds(runtime)[1],
        )
        self._writer.check()
        self.last_published_s = 0.0
        self._last = b""
        self._novelty = UNKNOWN
        self.not_finite = 0
        """Outputs of the model that were no numbers."""
        self._apart_s = math.nan
        self.latencies = Latencies()
        self._estimated = Estimated(node, runtime)
        self.predicted = Predicted(node, runtime)
        self._publishers: list[Any] = []
        try:
            self._create(settings)
        except BaseException:
            self.destroy()
            raise

    def _create(self, settings: Sequence[Setting]) -> None:
        """Create the publishers; those that `destroy` must remove are noted one by one."""
        create = self._node.create_lifecycle_publisher
        self._latent = create(LatentState, "~/latent", qos.output())
        self._publishers.append(self._latent)
        self._timing = create(Timing, "~/debug/timing", qos.output())
        self._publishers.append(self._timing)
        self._estimated.create()
        self.predicted.create()
        # A plain publisher: a lifecycle one would drop it, since it is latched before activation.
        model_info = self._node.create_publisher(ModelInfo, "~/model_info", qos.latched())
        self._publishers.append(model_info)
        stamp = self._node.get_clock().now().nanoseconds
        info = messages.model_info(self._runtime, self.generation, stamp, settings)
        model_info.publish(info)

    @property
    def last(self) -> LatentState | None:
        """Newest latent published, also one without a mean; None = none yet."""
        return deserialize_message(self._last, LatentState) if self._last else None

    @property
    def most_unusual(self) -> str:
        """What the novelty of the newest latent owes most to; '' = it has none."""
        return self._novelty.worst

    @property
    def stamp_to_published_s(self) -> float:
        """Of the newest latent: its publishing minus its stamp, system clock; see Timing.

        NaN in simulated time, which means nothing against the host's.
        """
        return math.nan if self._node.get_clock().ros_time_is_active else self._apart_s

    def destroy(self) -> None:
        """Remove all publishers from the node."""
        self._estimated.destroy()
        self.predicted.destroy()
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()

    def begin(self) -> None:
        """Start counting anew: an activation."""
        self.latencies = Latencies()
        self.not_finite = 0
        self._last = b""
        self._novelty, self._apart_s = UNKNOWN, math.nan

    def publish(
        self, result: Result, inputs: Inputs, found: Callable[[int], Mapping[str, ModalityStatus]]
    ) -> None:
        """Publish a result, then of estimates, timing, predictions what is wanted.

        In the inference thread.

        Args:
            result: One whose posterior is not finite is counted, and published as ERROR.
            inputs: Frames and camera_infos of the sensors.
            found: See `Mailbox.statuses`; what an ERROR shows instead of a fused set.
        """
        perceived, taken = result.perceived, result.taken
        observation, posterior = perceived.observation, perceived.posterior
        inferred_s = time.monotonic()
        if not perceived.finite:
            self.not_finite += 1
            log = self._node.get_logger()
            log.error("the model's output is not finite", throttle_duration_sec=5.0)
            self.publish_blind(LatentState.ERROR, taken.epoch, found)
            return
        novelty = perceived.novelty
        written = self._writer.latent(
            observation,
            posterior,
            score=perceived.score,
            memory_s=perceived.memory_s,
            ahead_s=perceived.ahead_s,
            inference_s=result.inference_s,
        )
        sent = self._send(written, taken.epoch, taken.arrival_s)
        if not sent:
            return
        if self._scoring is not None:
            self._scoring.go_on(perceived)
        self._novelty = novelty
        for name, status in observation.status.items():
            if status.suspect:
                inputs.suspected(name, status.reason)
        published_s, published_ns = time.monotonic(), time.time_ns()
        self.latencies.add(result.inference_s, published_s - taken.arrival_s)
        self._apart_s = (published_ns - observation.reference_ns) * 1e-9
        self._estimated.publish(perceived, sent)
        if self._timing.get_subscription_count() > 0:
            latent = deserialize_message(sent, LatentState)
            apart_s = self.stamp_to_published_s
            self._timing.publish(
                messages.timing(latent, taken, inferred_s, published_s, published_ns, apart_s)
            )
        self.predicted.publish(perceived, novelty.decoded, inputs)

    def publish_blind(
        self, status: int, epoch: int, found: Callable[[int], Mapping[str, ModalityStatus]]
    ) -> None:
        """Publish a LatentState without latent: NO_INPUT heartbeat or ERROR.

        Args:
            status: One of the two.
            epoch: In which it is true.
            found: See `Mailbox.statuses`.
        """
        self._novelty = UNKNOWN
        now_ns = self._node.get_clock().now().nanoseconds
        self._send(self._writer.blind(status, now_ns, found(now_ns)), epoch, None)

    def _send(self, written: Written, epoch: int, arrival_s: float | None) -> bytes:
        """Number and publish a message, and return it; nothing if it was made before a time jump.

        Nothing, too, where another thread hangs in here: whoever notices must not hang as well.
        """
        if not self._lock.acquire(timeout=_LONGEST_WAIT_S):
            return b""
        try:
            if epoch < self._epoch:
                return b""
            if epoch != self._epoch:
                self._epoch, self._sequence = epoch, 0
            now = time.monotonic()
            latency_s = now - arrival_s if arrival_s is not None else 0.0
            content = written.numbered(epoch, self._sequence, self.generation, latency_s)
            self._sequence += 1
            self._latent.publish(content)
            self.last_published_s = now
            self._last = content
        finally:
            self._lock.release()
        return content
