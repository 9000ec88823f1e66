"""The table of topics and services against a running node, and two nodes side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from geometry_msgs.msg import TwistStamped, WrenchStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from node_harness import MESSAGES, WINDOW_MS, fused
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from robot_harness import Listener, Program
from smvae_msgs.msg import LatentState
from smvae_ros import topics
from smvae_ros.lifecycle.start import bring_up

RELIABILITY = {
    ReliabilityPolicy.BEST_EFFORT: "best effort",
    ReliabilityPolicy.RELIABLE: "reliable",
}
DURABILITY = {
    DurabilityPolicy.VOLATILE: "volatile",
    DurabilityPolicy.TRANSIENT_LOCAL: "transient local",
}


def used(modalities: Any, direction: str) -> dict[str, topics.Topic]:
    everything = [
        *topics.inputs(modalities),
        *topics.outputs(modalities, estimates=False),
        *topics.STANDARD,
    ]
    return {topics.resolve(t.name, "", "smvae"): t for t in everything if t.direction == direction}


def settled(client: Any, read: Callable[[], dict[str, str]], expected: dict[str, str]) -> None:
    """Wait until discovery has all, then compare, so that a difference is shown."""
    client.came_true(lambda: read() == expected, client.patience_s)
    assert read() == expected


def test_topics_and_services_of_a_running_node_are_those_of_the_table(
    start_node, client, bundle, modalities
) -> None:
    start_node(bundle=bundle, use_sim_time="true")
    client.activate()
    for direction in ("publish", "subscribe"):
        expected = {name: t.message_type for name, t in used(modalities, direction).items()}
        settled(client, lambda d=direction: client.others(d), expected)
    expected = {topics.resolve(s.name, "", "smvae"): s.service_type for s in topics.SERVICES}
    settled(client, client.others_services, expected)


def test_qualities_of_service_are_those_of_the_table(
    start_node, client, bundle, modalities
) -> None:
    start_node(bundle=bundle, use_sim_time="true")
    client.activate()
    own = client.node.get_name()
    for direction, query in (
        ("publish", client.node.get_publishers_info_by_topic),
        ("subscribe", client.node.get_subscriptions_info_by_topic),
    ):
        for name, topic in used(modalities, direction).items():
            ends = client.until(lambda n=name, q=query: [e for e in q(n) if e.node_name != own])
            profile = ends[0].qos_profile
            said = f"{RELIABILITY[profile.reliability]}, {DURABILITY[profile.durability]}"
            assert topic.qos.startswith(said), f"{name}: {said}"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (
            ("rgb/image:=wrench", "wrench:=rgb/image"),  # swapped, and not back again
            {"/wrench": "sensor_msgs/msg/Image", "/rgb/image": "geometry_msgs/msg/WrenchStamped"},
        ),
        (
            ("rgb/image:=/cam/color/image_raw",),
            {"/cam/color/camera_info": "sensor_msgs/msg/CameraInfo"},
        ),
        (
            ("rgb/image:=/cam/color/image_raw", "rgb/camera_info:=/calibration"),
            {"/calibration": "sensor_msgs/msg/CameraInfo"},
        ),
    ],
    ids=["swapped", "image", "image and camera_info"],
)
def test_inputs_follow_remapping(
    client: Any,
    domain: int,
    bundle: Path,
    tmp_path: Path,
    rules: tuple[str, ...],
    expected: dict[str, str],
) -> None:
    arguments = [part for rule in rules for part in ("-r", rule)]
    arguments += ["-p", f"bundle:={bundle}"]
    program = Program(
        "smvae_ros.perception_node", domain, tmp_path / "log", "--ros-args", *arguments
    )

    def found() -> dict[str, str]:
        heard = client.others("subscribe")
        return {topic: heard[topic] for topic in expected if topic in heard}

    try:
        assert bring_up(client.node, "/smvae", client.came_true)
        settled(client, found, expected)
    finally:
        program.end()


@pytest.mark.parametrize(
    ("name", "namespace", "expected"),
    [
        ("rgb/image", "", "/rgb/image"),
        ("rgb/image", "/cell/left/", "/cell/left/rgb/image"),
        ("~/latent", "robot1", "/robot1/smvae/latent"),
        ("~/latent", "/", "/smvae/latent"),
        ("/diagnostics", "robot1", "/diagnostics"),
    ],
)
def test_names_resolve_as_ros_resolves_them(
    name: str, namespace: str, expected: str, domain: int
) -> None:
    assert topics.resolve(name, namespace, "smvae") == expected
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    try:
        node = rclpy.create_node("smvae", namespace=namespace.rstrip("/") or None, context=context)
        assert node.resolve_topic_name(name) == expected
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)


def test_the_viewers_remapping_follows_the_namespace(domain: int) -> None:
    """As perception.launch.py remaps the names of the RViz file."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    try:
        rules = ["/rgb/image:=rgb/image", "/smvae/predicted/rgb/image:=eye/predicted/rgb/image"]
        arguments = [part for rule in rules for part in ("-r", rule)]
        viewer = rclpy.create_node(
            "rviz", namespace="left", context=context, cli_args=["--ros-args", *arguments]
        )
        assert viewer.resolve_topic_name("/rgb/image") == "/left/rgb/image"
        predicted = viewer.resolve_topic_name("/smvae/predicted/rgb/image")
        assert predicted == "/left/eye/predicted/rgb/image"
        viewer.destroy_node()
    finally:
        rclpy.shutdown(context=context)


