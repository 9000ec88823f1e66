"""What a latent says of the model's targets, on `~/estimates`, only for those who listen."""

from __future__ import annotations

from typing import Any

from rclpy.serialization import deserialize_message
from smvae_msgs.msg import Estimates, LatentState

from smvae_core.errors import BundleError
from smvae_core.estimates import unknown
from smvae_core.perceiver import Perceived
from smvae_core.runtime import Runtime
from smvae_ros import qos
from smvae_ros.publish import messages


class Estimated:
    """The topic `~/estimates` of a bundle that has estimates; of another there is none."""

    def __init__(self, node: Any, runtime: Runtime) -> None:
        self._node = node
        self._runtime = runtime
        self._publisher: Any = None

    def create(self) -> None:
        """Create the publisher; warn where the model has targets that nobody calibrated."""
        if self._runtime.estimates is not None:
            create = self._node.create_lifecycle_publisher
            self._publisher = create(Estimates, "~/estimates", qos.output())
        elif self._runtime.manifest.targets:
            try:
                self._runtime.bundle.estimate_calibration()
            except BundleError as err:
                self._node.get_logger().warning(f"~/estimates is not published: {err}")

    def destroy(self) -> None:
        """Remove the publisher from the node."""
        if self._publisher is not None:
            self._node.destroy_lifecycle_publisher(self._publisher)
            self._publisher = None

    def publish(self, perceived: Perceived, sent: bytes) -> None:
        """Publish what a latent says, if somebody listens; else nothing is computed.

        Args:
            perceived: The latent.
            sent: The LatentState as it was published.
        """
        estimates = self._runtime.estimates
        if estimates is None or not self._publisher.get_subscription_count():
            return
        latent = deserialize_message(sent, LatentState)
        if latent.status == LatentState.OUT_OF_DISTRIBUTION:
            limit = messages.novelty_thresholds(self._runtime)[1]
            reason = f"out of distribution: novelty {latent.novelty:.3g} is above {limit:.3g}"
            found = {target.name: unknown(target, reason) for target in estimates.targets}
        else:
            posterior = perceived.posterior
            found = estimates.apply(
                perceived.subset,
                posterior.mean,
                posterior.variance,
                remembering=perceived.remembering,
            )
        self._publisher.publish(messages.estimates(latent, estimates.targets, found))
