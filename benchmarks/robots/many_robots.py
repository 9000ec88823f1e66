"""Robots of 1 to 32 sensors, from robot.yaml to live latents over DDS; one JSON file.

    python -m benchmarks.robots.many_robots

Each robot is declared as a text, trained for a few steps on examples of its sensors, exported with
its novelty calibrated, and run for 30 s: windows at 100 Hz, all else at 10 Hz, latents at 10 Hz.
The node and what sends to it are processes of their own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.command import parser_of
from benchmarks.reliability import conditions
from benchmarks.robots import sixteen_sensors
from benchmarks.robots.sixteen_sensors import export, timed
from smvae_core.messages import ConversionOptions
from smvae_core.messages.base import set_header
from smvae_core.modality import Modality
from smvae_core.preprocessing import prepare
from smvae_core.robot import Robot, read_robot
from smvae_datasets.dataset import ArrayDataset
from smvae_training.run import Run, write_text

RESULTS = Path(__file__).parents[1] / "results" / "many-robots.json"
COUNTS = (1, 4, 9, 16, 32)
#: What is asked: share of latents that fuse all sensors.
LEAST_SHARE = 0.95
#: Of latents and of all messages but those of windows; of windows [Hz].
RATE_HZ, WINDOW_RATE_HZ = 10, 100
#: Groups of records, half of them held out; different messages of each sensor, sent in turn.
GROUPS, VARIETY = 20, 8
#: Sensors in the order in which robots get them; the second round has the same with another number.
SENSORS = {
    "head": "kind: color_image, size: [64, 64]",
    "wrist": "kind: color_image, size: [64, 64]",
    "left_wrench": "kind: signal, select: [wrench.force, wrench.torque], rate_hz: 100",
    "right_wrench": "kind: signal, select: [wrench.force, wrench.torque], rate_hz: 100",
    "lidar": "kind: scan, beams: 64, range_m: [0.1, 10.0]",
    "imu": "kind: signal, select: [angular_velocity, linear_acceleration], rate_hz: 100",
    "joints": "kind: joint_state, joints: [j1, j2, j3, j4, j5, j6, j7], select: [position]",
    "tactile": "kind: color_image, size: [32, 32]",
    "depth": "kind: depth_image, size: [64, 64], range_m: [0.1, 4.0]",
}
TYPES = {"left_wrench": "WrenchStamped", "right_wrench": "WrenchStamped", "imu": "Imu"}


def declaration(count: int) -> str:
    """Return robot.yaml of a robot with so many sensors."""
    lines = [f"robot: robot_{count}", "sensors:"]
    for i in range(count):
        base = list(SENSORS)[i % len(SENSORS)]
        name, window = f"{base}{i // len(SENSORS)}", ", window_s: 0.16" if base in TYPES else ""
        package = "sensor_msgs" if base == "imu" else "geometry_msgs"
        of = f", type: {package}/msg/{TYPES[base]}" if base in TYPES else ""
        lines.append(f"  {name}: {{{SENSORS[base]}{window}, channel: {{topic: /{name}{of}}}}}")
    return "\n".join(lines) + "\n"


def train(
    modalities: tuple[Modality, ...], out: Path, count: int, steps: int
) -> tuple[Run, ArrayDataset]:
    """Train `vision_touch`'s model on examples of these sensors for a few steps."""
    arrays = {
        m.name: np.stack([prepare(m, m.example_sample(seed)) for seed in range(count)])
        for m in modalities
    }
    group = (np.arange(count) * GROUPS // count).astype(np.int32)
    data = ArrayDataset(
        sensors=modalities,
        arrays=arrays,
        group=group,
        group_names=tuple(f"t{i}" for i in range(GROUPS)),
        stamp_ns=np.arange(count, dtype=np.int64) * 100_000_000,
    )
    return sixteen_sensors.train(modalities, data, out, steps), data


def send(robot: Robot, image_rate_hz: int = RATE_HZ) -> float:
    """Send what the sensors would until standard input ends; return the messages per second."""
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from smvae_ros.listen.message_types import message_class

    profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    rclpy.init()
    node = rclpy.create_node("sensors")
    publishers: dict[str, Any] = {}
    made: dict[str, list[Any]] = {}
    for sensor in robot.sensors:
        m, converter = sensor.modality, sensor.modality.converter(sensor.channel.type)
        of = message_class(converter.message_type)
        publishers[m.name] = node.create_publisher(of, sensor.channel.topic, profile)
        made[m.name] = [
            converter.fill(m, of(), _value(m, seed), 1, m.name, ConversionOptions())
            for seed in range(VARIETY)
        ]
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    sent = Counter[str]()
    begun, tick = time.time_ns(), 0
    while not ended.is_set():
        at = begun + tick * 10**9 // WINDOW_RATE_HZ
        ended.wait(max(0, at - time.time_ns()) * 1e-9)
        for sensor in robot.sensors:
            name, family = sensor.name, sensor.modality.family
            rate_hz = image_rate_hz if family.is_image else RATE_HZ
            due = tick * rate_hz // WINDOW_RATE_HZ != (tick - 1) * rate_hz // WINDOW_RATE_HZ
            if family.is_window or due:
                message = made[name][sent[name] % VARIETY]
                set_header(message, at, name)
                publishers[name].publish(message)
                sent[name] += 1
        tick += 1
    node.destroy_node()
    rclpy.try_shutdown()
    return sent.total() / ((time.time_ns() - begun) * 1e-9)


def _value(modality: Modality, seed: int) -> Any:
    """Return what one message holds: a sample, or one reading of a window."""
    sample = modality.example_sample(seed)
    return sample[-1] if modality.family.is_window else sample


def live(
    bundle: Path,
    robot: Robot,
    declared: Path,
    seconds: float,
    log: Path,
    *,
    rate_hz: int = RATE_HZ,
    image_rate_hz: int = RATE_HZ,
) -> dict[str, Any]:
    """Run a node on what its sensors send; return what its latents hold, and what it cost.

    Args:
        bundle: What it runs.
        robot: Its sensors.
        declared: Their declaration.
        seconds: For so long.
        log: Of the node.
        rate_hz: At most so many latents per second.
        image_rate_hz: Of each camera.
    """
    from benchmarks.reliability.node import NodeProcess, environment, random_domain
    from benchmarks.reliability.observer import Observer

    domain = random_domain()
    parameters = {"bundle": bundle, "max_rate_hz": float(rate_hz)}
    rate = ["--image-rate", str(image_rate_hz)]
    sensors = [
        sys.executable,
        "-m",
        "benchmarks.robots.many_robots",
        "--send",
        str(declared),
        *rate,
    ]
    with NodeProcess(domain, log, parameters) as node, Observer(domain, keep=10**5) as observer:
        observer.activate()
        with subprocess.Popen(
            sensors, env=environment(domain), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        ) as sender:  # fmt: skip
            everything = {sensor.name for sensor in robot.sensors}
            observer.heard(lambda h: set(h.fused) == everything, "a latent of all sensors")
            observer.spin(2.0)
            observer.latents.clear()
            before, started = node.usage()["cpu_s"], time.monotonic()
            observer.spin(seconds)
            took, cpu = time.monotonic() - started, node.usage()["cpu_s"] - before
            heard = list(observer.latents)
            sent = json.loads(sender.communicate("")[0])
    whole = [h for h in heard if set(h.fused) == everything]
    missing = Counter(
        f"{s.name}: {s.reason}"
        for h in heard
        for s in h.message.modalities
        if s.name not in h.fused
    )
    return {
        "seconds": took,
        "latents": len(heard),
        "rate_hz": len(heard) / took,
        "share_of_all": len(whole) / len(heard),
        "refused": sum(s.rejected for s in heard[-1].message.modalities),
        "missing": dict(missing.most_common(10)),
        "cpu_share": cpu / took,
        "cpu_ms_per_latent": 1e3 * cpu / len(heard),
        "node_latency_ms": _percentiles(
            [_ms(h.message.node_latency) for h in heard if h.message.valid]
        ),
        "messages_per_s": round(sent, 1),
    }


def _ms(duration: Any) -> float:
    return float(duration.sec * 1e3 + duration.nanosec * 1e-6)


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 2) for q in (50, 99)}


