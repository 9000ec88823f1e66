"""Whether a model of a recorded robot equals one of the same trajectories simulated directly.

    python -m benchmarks.robots.recorded_robot EPISODES --folder FOLDER

EPISODES, of `smvae simulate`, are written once more as bags, one a trajectory: the messages that
the simulated robot publishes, at its rates and with its stamps, the wrench at 500 Hz. Then
`smvae episodes` converts them, once with steps by the camera, as simulated episodes have them, and
once by the timer. All forms go through `smvae train --preset robot` and `smvae evaluate` with the
same seeds and steps, and are scored on the same held-out trajectories, each in its own form.

Written is by which share the error of a recorded form's model is larger, for each target in the
mean over subsets of sensors, paired by trajectory. Runs that are finished are not made again.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from benchmarks.tables.paired import summarise
from smvae_core.files import write_text
from smvae_core.messages import ConversionOptions
from smvae_core.presets import VISION_TOUCH
from smvae_datasets.vision_touch.files import Trajectory, list_trajectories, read_file
from smvae_training.cli import main as smvae
from smvae_training.evaluate.sensor_value import CONSTANT

RESULTS = Path(__file__).parents[1] / "results" / "recorded_robot.json"
DIRECT = "direct"
#: Recorded form -> what its steps are taken by.
TRIGGERS = {"camera": "rgb", "timer": "timer"}
#: A difference counts from so many standard errors on.
STANDARD_ERRORS = 2.0
START_NS, MS = 1_700_000_000_000_000_000, 1_000_000
#: Of the simulated robot: a step, from an image to the command after it, between two readings.
STEP_NS, COMMAND_NS, READING_MS = 50 * MS, 100_000, 2
#: From the stamp of a message to its reception: images are rendered first, and commands after them.
RENDERED_NS, SENT_NS = 6 * MS, 1 * MS
TOPICS = {
    "rgb": "/rgb/image",
    "depth": "/depth/image",
    "force": "/wrench",
    "action": "/action",
}
#: Few likelihoods and probes: they are not compared.
EVALUATION = ("--max-records", "500", "--likelihood-records", "10", "--train-records", "200")
#: The sensors of the simulated robot as preset `robot` has them without a declaration.
ROBOT = """
robot: simulated_robot
sensors:
  rgb: {kind: color_image, channel: {topic: /rgb/image}, size: [SIDE, SIDE], fit: stretch}
  depth:
    kind: depth_image
    channel: {topic: /depth/image}
    size: [SIDE, SIDE]
    fit: stretch
    range_m: [1.0e-7, 2.0]
  force:
    kind: signal
    channel: {topic: /wrench, type: geometry_msgs/msg/WrenchStamped}
    select: [wrench.force, wrench.torque]
    rate_hz: 1000
  action:
    kind: command
    channel: {topic: /action}
    select: [linear.x, linear.y, linear.z, angular.z]
    step_time_s: 0.05
