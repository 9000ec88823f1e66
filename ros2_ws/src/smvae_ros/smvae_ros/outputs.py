"""What the node says: the latent first, then its timing, then images that somebody wants."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np
from smvae_msgs.msg import LatentState, ModelInfo, Timing

from smvae_core.runtime import Runtime
from smvae_ros import messages, qos
from smvae_ros.inference import Result
from smvae_ros.inputs import Inputs
from smvae_ros.latencies import Latencies
from smvae_ros.predicted_images import PredictedImages


class Outputs:
    """The publishers of one loaded model."""

    def __init__(self, node: Any, runtime: Runtime, generation: int) -> None:
        """Create the publishers and latch the description of the model.

        Args:
            node: The rclpy lifecycle node.
            runtime: The loaded model; used by the inference thread alone once that runs.
            generation: Number of this model within the process.
        """
        self._node = node
        self._runtime = runtime
        self.generation = generation
        self._lock = threading.Lock()
        self._epoch = -1
        self._sequence = 0
        self.kinds = {m.name: m.kind for m in runtime.modalities}
        self.last_published_s = 0.0
        self.last: LatentState | None = None
        """Newest latent published, also one without a mean."""
        self.most_unusual = ""
        """What its novelty owes most to; '' = not calibrated."""
        self.not_finite = 0
        """Outputs of the model that were no numbers."""
        self.stamp_to_published_s = math.nan
        """Of the newest latent: its publishing minus its stamp, system clock; see Timing."""
        self.latencies = Latencies()
        self._latent = node.create_lifecycle_publisher(LatentState, "~/latent", qos.output())
        self._timing = node.create_lifecycle_publisher(Timing, "~/debug/timing", qos.output())
        self.images = PredictedImages(node, runtime)
        # A plain publisher: a lifecycle one would drop it, since it is latched before activation.
        self._model_info = node.create_publisher(ModelInfo, "~/model_info", qos.latched())
        stamp = node.get_clock().now().nanoseconds
        self._model_info.publish(messages.model_info(runtime, generation, stamp))

    def destroy(self) -> None:
        """Remove all publishers from the node."""
        self.images.destroy()
        self._node.destroy_lifecycle_publisher(self._timing)
        self._node.destroy_lifecycle_publisher(self._latent)
        self._node.destroy_publisher(self._model_info)

    def begin(self) -> None:
        """Start counting anew: an activation."""
        self.latencies = Latencies()
        self.not_finite = 0
        self.last = None

    def publish(self, result: Result, inputs: Inputs) -> float:
        """Publish a result, then its timing, then the images that are wanted (inference thread).

        Returns:
            Arrival of the triggering message to publishing [s]; NaN if nothing was published, or
            only that the model's output is not finite.
        """
        observation, posterior, taken = result.observation, result.posterior, result.taken
        inferred_s = time.monotonic()
        finite = bool(np.isfinite(posterior.mean).all() and np.isfinite(posterior.variance).all())
        if not finite:
            self.not_finite += 1
            status = messages.statuses(observation, self.kinds)
            message = messages.blind(LatentState.ERROR, observation.reference_ns, status)
            self._send(message, taken.epoch, None)
            return math.nan
        novelty = self._runtime.novelty_report(observation.subset, posterior)
        message = messages.latent(
            observation,
            posterior,
            self.kinds,
            novelty=novelty,
            novelty_error=messages.novelty_thresholds(self._runtime)[1],
        )
        message.inference_time = messages.to_duration(result.inference_s)
        if not self._send(message, taken.epoch, taken.arrival_s):
            return math.nan
        self.most_unusual = novelty.worst
        published_s, published_ns = time.monotonic(), time.time_ns()
        latency_s = published_s - taken.arrival_s
        self.latencies.add(result.inference_s, latency_s)
        self.stamp_to_published_s = (published_ns - observation.reference_ns) * 1e-9
        if self._timing.get_subscription_count() > 0:
            timing = messages.timing(message, taken, inferred_s, published_s, published_ns)
            if self._node.get_clock().ros_time_is_active:
                timing.stamp_to_published_s = math.nan
            self._timing.publish(timing)
        self.images.publish(result, inputs)
        return latency_s

    def publish_blind(self, status: int, epoch: int, modalities: list[Any]) -> None:
        """Publish a LatentState without latent: NO_INPUT heartbeat or ERROR."""
        now = self._node.get_clock().now().nanoseconds
        self._send(messages.blind(status, now, modalities), epoch, None)

    def _send(self, message: LatentState, epoch: int, arrival_s: float | None) -> bool:
        """Number and publish a message; return False if it was made before a time jump."""
        with self._lock:
            if epoch < self._epoch:
                return False
            if epoch != self._epoch:
                self._epoch, self._sequence = epoch, 0
            message.epoch = epoch
            message.sequence = self._sequence
            message.model_generation = self.generation
            self._sequence += 1
            now = time.monotonic()
            latency_s = now - arrival_s if arrival_s is not None else 0.0
            message.node_latency = messages.to_duration(latency_s)
            self._latent.publish(message)
            self.last_published_s = now
            self.last = message
        return True
