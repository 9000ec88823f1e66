"""What the model sees: decoded images with the stamp of their latent, only for those who look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image

from smvae_core.messages import ConversionOptions
from smvae_core.messages.base import set_header
from smvae_core.messages.image_data import fill
from smvae_core.modality import Modality
from smvae_core.perceiver import Perceived
from smvae_core.runtime import Runtime
from smvae_ros import depth_color, messages, qos
from smvae_ros.inputs import Inputs


@dataclass(frozen=True)
class _Publishers:
    """Of one image modality."""

    image: Any
    info: Any
    color: Any | None
    """Depth only."""

    def all(self) -> list[Any]:
        return [p for p in (self.image, self.info, self.color) if p is not None]


class PredictedImages:
    """`~/predicted/<modality>/{image,camera_info}`, and `color/image` beside a depth image."""

    def __init__(self, node: Any, runtime: Runtime) -> None:
        self._node = node
        self._runtime = runtime
        self.mode = "auto"
        """auto = those with a subscriber, always, or never."""
        self.color_limits_m: Mapping[str, tuple[float, float]] = {}
        """Near and far of the coloured image of each depth modality."""
        self._publishers: dict[str, _Publishers] = {}
        self._created: list[Any] = []

    def create(self) -> None:
        """Create the publishers; what fails half way is removed by `destroy`."""
        images = [m for m in self._runtime.modalities if m.is_image]
        self._publishers = {m.name: self._create(m) for m in images}

    def _create(self, modality: Modality) -> _Publishers:
        def create(message_type: Any, name: str) -> Any:
            topic = f"~/predicted/{modality.name}/{name}"
            publisher = self._node.create_lifecycle_publisher(message_type, topic, qos.output())
            self._created.append(publisher)
            return publisher

        depth = modality.family.shown_range(modality) is not None
        return _Publishers(
            create(Image, "image"),
            create(CameraInfo, "camera_info"),
            create(Image, "color/image") if depth else None,
        )

    def destroy(self) -> None:
        """Remove the publishers from the node."""
        for publisher in self._created:
            self._node.destroy_lifecycle_publisher(publisher)
        self._created.clear()
        self._publishers.clear()

    def publish(
        self, perceived: Perceived, decoded: Mapping[str, NDArray[np.float32]], inputs: Inputs
    ) -> None:
        """Decode and publish the images of a latent that somebody wants.

        Stamps are the latent's; frames are those of the modality's own camera.

        Args:
            perceived: The latent.
            decoded: What decoders gave for its mean already, by modality; see `NoveltyReport`.
            inputs: Frames and camera_infos.
        """
        stamp_ns, mean = perceived.observation.reference_ns, perceived.posterior.mean
        for name, publishers in self._publishers.items():
            wanted = [p for p in publishers.all() if self._wanted(p)]
            if not wanted:
                continue
            frame_id = inputs.frame_ids.get(name, "")
            if wanted == [publishers.info]:  # a size is known without decoding
                header = self._empty(stamp_ns, frame_id).header
                height, width = self._runtime.modality(name).shape[-2:]
            else:
                sample = self._runtime.reconstruct(name, mean, decoded.get(name))
                image = self._publish_images(name, publishers, wanted, sample, stamp_ns, frame_id)
                header, height, width = image.header, image.height, image.width
            camera = inputs.camera_infos.get(name)
            if camera is not None:
                publishers.info.publish(messages.rescaled(camera, height, width, header))

    def _wanted(self, publisher: Any) -> bool:
        if self.mode == "auto":
            return bool(publisher.get_subscription_count() > 0)
        return self.mode == "always"

    def _publish_images(
        self,
        name: str,
        publishers: _Publishers,
        wanted: list[Any],
        sample: NDArray[Any],
        stamp_ns: int,
        frame_id: str,
    ) -> Image:
        """Publish plain and coloured as wanted; return one of the messages."""
        modality = self._runtime.modality(name)
        message = self._empty(stamp_ns, frame_id)
        if publishers.image in wanted:
            options = ConversionOptions()
            message = modality.converter().fill(
                modality, message, sample, stamp_ns, frame_id, options
            )
            publishers.image.publish(message)
        if publishers.color is not None and publishers.color in wanted:
            message = self._colored(name, sample, stamp_ns, frame_id)
            publishers.color.publish(message)
        return message

    def _colored(
        self, name: str, depth_m: NDArray[np.float32], stamp_ns: int, frame_id: str
    ) -> Image:
        near_m, far_m = self.color_limits_m[name]
        message = self._empty(stamp_ns, frame_id)
        fill(message, depth_color.colored(depth_m, near_m, far_m), "rgb8")
        return message

    @staticmethod
    def _empty(stamp_ns: int, frame_id: str) -> Image:
        message = Image()
        set_header(message, stamp_ns, frame_id)
        return message
