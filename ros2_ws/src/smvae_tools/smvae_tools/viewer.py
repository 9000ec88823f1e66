"""Shows live what a node sees: its sensors, latents and predictions, in rerun.

A process of its own beside the node: whatever it cannot keep up with is lost here alone. rerun has
a Python of its own, see docs/viewing.md. Predictions cost the node a decoder each.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from smvae_msgs.msg import LatentState, ModelInfo
from smvae_ros import qos, topics
from smvae_ros.lifecycle.process import status_of, until_stopped
from smvae_ros.listen.message_types import message_class
from smvae_ros.parameters.choices import choices
from smvae_ros.report.rarely import Rarely

from smvae_core.bundle import Bundle
from smvae_core.errors import ConfigError
from smvae_core.fusion.rules import FusionState
from smvae_core.fusion.source import REFUSALS, Source
from smvae_core.modality import Modality, find
from smvae_core.settings import Settings, complete, table
from smvae_core.view.glance import Glance, Latent, SensorGlance
from smvae_core.view.process import Viewer
from smvae_core.view.scene import Scene


class LiveViewer(Node):
    """Forwards what it hears, each message at its own stamp."""

    def __init__(
        self,
        bundle: Bundle,
        viewer: Viewer,
        *,
        node: str = "/smvae",
        chosen: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Subscribe to everything.

        Args:
            bundle: That the node runs.
            viewer: Draws.
            node: Full name of the node.
            chosen: Topic of a sensor by its name, where it is not the default.
            kwargs: For Node.
        """
        super().__init__("smvae_viewer", enable_rosout=False, **kwargs)
        manifest = bundle.manifest
        novelty = manifest.novelty
        limits = None if novelty is None else (novelty.warn, novelty.error)
        self._bundle, self._viewer = bundle, viewer
        self._chosen = {f"modalities.{n}.topic": t for n, t in (chosen or {}).items()}
        self._known = table(manifest.modalities, manifest.parameters())
        self._inputs: list[Any] = []
        self._rarely = Rarely(10.0)
        self._scene = Scene(node, manifest.modalities, thresholds=limits)
        self.shown = 0
        """Messages."""
        viewer.send(*self._scene.opening())
        self._place = node.rpartition("/")[::2]
        self._settings = self._settings_of({})
        self._listen(LatentState, "~/latent", self._latent, qos.output())
        self._listen(ModelInfo, "~/model_info", self._model, qos.latched())
        self._open()

    def _settings_of(self, given: Mapping[str, Any]) -> Settings:
        """Return what holds: the topics chosen here, what the node says, the declaration.

        Raises:
            ConfigError: If a value cannot be used.
        """
        values = complete(self._known, {**given, **self._chosen})
        return Settings.of(values, self._bundle.manifest.modalities)

    def _listen(
        self, kind: str | Any, topic: str, callback: Callable[[Any], None], quality: Any
    ) -> Any:
        kind = message_class(kind) if isinstance(kind, str) else kind
        full = topics.resolve(topic, *self._place)
        return self.create_subscription(kind, full, callback, quality)

    def _open(self) -> None:
        """Listen to every sensor and to what is predicted of it."""
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()
        declared = self._bundle.manifest.qos()
        for m in self._bundle.manifest.modalities:
            source, topic = self._settings.sources[m.name], self._settings.topics[m.name]
            offset_ns = round(self._settings.rules[m.name].stamp_offset_s * 1e9)
            take = self._taker(m, source, offset_ns, predicted=False)
            quality = qos.sensor(m.family.depth(source.converter), declared.get(m.name))
            kind = source.converter.message_type
            self._inputs.append(self._listen(kind, topic, take, quality))
            for found in m.family.predicted(m)[:1]:
                again = replace(source, converter=m.converter(found.message_type))
                take = self._taker(m, again, 0, predicted=True)
                place = topics.predicted_name(m, found)
                self._inputs.append(self._listen(found.message_type, place, take, qos.sensor(1)))

    def _show(self, glance: Glance) -> None:
        self.shown += 1
        for frame in self._scene.frames(glance):
            self._viewer.send(*frame)

    def _taker(
        self, modality: Modality, source: Source, offset_ns: int, *, predicted: bool
    ) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            try:
                sample = source.read(modality, message)
            except REFUSALS as err:
                if self._rarely(modality.name):
                    self.get_logger().warning(f"not shown: {err}")
                return
            header = getattr(message, "header", None)
            stamp = self.get_clock().now().nanoseconds if header is None else _ns(header.stamp)
            stamp -= offset_ns
            given = {modality.name: sample}
            if predicted:
                self._show(Glance(stamp_ns=stamp, predicted=given))
            else:
                self._show(Glance(stamp_ns=stamp, recorded=given))

        return take

    def _latent(self, message: Any) -> None:
        latent = None
        if message.valid:
            latent = Latent(
                mean=np.asarray(message.mean, np.float32),
                variance=np.asarray(message.variance, np.float32),
                kl=message.kl,
                novelty=message.novelty,
            )
        sensors = {
            m.name: SensorGlance(
                state=FusionState(m.state),
                age_s=_ns(m.age) * 1e-9 if _ns(m.stamp) else np.nan,
                reason=m.reason,
            )
            for m in message.modalities
        }
        stamp_ns = _ns(message.header.stamp)
        self._show(Glance(stamp_ns=stamp_ns, latent=latent, sensors=sensors))

    def _model(self, message: Any) -> None:
        if message.sha256 != self._bundle.sha256:
            self.get_logger().warning(
                f"the node runs bundle {message.sha256[:12]}, this is {self._bundle.sha256[:12]}: "
                "give both the same bundle"
            )
            return
        said = {str(s.name): json.loads(s.value) for s in message.settings}
        try:
            settings = self._settings_of(said)
        except ConfigError as err:
            self.get_logger().warning(f"the node's settings are not followed: {err}")
            return
        if settings != self._settings:
            self._settings = settings
            self._open()


