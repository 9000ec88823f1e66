"""The live viewer forwards what a node says, over real DDS, to a viewer of numpy and json alone."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from robot_harness import Listener
from sensor_msgs.msg import Image
from smvae_msgs.msg import LatentState, ModalityStatus, ModelInfo, Setting
from smvae_tools.viewer import LiveViewer, main

from smvae_core.bundle import Bundle
from smvae_core.messages import ConversionOptions
from smvae_core.robot import Channel, Robot, Sensor
from smvae_core.view.process import VARIABLE, Viewer

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
FROZEN = Path(__file__).resolve().parents[4] / "tests/frozen/bundle"
LISTING = """
import json, struct, sys
import numpy as np
print("ready", flush=True)
stdin, out = sys.stdin.buffer, open(sys.argv[1], "w")
while head := stdin.read(4):
    told = json.loads(stdin.read(struct.unpack("<I", head)[0]))
    stdin.read(np.dtype(told["dtype"]).itemsize * int(np.prod(told["shape"])))
    out.write(json.dumps(told) + "\\n")
"""


@pytest.mark.dds
def test_sensors_latents_and_predictions_are_forwarded(domain: int, tmp_path: Path) -> None:
    script, out = tmp_path / "listing.py", tmp_path / "frames"
    script.write_text(LISTING)
    bundle = Bundle.load(FROZEN)
    camera = bundle.manifest.modalities[0]
    listener = Listener(domain)
    image = camera.converter().fill(
        camera, Image(), camera.example_sample(), 2 * 10**9, "", ConversionOptions()
    )
    latent = LatentState(mean=[0.0] * 4, variance=[1.0, 4.0, 9.0, 16.0], valid=True)
    latent.header.stamp.sec = 2
    latent.modalities = [ModalityStatus(name=camera.name, state=ModalityStatus.FUSED)]
    sent = {"/smvae/latent": latent}
    sent |= dict.fromkeys(("/rgb/image", "/smvae/predicted/rgb/image"), image)
    publishers = [
        (listener.node.create_publisher(type(m), topic, RELIABLE), m) for topic, m in sent.items()
    ]
    with Viewer([out], python=sys.executable, script=script) as viewer:
        node = LiveViewer(bundle, viewer, context=listener.context)
        executor = SingleThreadedExecutor(context=listener.context)
        executor.add_node(node)
        try:
            listener.until(lambda: all(p.get_subscription_count() for p, _ in publishers))
            for publisher, message in publishers:
                publisher.publish(message)
            for _ in range(600):
                executor.spin_once(timeout_sec=0.05)
                if node.shown == 3:
                    break
            assert node.shown == 3
        finally:
            executor.shutdown()
            node.destroy_node()
            listener.close()
    frames = [json.loads(line) for line in out.read_text().splitlines()]
    times = {frame.get("path", "open"): frame.get("time_ns") for frame in frames}
    for path in ("rgb/recorded", "rgb/predicted", "state/rgb", "latent/mean", "latent/upper"):
        assert times[path] == 2 * 10**9
    assert frames[0]["form"] == "open"


def declared(folder: Path, topic: str) -> Bundle:
    """Return a copy of the bundle whose robot has its camera on a topic."""
    shutil.copytree(FROZEN, folder)
    sensors = tuple(
        Sensor(modality=m, channel=Channel(topic=topic if m.is_image else f"/{m.name}"))
        for m in Bundle.load(FROZEN).manifest.modalities[:1]
    )
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["training"]["robot"] = Robot(name="arm", sensors=sensors).to_json()
    path.write_text(json.dumps(manifest))
    return Bundle.load(folder)


@pytest.mark.dds
def test_topics_are_those_of_the_declaration_then_of_the_node(domain: int, tmp_path: Path) -> None:
    script, bundle = tmp_path / "listing.py", declared(tmp_path / "bundle", "/wrist/image")
    script.write_text(LISTING)
    listener = Listener(domain)
    said = json.dumps("/left/image")
    info = ModelInfo(
        sha256=bundle.sha256, settings=[Setting(name="modalities.rgb.topic", value=said)]
    )
    arguments = {"python": sys.executable, "script": script}
    with Viewer([tmp_path / "frames"], **arguments) as viewer:  # type: ignore[arg-type]
        node = LiveViewer(bundle, viewer, context=listener.context)
        try:
            heard = {s.topic_name for s in node.subscriptions}
            assert {"/wrist/image", "/depth/image", "/smvae/latent"} <= heard
            node._model(info)
            again = {s.topic_name for s in node.subscriptions}
            assert again == heard - {"/wrist/image"} | {"/left/image"}
            info.settings[0].value = json.dumps(3)
            node._model(info)
            assert {s.topic_name for s in node.subscriptions} == again
        finally:
            node.destroy_node()
            listener.close()


def test_without_display_or_rerun_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(VARIABLE, "/no/such/python")
    assert main([str(FROZEN)]) == 1
    assert "--save FILE.rrd" in capsys.readouterr().err
    assert main([str(FROZEN), "--save", str(tmp_path / "x.rrd")]) == 1
    assert "pip install rerun-sdk" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--topics", "rgb=a b"], "viewer: 'a b' is no ROS name: letters, digits"),
        (["--node", "/smvae/"], "viewer: '/smvae/' is no ROS name: a '/' has a name behind it"),
        (["--topics", "rgb=/1st/image"], "viewer: '/1st/image' is no ROS name: no part"),
    ],
)
def test_a_name_that_ros_would_not_take_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main([str(FROZEN), "--save", str(tmp_path / "x.rrd"), *words]) == 1
    assert said in capsys.readouterr().err
