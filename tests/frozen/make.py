"""How everything frozen in this folder was made; no test runs it.

`python -m tests.frozen.make WHAT [DEMO_FOLDER]` from the repository's root, WHAT being one of

| model | trains and exports the run and the bundle, writes samples.npz and what they give |
| losses | golden_losses.json and construction.json: first losses, first random numbers |
| bag | records bag/ from a node over DDS (needs the built workspace) |
| lines | help.txt, help_ros.txt, parameters.txt, topics.txt, launch.txt, executables.txt,
  summary.txt, perception.yaml |
| summary | compares DEMO_FOLDER/summary.json of a finished demo with summary.txt |

All of it was made once, before the core was rebuilt, and stays: a file that is made anew says what
today's code does, not what it must do. summary.txt came from a demo of six episodes, whose folder
`lines` is given: `scripts/demo.py --episodes 6 --steps 50 --preset debug --dwell 2`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests.frozen import frozen, lines
from tests.frozen.episodes import write_episodes

FOLDER = Path(__file__).parent
#: Smaller than `debug` by itself, so that the folder stays small.
SMALL = ["--max-steps", "40", "--model.embedding-dim", "16", "--model.base-channels", "2"]


@contextmanager
def inside() -> Iterator[Path]:
    """Work in a folder of its own: what is written names no path of this machine."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def smvae(*words: str) -> None:
    """Run a command of ours."""
    from smvae_training.cli import main

    assert main(list(words)) == 0


def make_model() -> None:
    """Train, fit the readout, export, and write what the bundle makes of the samples."""
    with inside() as folder:
        write_episodes(Path("episodes"))
        made = ["--data", "episodes", "--out", "run", "--no-report", "--data.held-out", "0.34"]
        smvae("train", "--preset", "debug", *made, *SMALL)
        smvae("readout", "run", "--data", "episodes")
        smvae("export", "run", "bundle", "--name", "frozen")
        smvae("evaluate", "run", "--data", "episodes", *frozen.FEW)
        for name, files in (
            ("run", ("config.json", "weights.safetensors", "readout.json")),
            ("bundle", tuple(p.name for p in Path("bundle").iterdir())),
        ):
            shutil.rmtree(FOLDER / name, ignore_errors=True)
            (FOLDER / name).mkdir()
            for file in files:
                shutil.copyfile(folder / name / file, FOLDER / name / file)
        ratios = frozen.ratios(Path("run/evaluation/results.json"))
        (FOLDER / "ratios.json").write_text(json.dumps(ratios, indent=1) + "\n")
    np.savez_compressed(FOLDER / "samples.npz", **frozen.make_samples())
    np.savez_compressed(FOLDER / "latents.npz", **frozen.latents(FOLDER / "bundle"))


def make_losses() -> None:
    """Write the first losses of every variant, and the first random numbers of every model."""
    with inside() as folder:
        write_episodes(Path("episodes"))
        losses = {
            name: frozen.first_losses(name, Path("episodes"), folder / f"run{number}")
            for number, name in enumerate(frozen.VARIANTS)
        }
    (FOLDER / "golden_losses.json").write_text(json.dumps(losses, indent=1) + "\n")
    built = {name: frozen.construction(name) for name in frozen.BUILT}
    text = json.dumps(built).replace('], "', '],\n"').replace('}, "', '},\n"')
    (FOLDER / "construction.json").write_text(text + "\n")


def make_lines(demo: Path) -> None:
    """Write what users see, a line per promise."""
    for name, read in {
        "help": lines.command_help,
        "help_ros": lines.ros_help,
        "parameters": lines.parameters,
        "topics": lines.topics,
        "launch": lines.launch_arguments,
        "executables": lines.executables,
        "summary": lambda: lines.summary_keys(json.loads((demo / "summary.json").read_text())),
    }.items():
        (FOLDER / f"{name}.txt").write_text("\n".join(read()) + "\n", encoding="utf-8")
    shipped = lines.SOURCES / "smvae_ros/config/perception.yaml"
    shutil.copyfile(shipped, FOLDER / "perception.yaml")


def compare_summary(demo: Path) -> None:
    """Say which keys a demo's summary.json lacks."""
    now = set(lines.summary_keys(json.loads((demo / "summary.json").read_text())))
    gone = [k for k in (FOLDER / "summary.txt").read_text().splitlines() if k not in now]
    sys.exit(f"gone: {gone}" if gone else 0)


