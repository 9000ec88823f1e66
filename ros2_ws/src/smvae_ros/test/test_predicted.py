"""What the model expects of a sensor, as that sensor's own message: of every kind, live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TwistStamped, WrenchStamped
from in_process_node import InProcess
from lifecycle_msgs.msg import Transition
from node_harness import Client, fused
from numpy.typing import NDArray
from sensor_msgs.msg import Image, JointState, LaserScan
from smvae_ros.listen.message_types import message_class

from smvae_core.errors import ConfigError
from smvae_core.kinds.base import Prediction
from smvae_core.messages import ConversionOptions
from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.objective_config import ObjectiveConfig
from smvae_core.presets import vision_touch
from smvae_core.runtime import Runtime
from smvae_datasets.dataset import ArrayDataset
from smvae_training.config import HardwareConfig, LogConfig, OptimizerConfig, TrainConfig
from smvae_training.exporting import export_run
from smvae_training.run import RunPaths
from smvae_training.trainer import train_on
from tests.declared import EVERY_KIND, JOINTS, SCAN

BEAMS = SCAN.shape[1]
EYE = vision_touch(32)[0]
SENSORS = (EYE, SCAN, JOINTS)
#: Beams that return in states above zero only; of them, those not at the edge of the others.
GATE, INNER = slice(BEAMS - 8, BEAMS), slice(BEAMS - 6, BEAMS)


def joints_at(state: Any) -> NDArray[np.float32]:
    """Return positions [rad] and velocities [rad/s] of two joints at a state (N,)."""
    return np.stack([state, -0.5 * state, 0.2 * state, state**2], axis=-1).astype(np.float32)


def scan_at(state: Any) -> NDArray[np.float32]:
    """Return ranges [m] and returns (N, 2, B) that a laser on the moving part has."""
    angles = np.linspace(-np.pi, np.pi, BEAMS)
    ranges = 2.5 + np.multiply.outer(np.asarray(state), np.cos(angles))
    returned = np.ones_like(ranges)
    returned[..., GATE] = (np.asarray(state) > 0)[..., None]
    return np.stack([ranges * returned, returned], axis=-2).astype(np.float32)


def image_at(state: Any) -> NDArray[np.uint8]:
    """Return pictures (N, 3, 32, 32) that are the brighter the higher the state."""
    level = np.rint(127.5 + 100.0 * np.asarray(state))[..., None, None, None]
    return np.broadcast_to(level, (*np.shape(state), *EYE.shape)).astype(np.uint8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of a model of a camera, a laser and joints that share one hidden state.

    The camera, whose networks take nearly all of the time, is held by every eighth record.
    """
    rng = np.random.default_rng(0)
    count = 1500
    state = rng.uniform(-1.0, 1.0, count)
    scans = scan_at(state)
    scans[:, 0] += scans[:, 1] * rng.normal(0.0, 0.02, (count, BEAMS)).astype(np.float32)
    recorded = np.ones((count, 3), bool)
    recorded[:, 0] = np.arange(count) % 8 == 0
    noise = rng.normal(0.0, 0.01, (count, 4)).astype(np.float32)
    data = ArrayDataset(
        sensors=SENSORS,
        arrays={
            EYE.name: image_at(state),
            SCAN.name: scans,
            JOINTS.name: joints_at(state) + noise,
        },
        group=np.repeat(np.arange(6), count // 6).astype(np.int32),
        group_names=tuple("abcdef"),
        recorded=recorded,
    )
    config = TrainConfig(
        model=ModelConfig(
            modalities=SENSORS, latent_dim=4, embedding_dim=32, base_channels=4, pooling="evidence"
        ),
        objective=ObjectiveConfig(balance=1.0),
        batch_size=32,
        max_steps=300,
        optimizer=OptimizerConfig(lr=4e-3, warmup=30, clip=1.0),
        hardware=HardwareConfig(precision="32", accelerator="cpu"),
        log=LogConfig(tensorboard=False),
    )
    folder = tmp_path_factory.mktemp("shared")
    paths = RunPaths(folder / "run")
    train_on(config, data, paths, None)
    return export_run(paths.root, folder / "bundle", name="shared")


def error_m(ranges: Any, state: float) -> float:
    """Return the mean absolute error of a scan over the beams that return [m]."""
    true = scan_at(state)
    returned = true[1] > 0.5
    return float(np.abs(np.asarray(ranges) - true[0])[returned].mean())


def test_a_scan_is_predicted_from_joints_alone_and_joints_from_a_scan(trained: Path) -> None:
    """Within 5 cm and 0.1 rad; the mean scan is 30 cm off."""
    runtime = Runtime(trained)
    states = np.linspace(-0.95, 0.95, 20)
    mean_scan = np.full(BEAMS, 2.5)
    assert np.mean([error_m(mean_scan, s) for s in states]) > 0.25
    for state in states:
        ranges, chance = runtime.reconstruct(
            SCAN.name, runtime.infer({JOINTS.name: joints_at(state)}).mean
        )
        assert error_m(ranges, state) < 0.05
        if abs(state) > 0.2:
            assert ((chance[INNER] > 0.5) == (state > 0)).all()
        joints = runtime.reconstruct(JOINTS.name, runtime.infer({SCAN.name: scan_at(state)}).mean)
        np.testing.assert_allclose(joints, joints_at(state), atol=0.15)
        assert np.abs(joints - joints_at(state)).mean() < 0.1


#: Order of the names -> the joints as a driver may publish them; one that is not ours among them.
ORDERS: dict[str, tuple[str, ...]] = {
    "as declared": ("j1", "j2"),
    "in another order": ("j2", "gripper", "j1"),
    "unnamed": (),
}


def joint_message(state: float, names: tuple[str, ...], stamp_ns: int) -> JointState:
    """Return the joints at a state; unnamed ones in the declared order."""
    j1, j2, v1, v2 = (float(v) for v in joints_at(state))
    position, velocity = {"j1": j1, "j2": j2}, {"j1": v1, "j2": v2}
    message = JointState(name=list(names))
    message.position = [position.get(n, 9.0) for n in names or ("j1", "j2")]
    message.velocity = [velocity.get(n, 9.0) for n in names or ("j1", "j2")]
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    message.header.frame_id = "base"
    return message


def scan_message(state: float, stamp_ns: int) -> LaserScan:
    """Return the scan at a state: no return is infinite."""
    return SCAN.converter().fill(
        SCAN, LaserScan(), scan_at(state), stamp_ns, "laser", ConversionOptions()
    )


def test_scan_and_joints_live_from_message_to_latent_to_predicted_message(
    trained: Path, domain: int
) -> None:
    parameters = {f"modalities.{m.name}.max_skew_s": 0.01 for m in SENSORS}
    with InProcess(domain, bundle=str(trained), **parameters):
        client = Client(domain, ())
        scans = client.listen(LaserScan, f"/smvae/predicted/{SCAN.name}")
        joints = client.listen(JointState, f"/smvae/predicted/{JOINTS.name}")
        images = client.listen(Image, f"/smvae/predicted/{EYE.name}/image")
        senders = {
            SCAN.name: client.node.create_publisher(LaserScan, SCAN.name, 5),
            JOINTS.name: client.node.create_publisher(JointState, JOINTS.name, 5),
        }

        def predicted(name: str, make: Any, found: list[Any]) -> Any:
            """Send one sensor alone; return its latent and what was predicted of that."""
            client.latents.clear()

            def both() -> list[tuple[Any, Any]]:
                senders[name].publish(make(client.now_ns()))
                client.spin(0.1)
                alone = [m for m in client.latents if fused(m) == (name,)]
                return [(m, f) for m in alone for f in found if f.header.stamp == m.header.stamp]

            return client.until(both)[-1]

        try:
            client.activate()
            state = 0.6
            latent, found = predicted(SCAN.name, lambda t: scan_message(state, t), joints)
            assert [s.kind for s in latent.modalities] == [m.kind for m in SENSORS]
            assert list(found.name) == ["j1", "j2"]
            assert not found.effort
            got = [*found.position, *found.velocity]
            np.testing.assert_allclose(got, joints_at(state), atol=0.15)
            for state, names in zip((-0.8, 0.7, -0.4), ORDERS.values(), strict=True):
                scans.clear()
                _, found = predicted(
                    JOINTS.name, lambda t, s=state, n=names: joint_message(s, n, t), scans
                )
                returned = np.isfinite(found.ranges)
                assert returned[: GATE.start].all()
                assert (returned[INNER] == (state > 0)).all()
                assert error_m(np.where(returned, found.ranges, 2.5), state) < 0.05
                assert error_m(np.full(BEAMS, 2.5), state) > 0.2
                assert found.header.frame_id == "laser"
                assert (found.range_min, found.range_max) == pytest.approx((0.05, 10.0))
                assert found.angle_max == pytest.approx(np.pi)
                assert max(found.intensities) <= 1.0
            images.clear()
            _, image = predicted(JOINTS.name, lambda t: joint_message(state, (), t), images)
            level = np.mean(np.frombuffer(image.data, np.uint8))
            assert abs(level - float(image_at(state).mean())) < 30.0
        finally:
            client.close()


def test_a_command_and_a_window_are_predicted_as_the_messages_of_their_sensors(
    start_node: Any, client: Any, bundle: Path, runtime: Runtime, strict: dict[str, Any]
) -> None:
    """A displacement comes back as the velocity that the robot's own step time makes of it."""
    start_node(bundle=bundle, parameters=strict | {"modalities.action.step_time_s": 0.2})
    commands = client.listen(TwistStamped, "/smvae/predicted/action")
    wrenches = client.listen(WrenchStamped, "/smvae/predicted/force")
    client.activate()

    def all_three() -> list[tuple[Any, Any, Any]]:
        return [
            (m, c, w)
            for m in client.latents
            for c in commands
            for w in wrenches
            if m.valid and m.header.stamp == c.header.stamp == w.header.stamp
        ]

    latent, command, wrench = client.play_until(("force", "action"), all_three)[-1]
    mean = np.asarray(latent.mean, np.float32)
    displacement = runtime.reconstruct("action", mean)
    linear = command.twist.linear
    got = np.array([linear.x, linear.y, linear.z])
    np.testing.assert_allclose(got * 0.2, displacement[:3], rtol=1e-3, atol=1e-6)
    newest = runtime.reconstruct("force", mean)[-1]
    force, torque = wrench.wrench.force, wrench.wrench.torque
    got = np.array([force.x, force.y, force.z, torque.x, torque.y, torque.z])
    np.testing.assert_allclose(got, newest, rtol=1e-3, atol=1e-5)
    assert command.header.frame_id == "action_optical"
    assert wrench.header.frame_id == "force_optical"


@pytest.mark.parametrize(
    "modality", [m for m in EVERY_KIND if m.message_types], ids=lambda m: m.name
)
def test_what_is_predicted_of_every_kind_is_a_message_that_reads_back(modality: Modality) -> None:
    sample = modality.example_sample()
    for topic in modality.family.predicted(modality)[:1]:
        message = message_class(topic.message_type)()
        prediction = Prediction(
            decode=lambda: sample, stamp_ns=1, frame_id="there", options=ConversionOptions()
        )
        filled = topic.fill(modality, message, prediction)
        assert filled.header.frame_id == "there"
        read = modality.converter().to_array(modality, filled, ConversionOptions())
        expected = sample[-1] if modality.family.is_window else sample
        np.testing.assert_allclose(read, expected, rtol=1e-5, atol=1e-6)


def test_a_whole_number_is_predicted_as_the_nearest_one() -> None:
    count = Modality(
        name="count",
        kind="vector",
        shape=(2,),
        unit="1",
        fields=("data[0]", "data[1]"),
        message_type="std_msgs/msg/Int32MultiArray",
    )
    (topic,) = count.family.predicted(count)
    prediction = Prediction(
        decode=lambda: np.array([2.6, -1.2], np.float32),
        stamp_ns=0,
        frame_id="",
        options=ConversionOptions(),
    )
    message = topic.fill(count, message_class(topic.message_type)(), prediction)
    assert list(message.data) == [3, -1]


def test_a_message_type_that_is_not_installed_is_named_at_configure(
    client: Any, domain: int, bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = {"modalities.force.message_type": "strain_gauge_msgs/msg/Strain"}
    with InProcess(domain, bundle=str(bundle), **given):
        assert not client.change(Transition.TRANSITION_CONFIGURE)
        assert client.state() == "unconfigured"
    said = " ".join(capfd.readouterr().err.split())
    assert "modalities.force.message_type: strain_gauge_msgs/msg/Strain needs package" in said
    assert "install it or source its workspace" in said


@pytest.mark.parametrize(
    ("message_type", "said"),
    [
        ("Wrench", "'Wrench' is no message type, such as sensor_msgs/msg/Image"),
        ("geometry_msgs/msg/Wrenchstamped", "no message Wrenchstamped. Did you mean 'Wrench"),
        ("nowhere_msgs/msg/It", "needs package nowhere_msgs, which this process cannot load"),
    ],
)
def test_a_message_type_that_cannot_be_had_says_what_would_be_right(
    message_type: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        message_class(message_type)
