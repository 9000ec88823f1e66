"""A live run as the demo records it, without ROS: collector and runtime play the node."""

from __future__ import annotations

import json
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from smvae_core.fusion.collector import Collector
from smvae_core.fusion.rules import Observation
from smvae_core.messages import ConversionOptions
from smvae_core.modality import Modality
from smvae_core.runtime import Runtime
from smvae_training.evaluate.live.bag import (
    LATENT,
    MARKS,
    MODEL_INFO,
    input_topic,
    predicted_topic,
    sensor_of,
    truth_topic,
)

MESSAGES = Path(__file__).parents[2] / "ros2_ws" / "src" / "smvae_msgs" / "msg"
START_NS = 1_700_000_000_000_000_000
STEP_NS, MS = 50_000_000, 1_000_000
DWELL_STEPS = 34
#: Reception after the stamp.
LATENCY_NS = 5 * MS


def typestore() -> Any:
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for path in sorted(MESSAGES.glob("*.msg")):
        text = path.read_text(encoding="utf-8")
        types |= get_types_from_msg(text, f"smvae_msgs/msg/{path.stem}")
    store.register(types)
    return store


class BagMaker:
    """Plays robot, node and recorder through every set of sensors."""

    def __init__(self, path: Path, runtime: Runtime) -> None:
        self.store = typestore()
        self.runtime = runtime
        self.modalities: tuple[Modality, ...] = runtime.modalities
        self.collector = Collector(self.modalities)
        self.rng = np.random.default_rng(3)
        self.now_ns = START_NS
        self.writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self.connections: dict[str, Any] = {}
        self.sequence = 0
        self.path = path

    def make(self) -> Path:
        """Write the bag: all sensors, every subset, none, all again."""
        sensors = [sensor_of(m) for m in self.modalities]
        sizes = range(len(sensors) + 1)
        states = list(chain.from_iterable(combinations(sensors, n) for n in sizes))
        with self.writer:
            self.model_info()
            for number, enabled in enumerate([tuple(sensors), *states, tuple(sensors)]):
                self.mark(str(number), enabled, sensors)
                for _ in range(DWELL_STEPS):
                    self.step(enabled)
            self.mark("end", tuple(sensors), sensors)
            self.writer.set_custom_data("recorder", json.dumps({"lost": {"/wrench": 0}}))
        return self.path

    def type(self, name: str) -> Any:
        return self.store.types[name]

    def stamp(self, stamp_ns: int) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 10**9)
        return self.type("builtin_interfaces/msg/Time")(sec=seconds, nanosec=nanoseconds)

    def header(self, stamp_ns: int) -> Any:
        return self.type("std_msgs/msg/Header")(stamp=self.stamp(stamp_ns), frame_id="")

    def write(self, topic: str, type_name: str, message: Any, received_ns: int) -> None:
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(
                topic, type_name, typestore=self.store
            )
        data = self.store.serialize_cdr(message, type_name)
        self.writer.write(self.connections[topic], received_ns, data)

    def mark(self, label: str, enabled: tuple[str, ...], sensors: list[str]) -> None:
        data = {"label": label, "enabled": enabled, "sensors": sensors}
        times = {"asked_ns": self.now_ns, "done_ns": self.now_ns + MS}
        message = self.type("std_msgs/msg/String")(data=json.dumps(data | times))
        self.write(MARKS, "std_msgs/msg/String", message, self.now_ns + MS)

    def step(self, enabled: tuple[str, ...]) -> None:
        """Play 50 ms: a command, readings, images at the end, and the node's latent of them."""
        begin, self.now_ns = self.now_ns, self.now_ns + STEP_NS
        for modality in self.modalities:
            on = sensor_of(modality) in enabled
            if modality.family.is_window:
                for stamp in range(begin + 2 * MS, self.now_ns + 1, 2 * MS):
                    self.sense(modality, stamp, on)
            else:
                self.sense(modality, self.now_ns if modality.is_image else begin + 100_000, on)
        observation = self.collector.observe(self.now_ns * 1e-9)
        self.latent(observation)

    def sense(self, modality: Modality, stamp_ns: int, on: bool) -> None:
        sample = modality.example_sample(int(self.rng.integers(1 << 30)))
        if modality.is_image:
            sample = sample[:32, :32]
            self.image(truth_topic(modality), modality, sample, stamp_ns, stamp_ns + 3 * MS)
        elif modality.family.is_window:
            sample = sample[0]
        if not on:
            return
        if modality.is_image:
            self.image(input_topic(modality), modality, sample, stamp_ns, stamp_ns + 3 * MS)
        else:
            self.vector(modality, sample, stamp_ns)
            if modality.kind == "command":  # what a listener gets after a twist and back
                sample = (sample.astype(np.float64) / 0.05 * 0.05).astype(np.float32)
        self.collector.add(modality.name, stamp_ns, sample, stamp_ns * 1e-9)

    def image(self, topic: str, modality: Modality, sample: Any, stamp: int, received: int) -> None:
        color = modality.kind == "color_image"
        message = self.type("sensor_msgs/msg/Image")(
            header=self.header(stamp),
            height=sample.shape[0],
            width=sample.shape[1],
            encoding="rgb8" if color else "32FC1",
            is_bigendian=0,
            step=sample.shape[1] * (3 if color else 4),
            data=np.frombuffer(np.ascontiguousarray(sample).tobytes(), np.uint8),
        )
        self.write(topic, "sensor_msgs/msg/Image", message, received)

    def vector(self, modality: Modality, sample: Any, stamp_ns: int) -> None:
        """Write a wrench or a twist through the conversions that the robot uses."""
        vector3 = self.type("geometry_msgs/msg/Vector3")
        zeros = [vector3(x=0.0, y=0.0, z=0.0) for _ in range(2)]
        header = self.header(stamp_ns)
        if modality.family.is_window:
            wrench = self.type("geometry_msgs/msg/Wrench")(force=zeros[0], torque=zeros[1])
            message = self.type("geometry_msgs/msg/WrenchStamped")(header=header, wrench=wrench)
        else:
            twist = self.type("geometry_msgs/msg/Twist")(linear=zeros[0], angular=zeros[1])
            message = self.type("geometry_msgs/msg/TwistStamped")(header=header, twist=twist)
        converter = modality.converter()
        converter.fill(modality, message, sample, stamp_ns, "", ConversionOptions())
        self.write(input_topic(modality), converter.message_type, message, stamp_ns + MS)

    def latent(self, observation: Observation) -> None:
        reference = observation.reference_ns if observation.samples else self.now_ns
        valid = bool(observation.samples)
        mean = variance = np.zeros(0, np.float32)
        if valid:
            posterior = self.runtime.infer(observation.samples)
            mean, variance = posterior.mean, posterior.variance
        duration = self.type("builtin_interfaces/msg/Duration")(sec=0, nanosec=0)
        statuses = [
            self.type("smvae_msgs/msg/ModalityStatus")(
                name=m.name,
                kind=m.kind,
                state=int(observation.status[m.name].state),
                stamp=self.stamp(observation.status[m.name].stamp_ns),
                age=duration,
                received=0,
                rejected=0,
                nll=float("nan"),
                held=observation.status[m.name].held,
                elements=int(m.name in observation.samples),
                folded=0,
                oldest=self.stamp(observation.status[m.name].stamp_ns),
                suspect=False,
                suspicion=float("nan"),
                reason=observation.status[m.name].reason,
                further_ns=np.zeros(0, np.int64),
            )
            for m in self.modalities
        ]
        message = self.type("smvae_msgs/msg/LatentState")(
            header=self.header(reference),
            epoch=1,
            sequence=self.sequence,
            valid=valid,
            status=1 if valid else 3,
            model_generation=1,
            mean=mean,
            variance=variance,
            kl=0.0,
            novelty=float("nan"),
            modalities=statuses,
            inference_time=duration,
            node_latency=duration,
            covariance=0,
            memory=duration,
            predict_ahead=duration,
            novelty_stamp=self.stamp(0),
        )
        self.sequence += 1
        self.write(LATENT, "smvae_msgs/msg/LatentState", message, reference + LATENCY_NS)
        if not valid:
            return
        for modality in self.modalities:
            if modality.is_image:
                drawn = self.runtime.reconstruct(modality.name, mean)
                topic = predicted_topic(modality)
                self.image(topic, modality, drawn, reference, reference + LATENCY_NS)

    def model_info(self) -> None:
        message = self.type("smvae_msgs/msg/ModelInfo")(
            header=self.header(self.now_ns),
            generation=1,
            name="test",
            version="0",
            sha256=self.runtime.bundle.sha256,
            latent_dim=self.runtime.manifest.latent_dim,
            modalities=[],
            novelty_warn=0.0,
            novelty_error=0.0,
            provider=self.runtime.provider,
            runtime_version=self.runtime.version,
            robot="",
            targets=[],
            settings=[],
        )
        self.write(MODEL_INFO, "smvae_msgs/msg/ModelInfo", message, self.now_ns)