class Player:
    """Plays sensors of 32 x 32 pixels that compress well, 100 ms at a time."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._step = 0

    def mark(self, number: int, enabled: tuple[str, ...], every: tuple[str, ...]) -> str:
        """Return the text that the schedule of the demo's robot publishes at a switch."""
        sensors = {"rgb": "rgb", "depth": "depth", "force": "wrench", "action": "action"}
        now_ns = self._client.now_ns()
        named = {
            "label": str(number),
            "enabled": [sensors[n] for n in enabled],
            "sensors": [sensors[n] for n in every],
        }
        return json.dumps(named | {"asked_ns": now_ns, "done_ns": now_ns})

    def play(self, enabled: tuple[str, ...]) -> None:
        """Publish ten readings 10 ms apart, then one sample of the others at the same moment."""
        self._step += 1
        bar = np.abs(np.arange(32) - 4 * (self._step % 8)) < 4
        level = np.broadcast_to(bar[None], (32, 32))
        made = {
            "rgb": np.where(level[..., None], [200, 180, 40], 60).astype(np.uint8),
            "depth": np.where(level, 0.5, 0.875).astype(np.float32),
            "action": np.float32([0.01, -0.005, 0.002, 0.001]) * (self._step % 5),
        }
        for reading in range(10):
            self._client.spin(0.01)
            stamp = self._client.now_ns()
            if "force" in enabled:
                force = np.float32([1, -2, 5, 0.1, 0.2, -0.1]) * np.float32(1 + reading / 10)
                self._send("force", force, stamp)
        for name in enabled:
            if name in made:
                self._send(name, made[name], stamp)

    def _send(self, name: str, sample: Any, stamp_ns: int) -> None:
        message = self._client.message(name, sample, stamp_ns)
        self._client.publish(name, stamp_ns, message)


def make_bag() -> None:
    """Record four sets of sensors, 1.6 s each at 10 Hz, with what the node says of them."""
    sys.path.insert(0, str(lines.SOURCES / "smvae_ros/test"))
    from node_harness import Client, NodeProcess
    from robot_harness import Program
    from smvae_msgs.msg import Timing
    from std_msgs.msg import String

    from smvae_core.runtime import Runtime
    from smvae_datasets.simulation.ros_domain import free_domain

    bag, bundle = FOLDER / "bag", FOLDER / "bundle"
    shutil.rmtree(bag, ignore_errors=True)
    domain, modalities = free_domain(), Runtime(bundle).modalities
    topics = (r"/rgb/image", r"/depth/image", r"/wrench", r"/action", r"/diagnostics")
    topics += (r"/smvae/(latent|model_info|debug/timing)", r"/demo/schedule")
    with tempfile.TemporaryDirectory() as logs:
        node = NodeProcess(domain, Path(logs, "node"), {"bundle": bundle})
        record = [str(bag), "--topics", *topics]
        recorder = Program("bag_recorder", domain, Path(logs, "recorder"), *record)
        client = Client(domain, modalities)
        try:
            client.listen(Timing, "/smvae/debug/timing")
            marks = client.node.create_publisher(String, "/demo/schedule", 10)
            client.activate()
            client.until(marks.get_subscription_count)
            client.spin(3.0)
            player = Player(client)
            every = tuple(m.name for m in modalities)
            played = (every, ("force", "action"), ("rgb",), (), ())
            for number, enabled in enumerate(played):
                marks.publish(String(data=player.mark(number, enabled, every)))
                end_s = time.monotonic() + (1.6 if number < len(played) - 1 else 0.2)
                while time.monotonic() < end_s:
                    player.play(enabled)
            client.spin(1.0)
            assert recorder.interrupt() == 0, recorder.text()
        finally:
            client.close()
            recorder.end()
            node.end()
    np.savez_compressed(FOLDER / "bag_latents.npz", **frozen.bag_latents(bag, bundle))


def main() -> None:
    """Make one part."""
    what, *demo = sys.argv[1:]
    if what == "lines":
        make_lines(Path(*demo))
    elif what == "summary":
        compare_summary(Path(*demo))
    else:
        {"model": make_model, "losses": make_losses, "bag": make_bag}[what]()


if __name__ == "__main__":
    main()
