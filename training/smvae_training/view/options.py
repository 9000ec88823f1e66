"""What `smvae view` may be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smvae_core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """What is seen, and where it goes."""

    bundle: Path | None = None
    """Bundle of `smvae export` to see through; of a run its own weights by default. Without it
    recordings and episodes are seen as they are."""
    robot: Path | None = None
    """Without --bundle: the robot.yaml that says what of a recording is seen; by default what
    `smvae robot scaffold` finds in it."""
    data: Path | None = None
    """Of a run: its data; where training found them by default."""
    save: Path | None = None
    """Write an .rrd file for rerun instead of opening its window."""
    picture: Path | None = None
    """Write one picture (PNG) to share; needs neither rerun nor a display."""
    viewer_python: Path | None = None
    """Python that has rerun; SMVAE_VIEWER_PYTHON or .venv-view by default."""
    live: bool = False
    """PATH is the bundle that a running node has: show what the node sees, until Ctrl-C."""
    drop: str = ""
    """Sensors that are not observed, parted by commas; they are still compared with."""
    topics: tuple[str, ...] = ()
    """Of a recording: topics that differ from the node's defaults, NAME=TOPIC each."""
    params_file: Path | None = None
    """Of a recording: the node's parameter file."""
    max_records: int = 2000
    """At most so many records of a run's held-out part, or steps of episodes; a LeRobot folder
    is shown up to the episode that reaches them."""

    def __post_init__(self) -> None:
        if self.max_records < 1:
            raise ConfigError(f"--max-records must be at least 1, got {self.max_records}")
        if self.live and self.picture is not None:
            raise ConfigError("live there is no picture: leave out --picture, or view a recording")
        for path, suffix in ((self.save, ".rrd"), (self.picture, ".png")):
            if path is not None and path.suffix != suffix:
                raise ConfigError(f"{path}: expected a file that ends in {suffix}")

    @property
    def dropped(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.drop.split(",") if name.strip())