def _ns(time: Any) -> int:
    return int(time.sec) * 10**9 + int(time.nanosec)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line, without its ROS part."""
    parser = argparse.ArgumentParser(prog="viewer", description=__doc__)
    parser.add_argument("bundle", type=Path, help="folder of the bundle that the node runs")
    parser.add_argument("--save", type=Path, help="write an .rrd file instead of opening a window")
    parser.add_argument("--node", default="/smvae", help="full name of the perception node")
    parser.add_argument("--topics", default="", help="NAME=TOPIC,NAME=TOPIC, as at the launch")
    parser.add_argument("--viewer-python", type=Path, help="Python that has rerun")
    return parser.parse_args(rclpy.utilities.remove_ros_args([sys.argv[0], *arguments])[1:])


def show(options: argparse.Namespace, stop: threading.Event) -> int:
    """Show until `stop`; return the number of messages shown.

    Raises:
        ConfigError: If a window is asked for and there is no display, or a name is none.
        NoViewer: If no Python with rerun is found.
        SMVAEError: If the bundle cannot be used, or rerun fails.
    """
    if not options.save and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))):
        raise ConfigError("there is no display for rerun's window: write a file by --save FILE.rrd")
    bundle = Bundle.load(options.bundle)
    chosen = choices(options.topics, "topics")
    for name in chosen:
        find(bundle.manifest.modalities, name)
    for name in (options.node, *chosen.values()):
        topics.require_name(name)
    arguments = ["--save", options.save] if options.save else []
    with Viewer(arguments, python=options.viewer_python) as viewer:
        executor = SingleThreadedExecutor()
        node = LiveViewer(bundle, viewer, node=options.node, chosen=chosen)
        executor.add_node(node)
        try:
            while not stop.is_set():
                executor.spin_once(timeout_sec=0.1)
        finally:
            executor.shutdown()
            node.destroy_node()
    return node.shown


def main(args: list[str] | None = None) -> int:
    """Show until SIGINT or SIGTERM; 1 with a line when it cannot."""
    arguments = sys.argv[1:] if args is None else args

    def work() -> None:
        with until_stopped(arguments) as stop:
            print(f"{show(parse(arguments), stop)} messages shown", flush=True)

    return status_of("viewer", work)


if __name__ == "__main__":
    sys.exit(main())
