"""A bundle that carries its robot's declaration starts the node alone; a parameter wins over it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PointStamped, Vector3Stamped
from in_process_node import InProcess
from node_harness import LATCHED, Client, ModelInfo, fused
from rclpy.qos import QoSProfile, ReliabilityPolicy
from smvae_msgs.msg import Setting

from smvae_core.model.config import ModelConfig
from smvae_core.model.export import export_bundle
from smvae_core.model.smvae import SMVAE
from smvae_core.preprocessing import Statistics
from smvae_core.robot import read_robot

pytestmark = pytest.mark.dds

ROBOT = """\
robot: two-{name}
sensors:
  tip:
    kind: vector
    channel: {{topic: /arm/tip, type: geometry_msgs/msg/PointStamped, qos: {{reliability: reliable, depth: 7}}}}
    select: [point]
    max_skew_s: {skew}
  wind: {{kind: vector, channel: {{topic: wind, type: geometry_msgs/msg/Vector3Stamped}}, select: [vector.x]}}
"""  # noqa: E501

Export = Callable[[str, float], Path]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Return what writes the bundle of a robot with a name and a skew."""

    def export(name: str, skew: float) -> Path:
        folder = tmp_path_factory.mktemp(name)
        (folder / "robot.yaml").write_text(ROBOT.format(name=name, skew=skew))
        robot = read_robot(folder / "robot.yaml")
        model = SMVAE(ModelConfig(modalities=robot.modalities, latent_dim=2, embedding_dim=8))
        unit = {
            m.name: Statistics(mean=(0.0,) * m.size, scale=(1.0,) * m.size)
            for m in robot.modalities
        }
        return export_bundle(model, unit, folder / "bundle", robot=robot)

    return export


class Robot:
    """Publishes both sensors until a latent fuses them."""

    def __init__(self, domain: int, tip: str) -> None:
        self.client = Client(domain, ())
        create = self.client.node.create_publisher
        self.tip = create(PointStamped, tip, QoSProfile(depth=7))
        self.wind = create(Vector3Stamped, "wind", 5)
        self.infos = self.client.listen(ModelInfo, "/smvae/model_info", LATCHED)
        self.reports = self.client.listen(DiagnosticArray, "/diagnostics", 10)

    def both_fused(self) -> bool:
        stamp = self.client.node.get_clock().now().to_msg()
        for publisher, message in ((self.tip, PointStamped()), (self.wind, Vector3Stamped())):
            message.header.stamp = stamp
            publisher.publish(message)
        self.client.spin(0.02)
        return any(fused(latent) == ("tip", "wind") for latent in self.client.latents)

    def told(self) -> dict[str, tuple[Any, int]]:
        info = self.client.until(lambda: self.infos)[-1]
        return {s.name: (json.loads(s.value), s.source) for s in info.settings}

    def diagnosed(self, name: str) -> dict[str, str]:
        def found() -> dict[str, str]:
            entries = [s for report in self.reports for s in report.status]
            return next(
                ({v.key: v.value for v in s.values} for s in entries if s.name.endswith(name)), {}
            )

        return self.client.until(found)


def test_a_bundle_alone_gives_topics_types_qos_and_settings(exported: Export, domain: int) -> None:
    with InProcess(domain, bundle=str(exported("alone", 0.07))) as node:
        robot = Robot(domain, "/arm/tip")
        try:
            robot.client.activate()
            robot.client.until(robot.both_fused)
            told = robot.told()
            assert told["modalities.tip.topic"] == ("/arm/tip", Setting.MANIFEST)
            assert told["modalities.tip.max_skew_s"] == (0.07, Setting.MANIFEST)
            assert told["modalities.tip.max_age_s"] == (0.0, Setting.DEFAULT)
            assert robot.infos[-1].robot == "two-alone"
            subscribed = node.get_subscriptions_info_by_topic("/arm/tip")[0].qos_profile
            assert subscribed.reliability == ReliabilityPolicy.RELIABLE
            found = robot.diagnosed("modality tip")
            assert found["settings_from"] == (
                "topic manifest, message_type manifest, max_skew_s manifest"
            )
            assert float(found["max_skew_s"]) == pytest.approx(0.07)
        finally:
            robot.client.close()


def test_a_parameter_wins_over_the_manifest(exported: Export, domain: int) -> None:
    given = {"modalities.tip.topic": "/other/tip", "modalities.tip.max_skew_s": 0.09}
    with InProcess(domain, bundle=str(exported("given", 0.07)), **given):
        robot = Robot(domain, "/other/tip")
        try:
            robot.client.activate()
            robot.client.until(robot.both_fused)
            told = robot.told()
            assert told["modalities.tip.topic"] == ("/other/tip", Setting.LAUNCH)
            assert told["modalities.tip.max_skew_s"] == (0.09, Setting.LAUNCH)
            assert told["modalities.wind.topic"] == ("wind", Setting.MANIFEST)
        finally:
            robot.client.close()


def test_another_bundle_brings_its_own_settings(exported: Export, domain: int) -> None:
    """What nobody gave follows the manifest; what somebody set stays."""
    from lifecycle_msgs.msg import Transition

    with InProcess(domain, bundle=str(exported("first", 0.07))):
        robot = Robot(domain, "/arm/tip")
        try:
            assert robot.client.change(Transition.TRANSITION_CONFIGURE)
            assert robot.told()["modalities.tip.max_skew_s"][0] == 0.07
            assert robot.client.set_parameter("modalities.wind.max_skew_s", 0.03).successful
            robot.infos.clear()
            assert robot.client.set_parameter("bundle", str(exported("second", 0.05))).successful
            told = robot.told()
            assert told["modalities.tip.max_skew_s"] == (0.05, Setting.MANIFEST)
            assert told["modalities.wind.max_skew_s"] == (0.03, Setting.CALL)
            value = robot.client.get_parameter("modalities.tip.max_skew_s")
            assert value.double_value == 0.05
        finally:
            robot.client.close()
