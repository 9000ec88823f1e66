"""What can go wrong in the simulation: no engine, no renderer, other settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from smvae_core.errors import SMVAEError


class SimulationError(SMVAEError):
    """Root of the simulation's errors."""


class MissingEngine(SimulationError, ImportError):
    """MuJoCo cannot be imported."""

    def __init__(self, reason: object) -> None:
        super().__init__(
            f"the simulated robot needs MuJoCo, and importing it failed: {reason}. "
            "Install it with: pip install 'smvae[sim]'"
        )


class MissingRenderer(SimulationError, RuntimeError):
    """No OpenGL context could be made."""

    def __init__(self, backend: str, reason: object) -> None:
        super().__init__(
            f"no camera images: MuJoCo could not open OpenGL ({reason}). Headless rendering needs "
            f"MUJOCO_GL=egl set before mujoco is first imported (it is {backend!r} now) and: "
            "apt-get install libegl1 libgl1"
        )


class NotReset(SimulationError, RuntimeError):
    """The robot was asked to move before its first episode."""

    def __init__(self) -> None:
        super().__init__("the simulated robot has no episode yet: call reset(episode) first")


class UnknownSetting(SimulationError, ValueError):
    """A setting has a value that is not one of its choices or lies outside its range."""

    def __init__(self, name: str, got: object, expected: str) -> None:
        super().__init__(f"{name} is {got!r}: expected {expected}")


class SettingsMismatch(SimulationError, ValueError):
    """The output folder was begun with other settings."""

    def __init__(self, path: Path, differing: Mapping[str, tuple[object, object]]) -> None:
        lines = ", ".join(
            f"{name} {old!r} there and {new!r} now" for name, (old, new) in differing.items()
        )
        super().__init__(
            f"{path} was made with other settings: {lines}. "
            "Give the old settings to resume, or another folder"
        )


class SimulationStopped(SimulationError, RuntimeError):
    """A worker process failed."""

    def __init__(self, episode: int, reason: object) -> None:
        super().__init__(
            f"episode {episode} failed: {reason}. Run again to resume from the episodes on disk"
        )
