"""`smvae view`."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import tyro

from smvae_core.errors import ConfigError
from smvae_training.commands.arguments import parse
from smvae_training.view.options import ViewOptions

VIEW_HELP = """See what a robot and its model see: a run's held-out records, recordings, episodes.

Without a model: every sensor over time, with the state and the age that it would have in the node.
Sensors are those of robot.yaml, or those that are found. With a model: each sensor beside what is
predicted of it, the latent's mean and deviation, and novelty.

It opens a window of rerun, or writes an .rrd file for rerun. --picture writes one picture and needs
neither rerun nor a display. rerun needs another NumPy than ROS 2 Jazzy, so it has a Python of its
own: scripts/setup_viewer.sh puts it into .venv-view, where it is found.

examples:
  smvae view BAG --picture bag.png               (rosbag2, ROS 1's .bag, or a LeRobot folder)
  smvae view BAG --robot robot.yaml --save bag.rrd
  smvae view episodes --save episodes.rrd        (a folder that `smvae episodes` wrote)
  smvae view run --save run.rrd                  (then: .venv-view/bin/rerun run.rrd)
  smvae view runs/demo/bag --bundle runs/demo/bundle             (opens a window)
  smvae view runs/demo/bag --bundle runs/demo/bundle --picture bag.png
  smvae view episodes --bundle bundle --save blind.rrd --drop rgb,depth
  smvae view bundle --live                       (what the running node sees; needs ROS)"""
#: What shows a running node, in the ROS workspace.
LIVE = "smvae_tools.viewer"


def view(arguments: list[str], prog: str) -> int:
    """Run `smvae view`."""

    def options(
        path: tyro.conf.Positional[Path], config: tyro.conf.OmitArgPrefixes[ViewOptions]
    ) -> tuple[Path, ViewOptions]:
        """Collect the arguments.

        Args:
            path: Run of `smvae train`, recording (rosbag2, ROS 1, LeRobot), or folder of episodes.
            config: What is seen, and where it goes.
        """
        return path, config

    path, config = parse(options, arguments, prog, description=VIEW_HELP)
    if config.live:
        return _live(path, config)
    from smvae_training.threads import use_cores
    from smvae_training.view.show import view as show

    use_cores()
    print(f"{show(path, config)} moments")
    for written in (config.save, config.picture):
        if written is not None:
            print(written)
    return 0


def _live(bundle: Path, config: ViewOptions) -> int:
    """Run the workspace's viewer, which ROS alone can import; return its exit status."""
    if importlib.util.find_spec(LIVE.partition(".")[0]) is None:
        raise ConfigError("--live needs the ROS workspace: source ros2_ws/install/setup.bash")
    command = [sys.executable, "-m", LIVE, str(bundle), "--topics", ",".join(config.topics)]
    command += ["--save", str(config.save)] if config.save else []
    command += ["--viewer-python", str(config.viewer_python)] if config.viewer_python else []
    with subprocess.Popen(command) as viewer:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it hears the same, and finishes
        try:
            return viewer.wait()
        finally:
            signal.signal(signal.SIGINT, before)