@pytest.fixture
def pair(domain: int, bundle: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Two node processes on one domain: /left/smvae, and /right/eye with a remapped input."""
    rules = {
        "left": ["-r", "__ns:=/left"],
        "right": ["-r", "__ns:=/right", "-r", "__node:=eye", "-r", "action:=/arm/command"],
    }
    programs = [
        Program(
            "smvae_ros.perception_node",
            domain,
            tmp_path / f"{side}.log",
            *("--ros-args", *options, "-p", f"bundle:={bundle}"),
        )
        for side, options in rules.items()
    ]
    yield {"left": "/left/smvae", "right": "/right/eye"}
    for program in programs:
        program.end()


@pytest.mark.dds
def test_two_nodes_in_two_namespaces_hear_only_their_own_sensors(
    pair: dict[str, str], domain: int, modalities: Any
) -> None:
    listener = Listener(domain)
    try:
        latents = {
            side: listener.listen(LatentState, f"{name}/latent") for side, name in pair.items()
        }
        for name in pair.values():
            for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
                request = ChangeState.Request(transition=Transition(id=transition))
                assert listener.call(ChangeState, f"{name}/change_state", request).success
        wrench = listener.node.create_publisher(WrenchStamped, "/left/wrench", 100)
        command = listener.node.create_publisher(TwistStamped, "/arm/command", 10)
        assert MESSAGES["signal"] is WrenchStamped
        listener.until(lambda: wrench.get_subscription_count() == 1)
        listener.until(lambda: command.get_subscription_count() == 1)

        def both() -> bool:
            now = listener.node.get_clock().now().nanoseconds
            for age_ms in reversed(range(WINDOW_MS)):
                message = WrenchStamped()
                sec, nanosec = divmod(now - age_ms * 1_000_000, 10**9)
                message.header.stamp.sec, message.header.stamp.nanosec = sec, nanosec
                wrench.publish(message)
            message = TwistStamped()
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(now, 10**9)
            command.publish(message)
            listener.came_true(lambda: False, 0.05)
            return all(any(m.valid for m in received) for received in latents.values())

        assert listener.came_true(both, 60.0)
        for side, heard in (("left", "force"), ("right", "action")):
            assert {fused(m) for m in latents[side] if m.valid} == {(heard,)}
            counts = {s.name: s.received for s in latents[side][-1].modalities}
            assert {name for name, count in counts.items() if count} == {heard}
    finally:
        listener.close()