def measure(count: int, folder: Path, steps: int, records: int, seconds: float) -> dict[str, Any]:
    """Return all that is measured of one robot."""
    made = make(count, folder, steps, records)
    found = live(made.bundle, made.robot, made.declared, seconds, folder / "node.log")
    return {**made.about, "live": found}


class Made(NamedTuple):
    """A robot and its bundle."""

    robot: Robot
    declared: Path
    """Its declaration."""
    bundle: Path
    about: dict[str, Any]
    """What it is, and how long that took."""


def make(count: int, folder: Path, steps: int, records: int) -> Made:
    """Declare a robot of so many sensors, train and export its bundle below a new folder."""
    folder.mkdir()
    declared = folder / "robot.yaml"
    declared.write_text(declaration(count), encoding="utf-8")
    robot = read_robot(declared)
    (run, data), training = timed(lambda: train(robot.modalities, folder / "run", records, steps))
    bundle, exporting = timed(lambda: export(run, data, folder / "bundle", robot))
    kinds = dict(Counter(m.kind for m in robot.modalities))
    about = {"kinds": kinds, "train": training, "export": exporting}
    return Made(robot, declared, bundle.path, about)


def main(arguments: list[str] | None = None) -> int:
    """Measure, add to the file, and return 1 if latents lack sensors or one was refused."""
    parser = parser_of("benchmarks.robots.many_robots", __doc__)
    parser.add_argument("--sensors", type=int, nargs="+", default=COUNTS, help="of each robot")
    parser.add_argument("--seconds", type=float, default=30.0, help="live, of each robot")
    parser.add_argument("--steps", type=int, default=10, help="of training")
    parser.add_argument("--records", type=int, default=240, help="half of them held out")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--send", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--image-rate", type=int, default=RATE_HZ, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.send is not None:
        print(json.dumps(send(read_robot(given.send), given.image_rate)))
        return 0
    about, failed = conditions.before(), 0
    robots = json.loads(given.out.read_text("utf-8"))["robots"] if given.out.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for count in given.sensors:
            found = measure(
                count, Path(folder) / str(count), given.steps, given.records, given.seconds
            )
            robots[str(count)] = found | {"started": about["started"], "load": conditions.load()}
            results = about | {"least_share": LEAST_SHARE, "robots": robots}
            write_text(given.out, json.dumps(results, indent=1) + "\n")
            run = found["live"]
            failed += run["share_of_all"] < LEAST_SHARE or run["refused"] > 0
            print(
                f"{count} sensors: {run['latents']} latents, {run['share_of_all']:.1%} of all "
                f"sensors, {run['refused']} messages refused, {run['cpu_share']:.0%} of a core, "
                f"{run['cpu_ms_per_latent']:.1f} ms of CPU per latent",
                flush=True,
            )
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
