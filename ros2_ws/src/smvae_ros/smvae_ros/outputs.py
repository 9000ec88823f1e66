"""Publishers: the latent first, then images that somebody wants."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, Image
from smvae_msgs.msg import LatentState, ModelInfo

from smvae_core.conversions import CONVERTERS, ConversionOptions
from smvae_core.runtime import Runtime
from smvae_ros import messages, qos
from smvae_ros.inference import Result
from smvae_ros.inputs import Inputs


class Outputs:
    """The publishers of one configured period."""

    def __init__(self, node: Any, runtime: Runtime, generation: int) -> None:
        self._node = node
        self._runtime = runtime
        self._generation = generation
        self._lock = threading.Lock()
        self._epoch = -1
        self._sequence = 0
        self.kinds = {m.name: m.kind for m in runtime.modalities}
        self.last_published_s = 0.0
        self.predicted = "auto"
        self.not_finite = 0
        create = node.create_lifecycle_publisher
        self._latent = create(LatentState, "~/latent", qos.output())
        self._images: dict[str, tuple[Any, Any]] = {}
        for modality in runtime.modalities:
            if modality.is_image:
                topic = f"~/predicted/{modality.name}"
                self._images[modality.name] = (
                    create(Image, f"{topic}/image", qos.output()),
                    create(CameraInfo, f"{topic}/camera_info", qos.output()),
                )
        # A plain publisher: a lifecycle one would drop it, since it is latched before activation.
        self._model_info = node.create_publisher(ModelInfo, "~/model_info", qos.latched())
        stamp = node.get_clock().now().nanoseconds
        self._model_info.publish(messages.model_info(runtime, generation, stamp))

    def destroy(self) -> None:
        """Remove all publishers from the node."""
        for image, info in self._images.values():
            self._node.destroy_lifecycle_publisher(image)
            self._node.destroy_lifecycle_publisher(info)
        self._node.destroy_lifecycle_publisher(self._latent)
        self._node.destroy_publisher(self._model_info)

    def publish(self, result: Result, inputs: Inputs) -> float:
        """Publish a result, then the images that are wanted.

        Returns:
            Arrival of the triggering message to publishing [s]; NaN if nothing was published.
        """
        posterior = result.posterior
        finite = bool(np.isfinite(posterior.mean).all() and np.isfinite(posterior.variance).all())
        if not finite:
            self.not_finite += 1
            status = messages.statuses(result.observation, self.kinds)
            reference = result.observation.reference_ns
            self._send(
                messages.blind(LatentState.ERROR, reference, status), result.taken.epoch, None
            )
            return float("nan")
        message = messages.latent(result.observation, posterior, self.kinds)
        message.inference_time = messages.to_duration(result.inference_s)
        latency_s = self._send(message, result.taken.epoch, result.taken.arrival_s)
        self._publish_images(result, inputs)
        return latency_s

    def publish_blind(self, status: int, epoch: int, modalities: list[Any]) -> None:
        """Publish a LatentState without latent: NO_INPUT heartbeat or ERROR."""
        now = self._node.get_clock().now().nanoseconds
        self._send(messages.blind(status, now, modalities), epoch, None)

    def _send(self, message: LatentState, epoch: int, arrival_s: float | None) -> float:
        with self._lock:
            if epoch < self._epoch:  # made before a time jump that was answered meanwhile
                return float("nan")
            if epoch != self._epoch:
                self._epoch, self._sequence = epoch, 0
            message.epoch = epoch
            message.sequence = self._sequence
            message.model_generation = self._generation
            self._sequence += 1
            now = time.monotonic()
            latency_s = now - arrival_s if arrival_s is not None else 0.0
            message.node_latency = messages.to_duration(latency_s)
            self._latent.publish(message)
            self.last_published_s = now
        return latency_s

    def _publish_images(self, result: Result, inputs: Inputs) -> None:
        if self.predicted == "never":
            return
        for name, (publisher, info_publisher) in self._images.items():
            wanted = self.predicted == "always" or publisher.get_subscription_count() > 0
            if not wanted:
                continue
            modality = self._runtime.modality(name)
            image = CONVERTERS[modality.kind].fill(
                modality,
                Image(),
                self._runtime.reconstruct(name, result.posterior.mean),
                result.observation.reference_ns,
                inputs.frame_ids.get(name, ""),
                ConversionOptions(),
            )
            publisher.publish(image)
            camera = inputs.camera_infos.get(name)
            if camera is not None:
                info_publisher.publish(
                    messages.rescaled(camera, image.height, image.width, image.header)
                )