episodes: {rate_hz: 20, trigger: TRIGGER, split_on: file}
"""


def messages(trajectory: Trajectory) -> Iterator[tuple[str, int, int, NDArray[Any]]]:
    """Yield (sensor, stamp, receive time, sample) of a trajectory in the order of reception."""
    found: list[tuple[int, str, int, NDArray[Any]]] = []
    for k, path in enumerate(trajectory.files):
        steps = read_file(path, ["image", "depth_data", "ee_forces_continuous", "action"])
        for row, readings in enumerate(steps["ee_forces_continuous"]):
            begin = START_NS + (len(steps["action"]) * k + row) * STEP_NS
            command, image = begin + COMMAND_NS, begin + STEP_NS
            found.append((begin + RENDERED_NS, "action", command, steps["action"][row]))
            for after_ms in range(READING_MS, len(readings) + 1, READING_MS):
                stamp = begin + after_ms * MS
                found.append((stamp + SENT_NS, "force", stamp, readings[after_ms - 1]))
            depth = steps["depth_data"][row][..., 0]
            found.append((image + RENDERED_NS, "rgb", image, steps["image"][row]))
            found.append((image + RENDERED_NS, "depth", image, depth))
        found.sort(key=lambda each: each[0])
    for received, sensor, stamp, sample in found:
        yield sensor, stamp, received, sample


def record(trajectory: Trajectory, bag: Path) -> None:
    """Write a trajectory as a bag."""
    store = get_typestore(Stores.ROS2_JAZZY)
    options = ConversionOptions(step_time_s=STEP_NS * 1e-9)
    sensors = {m.name: m for m in VISION_TOUCH}
    converters = {name: m.converter() for name, m in sensors.items()}
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {
            name: writer.add_connection(TOPICS[name], each.message_type, typestore=store)
            for name, each in converters.items()
        }
        for name, stamp, received, sample in messages(trajectory):
            to = converters[name]
            message = blank(store.types, to.message_type)
            to.fill(sensors[name], message, sample, stamp, "", options)
            if sensors[name].is_image:
                message.data = np.frombuffer(message.data, np.uint8)
            writer.write(topics[name], received, store.serialize_cdr(message, to.message_type))


def blank(types: Mapping[str, Any], message_type: str) -> Any:
    """Return an empty message of one of the robot's types."""
    stamp = types["builtin_interfaces/msg/Time"](sec=0, nanosec=0)
    header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="")
    vectors = [types["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0) for _ in range(2)]
    if message_type == "sensor_msgs/msg/Image":
        return types[message_type](header, 0, 0, "", 0, 0, np.zeros(0, np.uint8))
    inner = {
        "geometry_msgs/msg/WrenchStamped": "geometry_msgs/msg/Wrench",
        "geometry_msgs/msg/TwistStamped": "geometry_msgs/msg/Twist",
    }[message_type]
    return types[message_type](header, types[inner](*vectors))


def convert(episodes: Path, folder: Path, side: int) -> dict[str, Path]:
    """Record the trajectories of a folder and convert the bags; return form -> episodes."""
    bags, forms = [], {DIRECT: episodes}
    for trajectory in list_trajectories(episodes):
        bags.append(folder / "bags" / trajectory.name)
        if not bags[-1].exists():
            bags[-1].parent.mkdir(parents=True, exist_ok=True)
            record(trajectory, bags[-1])
    for form, trigger in TRIGGERS.items():
        declaration, forms[form] = folder / f"{form}.yaml", folder / form
        write_text(declaration, ROBOT.replace("TRIGGER", trigger).replace("SIDE", str(side)))
        done = ["--robot", str(declaration), "--out", str(forms[form])]
        _run(["episodes", *map(str, bags), *done])
    return forms


def score(run: Path, data: Path, training: Sequence[str]) -> dict[str, Any]:
    """Train and evaluate by the commands, where that is not done; return the errors by group."""
    results = run / "evaluation" / "results.json"
    if not results.is_file():
        of = ["train", "--preset", "robot", "--data", str(data), "--out", str(run), "--no-report"]
        _run([*of, *(["--resume"] if (run / "config.json").is_file() else training)])
        _run(["evaluate", str(run), "--data", str(data), *EVALUATION])
    return dict(json.loads(results.read_text(encoding="utf-8"))["groups"])


def _run(words: list[str]) -> None:
    if status := smvae(words):
        sys.exit(f"smvae {' '.join(words)} ended with {status}")


def rises(direct: dict[str, Any], recorded: dict[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Return, of each target, by which share its error is larger once recorded, by trajectory (T,).

    The mean over the subsets of sensors of the ratio of errors, minus 1.
    """
    names = [name.partition("/")[0] for name in recorded["names"]]
    if names != direct["names"]:
        sys.exit(f"other trajectories are held out: {names}, expected {direct['names']}")
    subsets = [subset for subset in direct["errors"] if subset != CONSTANT]
    return {
        name: np.mean(
            [
                np.divide(recorded["errors"][s][name], direct["errors"][s][name], dtype=float)
                for s in subsets
            ],
            axis=0,
        )
        - 1.0
        for name in TOPICS
    }


def summary(found: Sequence[dict[str, NDArray[np.float64]]]) -> dict[str, Any]:
    """Return each target's rise over seeds and trajectories, and whether it is within chance."""
    told = {}
    for name in TOPICS:
        each = summarise(np.stack([of[name] for of in found]))
        parts = [e for e in (each.item_error, each.seed_error) if math.isfinite(e)]
        error = math.hypot(*parts)
        told[name] = {
            "rise": each.mean,
            "standard_error_of_trajectories": each.item_error,
            "standard_error_of_seeds": each.seed_error,
            "within_chance": abs(each.mean) <= STANDARD_ERRORS * error,
        }
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of simulated episodes")
    parser.add_argument("--folder", type=Path, required=True, help="of bags, episodes and runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--form", choices=[*TRIGGERS], action="append", help="default: all")
    parser.add_argument("--steps", type=int, default=600, help="training steps of each model")
    parser.add_argument("--side", type=int, default=32, help="of the images [px]")
    parser.add_argument("--base-channels", type=int, default=8, help="of the image networks")
    parser.add_argument("--held-out", type=float, default=0.34, help="share of the trajectories")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON file, written by seed")
    arguments = parser.parse_args()
    chosen = arguments.form or [*TRIGGERS]
    forms = convert(arguments.data, arguments.folder, arguments.side)
    common = ["--max-steps", str(arguments.steps), "--data.held-out", str(arguments.held_out)]
    common += ["--model.base-channels", str(arguments.base_channels), "--log.no-tensorboard"]
    found: dict[str, list[dict[str, NDArray[np.float64]]]] = {form: [] for form in chosen}
    for count, seed in enumerate(arguments.seeds, start=1):
        scored = {}
        for form in (DIRECT, *chosen):
            run = arguments.folder / "runs" / f"{form}{seed}"
            sensors = ["--model.modalities", f"vision_touch:{arguments.side}"]
            own = sensors if form == DIRECT else []
            scored[form] = score(run, forms[form], [*common, *own, "--seed", str(seed)])
        for form in chosen:
            found[form].append(rises(scored[DIRECT], scored[form]))
        results = {
            "side": arguments.side,
            "steps": arguments.steps,
            "base_channels": arguments.base_channels,
            "seeds": arguments.seeds[:count],
            "held_out_trajectories": len(scored[DIRECT]["names"]),
            "held_out_records": {form: sum(of["records"]) for form, of in scored.items()},
            "recorded": {form: summary(each) for form, each in found.items()},
        }
        write_text(arguments.out, json.dumps(results, indent=1) + "\n")
        print(json.dumps(results["recorded"], indent=1), flush=True)


if __name__ == "__main__":
    main()
