"""What configure makes and cleanup drops: model, mailbox, inputs, inference thread, outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from smvae_core.bundle import Bundle
from smvae_core.fusion import FusionRule
from smvae_core.modality import Modality
from smvae_core.runtime import Runtime
from smvae_ros import parameters
from smvae_ros.inference import Inference, Result
from smvae_ros.inputs import Inputs
from smvae_ros.mailbox import Mailbox
from smvae_ros.outputs import Outputs


@dataclass(frozen=True)
class Session:
    """The parts of a configured node, wired."""

    runtime: Runtime
    mailbox: Mailbox
    inputs: Inputs
    outputs: Outputs
    inference: Inference

    @classmethod
    def make(
        cls,
        node: Any,
        bundle: Bundle,
        values: Mapping[str, Any],
        *,
        generation: int,
        deliver: Callable[[Result], None],
        rejected: Callable[[str, str], None],
        restarted: Callable[[str], None],
    ) -> Session:
        """Load the networks, run each once, and wire the parts.

        Args:
            node: The rclpy node.
            bundle: Verified.
            values: Every parameter of the table.
            generation: Number of this model within the process.
            deliver: Takes every result, in the inference thread.
            rejected: Takes modality and reason of a bad message, in the inference thread.
            restarted: Takes the reason when stamps jump back.

        Raises:
            SMVAEError: If the provider is missing or a graph cannot be loaded.
        """
        runtime = Runtime(
            bundle,
            provider=values["provider"],
            allow_cpu_fallback=values["allow_cpu_fallback"],
            threads=values["threads"],
        )
        runtime.warm_up()
        modalities = bundle.manifest.modalities
        mailbox = Mailbox(modalities, _rules(values, modalities), values["trigger"])
        session = cls(
            runtime,
            mailbox,
            Inputs(node, modalities, mailbox, restarted),
            Outputs(node, runtime, generation),
            Inference(runtime, mailbox, deliver, rejected),
        )
        session.apply(values)
        return session

    def apply(self, values: Mapping[str, Any]) -> None:
        """Hand the parameters that may change live to those who use them."""
        modalities = self.runtime.modalities
        self.mailbox.set_rules(_rules(values, modalities), values["trigger"])
        self.inputs.max_future_s = values["max_future_s"]
        self.outputs.predicted = values["publish_predicted"]
        self.inference.configure(
            {m.name: parameters.conversion_options(values, m) for m in modalities},
            max_rate_hz=values["max_rate_hz"],
            collect_timeout_s=values["collect_timeout_s"],
            on_grid=values["trigger"] == "timer",
        )


def _rules(values: Mapping[str, Any], modalities: tuple[Modality, ...]) -> dict[str, FusionRule]:
    return {m.name: parameters.fusion_rule(values, m) for m in modalities}
