"""How fast `smvae episodes` converts, and how much memory it takes: VGA colour, depth, a wrench.

    python -m benchmarks.robots.episodes --seconds 20 60

Writes `benchmarks/results/episodes.json`: speed as a multiple of real time on two cores and peak
memory, for recordings of several lengths. The frames are smooth scenes with the noise of a camera.

`times_real_time` is by the clock, and means nothing on a machine that others use. `by_cpu` is what
two cores allow that nobody else uses: the longer of the reading thread's CPU time and half of all
threads'.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from benchmarks.command import parser_of
from smvae_core.files import write_text
from smvae_core.robot import read_robot
from smvae_datasets.recordings.build import build_episodes

RESULTS = Path(__file__).parents[1] / "results" / "episodes.json"
#: Conversion is to be this many times faster than real time.
LIMIT = 5.0
START_NS = 1_700_000_000_000_000_000
CAMERA_HZ, WRENCH_HZ = 30, 500
HEIGHT, WIDTH = 480, 640
#: Different frames; they repeat.
FRAMES = 30
ROBOT = """
robot: benchmark
sensors:
  color: {kind: color_image, channel: {topic: /color}}
  depth: {kind: depth_image, channel: {topic: /depth}}
  force:
    kind: signal
    channel: {topic: /wrench, type: geometry_msgs/msg/WrenchStamped}
    select: [wrench.force, wrench.torque]
"""


def frames(seed: int = 0) -> list[tuple[NDArray[np.uint8], NDArray[np.uint16]]]:
    """Return colour and depth [mm] of a scene, with noise; half of the depth without return."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(FRAMES):
        coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
        colour = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        noisy = np.clip(colour + rng.normal(0.0, 2.0, colour.shape), 0, 255).astype(np.uint8)
        far = rng.integers(500, 3000, (6, 8)).astype(np.float32)
        depth = cv2.resize(far, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        depth = np.clip(depth + rng.normal(0.0, 2.0, depth.shape), 1, 65535)
        found.append((noisy, np.where(depth < 1700, depth, 0).astype(np.uint16)))
    return found


def record(path: Path, seconds: float) -> None:
    """Write a bag of that length."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    scene = frames()

    def header(stamp_ns: int) -> Any:
        sec, nanosec = divmod(stamp_ns, 10**9)
        stamp = types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
        return types["std_msgs/msg/Header"](stamp=stamp, frame_id="")

    def image(values: NDArray[Any], encoding: str, stamp_ns: int) -> Any:
        return types["sensor_msgs/msg/Image"](
            header=header(stamp_ns),
            height=HEIGHT,
            width=WIDTH,
            encoding=encoding,
            is_bigendian=0,
            step=values.nbytes // HEIGHT,
            data=np.ascontiguousarray(values).view(np.uint8).reshape(-1),
        )

    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {
            name: writer.add_connection(name, kind, typestore=store)
            for name, kind in (
                ("/color", "sensor_msgs/msg/Image"),
                ("/depth", "sensor_msgs/msg/Image"),
                ("/wrench", "geometry_msgs/msg/WrenchStamped"),
            )
        }

        def write(topic: str, message: Any, stamp_ns: int) -> None:
            data = store.serialize_cdr(message, topics[topic].msgtype)
            writer.write(topics[topic], stamp_ns + 1_000_000, data)

        frame = 0
        for reading in range(round(seconds * WRENCH_HZ)):
            stamp_ns = START_NS + reading * 10**9 // WRENCH_HZ
            values = np.sin(reading * 0.01 + np.arange(6))
            vectors = [
                types["geometry_msgs/msg/Vector3"](*map(float, values[k : k + 3])) for k in (0, 3)
            ]
            wrench = types["geometry_msgs/msg/Wrench"](*vectors)
            stamped = types["geometry_msgs/msg/WrenchStamped"]
            write("/wrench", stamped(header=header(stamp_ns), wrench=wrench), stamp_ns)
            if reading / WRENCH_HZ >= frame / CAMERA_HZ:
                colour, depth = scene[frame % FRAMES]
                write("/color", image(colour, "rgb8", stamp_ns), stamp_ns)
                write("/depth", image(depth, "16UC1", stamp_ns), stamp_ns)
                frame += 1


def measure(folder: Path, seconds: float) -> dict[str, float]:
    """Convert a recording of a length in a process of its own; return speed, memory and size."""
    bag = folder / f"bag{seconds:g}"
    record(bag, seconds)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        found = pool.apply(_convert, (bag, folder / f"out{seconds:g}", folder / "robot.yaml"))
    stored = sum(p.stat().st_size for p in (folder / f"out{seconds:g}").rglob("*.h5"))
    recorded = sum(p.stat().st_size for p in bag.iterdir())
    return {
        "recorded_s": seconds,
        "times_real_time": seconds / found["wall_s"],
        "by_cpu": seconds / max(found["thread_s"], 0.5 * found["cpu_s"]),
        "cpu_s_per_s": found["cpu_s"] / seconds,
        "reading_thread_s_per_s": found["thread_s"] / seconds,
        "peak_mb": found["peak_mb"],
        "size_of_recording": stored / recorded,
    }


def _convert(bag: Path, out: Path, declaration: Path) -> dict[str, float]:
    cv2.setNumThreads(1)
    robot = read_robot(declaration)
    began_s, began_cpu_s, began_thread_s = (
        time.perf_counter(),
        time.process_time(),
        time.thread_time(),
    )
    build_episodes([bag], robot, out, jobs=1, progress=False)
    return {
        "wall_s": time.perf_counter() - began_s,
        "cpu_s": time.process_time() - began_cpu_s,
        "thread_s": time.thread_time() - began_thread_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Measure and write the results."""
    parser = parser_of("benchmarks.robots.episodes", __doc__)
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=[20.0, 60.0], help="lengths of the recordings"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON file to write")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "robot.yaml").write_text(ROBOT, encoding="utf-8")
        found = [measure(folder, seconds) for seconds in arguments.seconds]
    results = {"cores": 2, "limit": LIMIT, "recordings": found}
    write_text(arguments.out, json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
