"""What configure makes and cleanup drops: model, mailbox, inputs, inference thread, outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from smvae_msgs.msg import Setting

from smvae_core.runtime import Runtime
from smvae_core.settings import Settings, table
from smvae_ros.infer.inference import Inference
from smvae_ros.infer.scoring import Scoring
from smvae_ros.listen.inputs import Inputs
from smvae_ros.listen.listening import Listener
from smvae_ros.listen.mailbox import Mailbox
from smvae_ros.listen.readers import Readers, find_readers
from smvae_ros.parameters import sources as setting_sources
from smvae_ros.publish.outputs import Outputs


@dataclass(frozen=True)
class Session:
    """The parts of a configured node, wired."""

    generation: int
    """Number of this model within the process."""

    runtime: Runtime
    mailbox: Mailbox
    inputs: Inputs
    outputs: Outputs
    inference: Inference
    readers: Readers
    told: Callable[[Mapping[str, Any]], list[Setting]]
    """Values of all parameters -> each with where it came from."""

    @classmethod
    def make(
        cls,
        node: Any,
        runtime: Runtime,
        values: Mapping[str, Any],
        *,
        generation: int,
        epoch: int,
        restarted: Callable[[str, bool], None],
    ) -> Session:
        """Wire the parts around a loaded model; latches its description.

        Results go out through these outputs and no others: a thread that ends late says nothing
        through the session after it.

        Args:
            node: The rclpy node.
            runtime: Loaded and warm; see `loading.load`.
            values: Every parameter of the table.
            generation: Number of this model within the process.
            epoch: Of the model before it.
            restarted: Takes the reason when stamps jump back, and whether to tell of it.

        Raises:
            Exception: What rclpy raises where a publisher cannot be had; then none is left behind.
        """
        modalities = runtime.modalities
        settings = Settings.of(values, modalities)
        rules, pace, sources = settings.rules, settings.pace, settings.sources
        listener, images = Listener(node), Listener(node)
        mailbox = Mailbox(modalities, rules, pace, sources, epoch=epoch, bell=listener)
        declared = runtime.manifest.qos()
        inputs = Inputs(
            node,
            modalities,
            mailbox,
            listener,
            images,
            restarted,
            declared,
            lambda name, message: inference.embed_ahead(name, message),
        )
        readers = find_readers([source.converter for source in settings.sources.values()])
        known = table(modalities, runtime.manifest.parameters())
        given = setting_sources.given(node)
        told = partial(setting_sources.settings, known, given=given)
        scoring = Scoring(runtime)
        outputs = Outputs(node, runtime, generation, epoch, told(values), scoring)
        inference = Inference(
            runtime,
            mailbox,
            lambda result: outputs.publish(result, inputs, mailbox.statuses),
            inputs.rejected,
            images=images,
            scoring=scoring,
            implausible=inputs.implausible,
        )
        session = cls(generation, runtime, mailbox, inputs, outputs, inference, readers, told)
        try:
            session.apply(values)
        except BaseException:
            session.outputs.destroy()
            raise
        return session

    def apply(self, values: Mapping[str, Any]) -> None:
        """Hand the parameters that may change live to those who use them."""
        modalities = self.runtime.modalities
        settings = Settings.of(values, modalities)
        pace = settings.pace
        late_s = self.runtime.late_s(settings.memory_s)
        self.mailbox.configure(settings.rules, pace, settings.sources, late_s)
        self.inputs.configure(settings.sources)
        told = self.told(values)
        for modality in modalities:
            self.inputs.settings_from[modality.name] = setting_sources.in_words(told, modality.name)
        self.outputs.predicted.mode = values["publish_predicted"]
        self.outputs.predicted.sources = settings.sources
        self.inference.configure(
            settings.sources,
            pace.max_rate_hz,
            settings.memory_s,
            settings.predict_ahead_s,
            settings.suspicion,
        )
