"""What the model expects of each sensor when its latent answers for, only for those who look."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import ConfigError, SMVAEError
from smvae_core.fusion.source import Source
from smvae_core.kinds.base import PredictedTopic, Prediction
from smvae_core.modality import Modality
from smvae_core.perceiver import Perceived
from smvae_core.runtime import Runtime
from smvae_ros import qos
from smvae_ros.listen.inputs import Inputs
from smvae_ros.listen.message_types import message_class
from smvae_ros.report.rarely import Rarely
from smvae_ros.topics import predicted_name

#: Who listens is looked for so often [s]: a dozen topics per latent would cost as much as pooling.
LOOK_S = 0.05
#: What filling a message raises where the declared fields do not fit its type.
_UNFIT = (SMVAEError, AttributeError, AssertionError, LookupError, TypeError, ValueError)


class Predicted:
    """The topics `~/predicted/<modality>...`; which there are, and what they hold, kinds say."""

    def __init__(self, node: Any, runtime: Runtime) -> None:
        self._node = node
        self._runtime = runtime
        self.mode = "auto"
        """auto = those with a subscriber, always, or never."""
        self.sources: Mapping[str, Source] = {}
        """How the messages of each modality are read, so also how they are written."""
        self._publishers: list[tuple[Modality, list[tuple[PredictedTopic, Any]]]] = []
        self._wanted: list[tuple[Modality, list[tuple[PredictedTopic, Any]]]] = []
        self._looked_s = -math.inf
        self._rarely = Rarely()

    def create(self) -> None:
        """Create the publishers; what fails half way is removed by `destroy`."""
        for modality in self._runtime.modalities:
            created: list[tuple[PredictedTopic, Any]] = []
            self._publishers.append((modality, created))
            for topic in modality.family.predicted(modality):
                name = predicted_name(modality, topic)
                try:
                    cls = message_class(topic.message_type)
                except ConfigError as err:  # it is read from another type
                    self._node.get_logger().warning(f"{name} is not published: {err}")
                    continue
                publisher = self._node.create_lifecycle_publisher(cls, name, qos.output())
                created.append((topic, publisher))

    def destroy(self) -> None:
        """Remove the publishers from the node."""
        for _, created in self._publishers:
            for _, publisher in created:
                self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()
        self._wanted.clear()

    def publish(
        self, perceived: Perceived, decoded: Mapping[str, NDArray[np.float32]], inputs: Inputs
    ) -> None:
        """Decode and publish the predictions of a latent that somebody wants.

        Stamps are the times that it answers for; frames are those of the sensor's own messages.

        Args:
            perceived: The latent.
            decoded: What decoders gave for its mean already, by modality; see `NoveltyReport`.
            inputs: Frames and camera_infos.
        """
        if self.mode == "never":
            return
        mean, now_s = perceived.posterior.mean, time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s, self._wanted = now_s, self._find_wanted()
        for modality, wanted in self._wanted:
            name = modality.name
            prediction = Prediction(
                decode=cache(partial(self._runtime.reconstruct, name, mean, decoded.get(name))),
                stamp_ns=perceived.answers_ns,
                frame_id=inputs.frame_ids.get(name, ""),
                options=self.sources[name].options,
                camera_info=inputs.camera_infos.get(name),
            )
            for topic, publisher in wanted:
                self._publish(modality, topic, publisher, prediction)

    def _find_wanted(self) -> list[tuple[Modality, list[tuple[PredictedTopic, Any]]]]:
        """Return of each modality what somebody listens to."""
        found = []
        for modality, created in self._publishers:
            if wanted := [each for each in created if self._is_wanted(each[1])]:
                found.append((modality, wanted))
        return found

    def _is_wanted(self, publisher: Any) -> bool:
        if self.mode == "auto":
            return bool(publisher.get_subscription_count() > 0)
        return self.mode == "always"

    def _publish(
        self, modality: Modality, topic: PredictedTopic, publisher: Any, prediction: Prediction
    ) -> None:
        try:
            message = topic.fill(modality, publisher.msg_type(), prediction)
        except _UNFIT as err:  # the latent is good; what cannot be said of it is told
            name = predicted_name(modality, topic)
            if self._rarely(name):
                self._node.get_logger().error(
                    f"{name}: a prediction cannot be put into {topic.message_type}: "
                    f"{type(err).__name__}: {err}"
                )
            return
        if message is not None:
            publisher.publish(message)
