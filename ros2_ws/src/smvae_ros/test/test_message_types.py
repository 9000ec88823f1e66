"""What topics may carry, frames that are expected, and samples that look wrong: over real DDS."""

from __future__ import annotations

from array import array
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_harness import Client, fused, nanoseconds, status_of
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import PointCloud2, PointField
from smvae_msgs.msg import LatentState, ModalityStatus
from smvae_ros.listen.message_types import message_class
from smvae_ros.topics import camera_info_topic

from smvae_core.messages import ConversionOptions

#: The action's fields under the names that this robot's joints have.
JOINTS = ("slide_x", "slide_y", "slide_z", "wrist")
JPEG = "sensor_msgs/msg/CompressedImage"
#: (modality, message type or codec, parameters): what the default harness does not send.
OTHERS = [
    ("rgb", "sensor_msgs/msg/CompressedImage", {}),
    ("rgb", "jpeg", {}),
    ("depth", "sensor_msgs/msg/PointCloud2", {}),
    ("depth", "sensor_msgs/msg/CompressedImage", {}),
    ("action", "sensor_msgs/msg/JointState", {"modalities.action.joint_names": ",".join(JOINTS)}),
    ("action", "std_msgs/msg/Float32MultiArray", {}),
    ("action", "geometry_msgs/msg/Twist", {}),
]


def send(client: Client, name: str, carried: str, publisher: Any) -> tuple[Any, Any]:
    """Publish one sample as that; return it as the node must read it, and its stamp."""
    modality = client.modalities[name]
    message_type = JPEG if carried == "jpeg" else carried
    carrier = modality.converter(message_type)
    options = ConversionOptions(joint_names=JOINTS if message_type.endswith("JointState") else ())
    stamp = client.now_ns()
    sample = modality.example_sample(3)
    message = message_class(message_type)()
    if carried == "jpeg":
        # as image_transport's compressed publisher writes it
        data = cv2.imencode(".jpg", sample[:, :, ::-1])[1].tobytes()
        message.format, message.data = "rgb8; jpeg compressed bgr8", array("B", data)
    elif message_type.endswith("PointCloud2"):
        fill_cloud(message, sample)
    else:
        carrier.fill(modality, message, sample, stamp, "", options)
    set_header(message, stamp, f"{name}_frame")
    publisher.publish(message)
    return carrier.to_array(modality, message, options), stamp


def set_header(message: Any, stamp: int, frame_id: str) -> None:
    if hasattr(message, "header"):
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        message.header.frame_id = frame_id


