"""Steps of simulated robots of 50 ms, each with one camera of 128 x 128, colour and depth.

robosuite runs in an environment of its own, which is given to the command.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np

SIDE, RATE_HZ = 128, 20


class OurRobot:
    """A turn is steps of one episode; its reset is not counted."""

    def __init__(self, steps: int) -> None:
        from smvae_datasets.simulation.robot import SimulatedRobot

        self.robot, self.steps, self.episode = SimulatedRobot(), steps, 0
        self.begin()
        shapes = {k: list(np.shape(v)) for k, v in vars(self.robot.step()).items()}
        self.about = {
            "mujoco": importlib.metadata.version("mujoco"),
            "physics_step_s": float(self.robot.model.opt.timestep),
            "shapes": shapes,
        }

    def begin(self) -> None:
        self.robot.reset(self.episode)
        self.episode += 1

    def turn(self) -> dict[str, Any]:
        for _ in range(self.steps):
            self.robot.step()
        return {"steps": self.steps}


class Robosuite:
    """One of robosuite's tasks, a Panda under its default controller, random commands."""

    def __init__(self, task: str, steps: int) -> None:
        import robosuite

        self.env = robosuite.make(
            task,
            robots="Panda",
            has_renderer=False,
            has_offscreen_renderer=True,
            use_camera_obs=True,
            camera_names="agentview",
            camera_heights=SIDE,
            camera_widths=SIDE,
            camera_depths=True,
            control_freq=RATE_HZ,
            horizon=10**9,
            hard_reset=False,
            seed=0,
        )
        self.steps, self.rng = steps, np.random.default_rng(0)
        low, high = self.env.action_spec
        self.low, self.high = 0.2 * low, 0.2 * high
        seen = self.env.reset()
        self.about = {
            "robosuite": importlib.metadata.version("robosuite"),
            "mujoco": importlib.metadata.version("mujoco"),
            "physics_step_s": float(self.env.model_timestep),
            "shapes": {k: list(np.shape(v)) for k, v in seen.items()},
        }

    def begin(self) -> None:
        self.env.reset()

    def turn(self) -> dict[str, Any]:
        for _ in range(self.steps):
            self.env.step(self.rng.uniform(self.low, self.high))
        return {"steps": self.steps}