def fill_cloud(message: PointCloud2, depth: Any) -> None:
    """Write organised points x, y, z with the depth as z, as a depth camera's driver does."""
    height, width = depth.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    points = np.stack([x * depth, y * depth, depth], axis=2).astype(np.float32)
    message.height, message.width, message.is_dense = height, width, False
    message.fields = [
        PointField(name=axis, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, axis in enumerate("xyz")
    ]
    message.point_step, message.row_step = 12, 12 * width
    message.data = array("B", points.tobytes())


@pytest.mark.parametrize(
    ("name", "carried", "more"), OTHERS, ids=[f"{n} {t}" for n, t, _ in OTHERS]
)
def test_each_message_type_gives_the_latent_of_its_sample(
    start_node, client, bundle, runtime, strict, name, carried, more
) -> None:
    message_type = JPEG if carried == "jpeg" else carried
    topic = f"other/{name}"
    parameters = {
        f"modalities.{name}.message_type": message_type,
        f"modalities.{name}.topic": topic,
    }
    start_node(bundle=bundle, parameters=strict | parameters | more)
    publisher = client.node.create_publisher(message_class(message_type), topic, 10)
    client.retire(name)
    client.activate()
    client.until(publisher.get_subscription_count)
    sample, stamp = send(client, name, carried, publisher)
    latent = client.until(lambda: [m for m in client.latents if fused(m) == (name,)])[0]
    np.testing.assert_allclose(
        latent.mean, runtime.infer({name: sample}).mean, rtol=1e-4, atol=1e-5
    )
    got = latent.header.stamp.sec * 10**9 + latent.header.stamp.nanosec
    if message_type.endswith(("MultiArray", "Twist")):
        assert stamp < got <= client.now_ns(), "stamped when it arrived"
    else:
        assert got == stamp


def test_a_gripper_on_the_topic_of_the_arm_takes_the_place_of_no_sample(
    start_node, client, bundle, strict
) -> None:
    """Two publishers of one topic, as of /joint_states: each message of the arm is fused."""
    kind = "sensor_msgs/msg/JointState"
    parameters = {
        "modalities.action.message_type": kind,
        "modalities.action.topic": "joint_states",
        "modalities.action.joint_names": ",".join(JOINTS),
    }
    start_node(bundle=bundle, parameters=strict | parameters)
    arm, gripper = (
        client.node.create_publisher(message_class(kind), "joint_states", 10) for _ in range(2)
    )
    client.retire("action")
    client.activate()
    client.until(lambda: arm.get_subscription_count() and gripper.get_subscription_count())
    for _ in range(20):
        _, stamp = send(client, "action", kind, arm)
        other = message_class(kind)(name=["finger"], velocity=[0.1])
        set_header(other, client.now_ns(), "")
        gripper.publish(other)
        client.until(
            lambda s=stamp: [m for m in client.latents if nanoseconds(m.header.stamp) == s]
        )
    client.until(lambda: status_of(client.latents[-1], "action").rejected == 20)
    assert status_of(client.latents[-1], "action").received == 20
    assert all(fused(m) == ("action",) for m in client.latents if m.valid)
    states = {status_of(m, "action").state for m in client.latents}
    assert ModalityStatus.REJECTED not in states


def test_commands_without_a_header_under_simulated_time(start_node, client, bundle, strict) -> None:
    """Refused before /clock starts; then several within one tick of it are several commands."""
    kind = "std_msgs/msg/Float32MultiArray"
    parameters = strict | {"use_sim_time": True, "modalities.action.message_type": kind}
    client.retire("action")
    start_node(bundle=bundle, parameters=parameters)
    publisher = client.node.create_publisher(message_class(kind), "action", 10)
    clock = client.node.create_publisher(Clock, "/clock", 10)
    client.activate()
    client.until(publisher.get_subscription_count)
    client.until(clock.get_subscription_count)
    send(client, "action", kind, publisher)
    client.until(lambda: status_of(client.latents[-1], "action").rejected == 1)
    tick = Clock()
    tick.clock.sec = 1000

    def received(count: int) -> list[LatentState]:
        return [m for m in client.latents if m.valid and status_of(m, "action").received == count]

    def ticked() -> bool:
        clock.publish(tick)  # the first may be lost: the node may know us later than we it
        return bool(client.latents[-1].header.stamp.sec == 1000)

    client.until(ticked)
    for count in range(1, 4):
        send(client, "action", kind, publisher)
        latent = client.until(lambda n=count: received(n))[0]
        assert latent.header.stamp.sec == 1000
    assert status_of(client.latents[-1], "action").rejected == 1


def test_a_message_in_another_frame_is_rejected(start_node, client, bundle, strict) -> None:
    start_node(bundle=bundle, parameters=strict | {"modalities.rgb.frame_id": "left_camera"})
    client.activate()
    client.play_until(
        ("rgb", "action"),
        lambda: [
            m
            for m in client.latents
            if m.valid and status_of(m, "rgb").state == ModalityStatus.REJECTED
        ],
    )
    assert client.set_parameter("modalities.rgb.frame_id", "rgb_optical").successful
    client.play_until(("rgb",), lambda: [m for m in client.latents if "rgb" in fused(m)])


def test_a_covered_depth_camera_is_rejected_and_the_others_make_the_latent(
    start_node, client, bundle, strict
) -> None:
    start_node(bundle=bundle, parameters=strict)
    client.activate()
    depth = client.modalities["depth"]

    def rejected() -> list[LatentState]:
        stamp = client.moment(("rgb", "action"))
        covered = client.message("depth", np.zeros_like(depth.example_sample(1)), stamp)
        client.publish("depth", stamp, covered)
        client.spin(0.05)
        return [
            m
            for m in client.latents
            if m.valid and status_of(m, "depth").state == ModalityStatus.REJECTED
        ]

    latent = client.until(rejected)[0]
    assert "depth" not in fused(latent)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_depth_in_another_unit_is_reported_and_refused_where_nothing_is_left(
    start_node, client, bundle, strict, share: float
) -> None:
    """32FC1 in millimetres, as some drivers send: nothing in the message says so."""
    process = start_node(bundle=bundle, parameters=strict, diagnostics_period_s=0.1)
    diagnostics = client.listen(DiagnosticArray, "/diagnostics")
    client.activate()
    depth = client.modalities["depth"]
    sample = depth.example_sample(1)
    sample[: round(share * len(sample))] *= 1000.0
    message = client.message("depth", sample, client.now_ns())
    message.data = array("B", bytes(message.data))

    def reported() -> list[DiagnosticStatus]:
        stamp = client.now_ns()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        client.publish("depth", stamp, message)
        client.spin(0.05)
        entries = [s for m in diagnostics for s in m.status if s.name == "smvae: modality depth"]
        return [s for s in entries if "millimetres" in s.message]

    level = DiagnosticStatus.WARN if share < 1.0 else DiagnosticStatus.ERROR
    assert client.until(reported)[-1].level == level
    assert bool([m for m in client.latents if fused(m) == ("depth",)]) == (share < 1.0)
    log = process.log.read_text()
    assert ("depth: median depth" in log) == (share < 1.0)
    refused = "message rejected: depth: empty: expected a pixel between 1e-07 and 2 m"
    assert (refused in log) == (share == 1.0)


def test_rates_and_transport_delay_are_measured_per_topic(
    start_node, client, bundle, strict
) -> None:
    start_node(bundle=bundle, parameters=strict, diagnostics_period_s=0.1)
    diagnostics = client.listen(DiagnosticArray, "/diagnostics")
    client.activate()

    def values(name: str) -> dict[str, float]:
        found = [s for m in diagnostics[-1:] for s in m.status]
        pairs = [p for s in found if s.name == f"smvae: modality {name}" for p in s.values]
        return {p.key: float(p.value) for p in pairs if p.key.startswith(("rate", "transport"))}

    client.play_until(("rgb",), lambda: values("rgb").get("rate_hz", 0.0) > 1.0)
    assert values("action")["rate_hz"] == 0.0
    assert values("rgb")["transport_delay_p50_ms"] > 0.0
    assert np.isnan(values("action")["transport_delay_p50_ms"])


@pytest.mark.parametrize(
    ("image", "info"),
    [
        ("rgb/image", "rgb/camera_info"),
        ("/cam/color/image_raw", "/cam/color/camera_info"),
        ("/cam/color/image_raw/compressed", "/cam/color/camera_info"),
        ("/cam/depth/image_raw/compressedDepth", "/cam/depth/camera_info"),
        ("image", "camera_info"),
    ],
)
def test_where_a_camera_info_is(image: str, info: str) -> None:
    assert camera_info_topic(image) == info
