"""`smvae robot`: a robot's declaration, from a recording."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from smvae_core.errors import ConfigError, did_you_mean
from smvae_training.commands.arguments import parse

ROBOT_HELP = """usage: smvae robot ACTION ...

A robot's declaration, robot.yaml: its sensors, where their samples come from, what is recorded
beside them.

actions:
  scaffold  write a first robot.yaml from a recording
  validate  print all that a robot.yaml declares, defaults filled in

`smvae robot ACTION --help` explains one action.

example:
  smvae robot scaffold datasets/my_arm -o robot.yaml
  smvae robot validate robot.yaml"""

VALIDATE_HELP = """Check a robot.yaml, and print all that it declares.

What the file does not say is marked as default. Its output is a robot.yaml too. An unknown key or a
value that cannot be is one line with the path of the key and what would be right.

exit status: 0 it can be used, 2 it cannot.

examples:
  smvae robot validate robot.yaml
  smvae robot validate robot.yaml --json"""

SCAFFOLD_HELP = """Write a first robot.yaml from a recording: read it, and change what is wrong.

Of a LeRobot folder each column becomes a sensor: images as color_image (a square from the middle)
or depth_image, a state with names as joint_state without the joints of hands, other numbers as
vector, yes and no as target. What stays the same everywhere, and what is no sensor, stands at the
end as a comment with the reason. To use the declaration live, add `topic` to each channel.

examples:
  smvae robot scaffold datasets/my_arm -o robot.yaml
  smvae robot scaffold datasets/my_arm --json            (what was found; nothing is written)"""


@dataclass(frozen=True, kw_only=True)
class ScaffoldArguments:
    """What `smvae robot scaffold` takes; the description shown is SCAFFOLD_HELP."""

    recording: tyro.conf.Positional[Path]
    """Folder of a LeRobot data set."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """File to write, which must not exist yet; without it the declaration is printed."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print what was found as JSON."""


def robot(arguments: list[str], prog: str) -> int:
    """Run `smvae robot`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(ROBOT_HELP)
        raise SystemExit(0 if arguments else 2)
    name, *rest = arguments
    if name not in ACTIONS:
        known = ", ".join(ACTIONS)
        raise ConfigError(f"no such action '{name}'; have {known}.{did_you_mean(name, ACTIONS)}")
    return ACTIONS[name](rest, f"{prog} {name}")


def validate(arguments: list[str], prog: str) -> int:
    """Run `smvae robot validate`."""

    def options(
        file: tyro.conf.Positional[Path], json: tyro.conf.FlagCreatePairsOff[bool] = False
    ) -> tuple[Path, bool]:
        """Collect the arguments.

        Args:
            file: The robot.yaml.
            json: Print the declaration as JSON.
        """
        return file, json

    file, as_json = parse(options, arguments, prog, description=VALIDATE_HELP)
    from smvae_core.robot import read_robot, to_yaml
    from smvae_core.robot.reading import load_yaml
    from smvae_core.robot.writing import declaration

    robot = read_robot(file)
    if as_json:
        print(json.dumps(declaration(robot)))
    else:
        print(to_yaml(robot, load_yaml(file)), end="")
    return 0


def scaffold(arguments: list[str], prog: str) -> int:
    """Run `smvae robot scaffold`."""
    given = parse(ScaffoldArguments, arguments, prog, description=SCAFFOLD_HELP)
    from rich.console import Console
    from rich.progress import track

    from smvae_core.files import write_text
    from smvae_datasets.lerobot import LeRobotFolder
    from smvae_datasets.lerobot.scaffold import looked_at, scaffold_lerobot

    if given.out is not None and given.out.exists():
        raise ConfigError(f"{given.out} is there already; give another name, or remove it")
    folder = LeRobotFolder(given.recording)
    chosen = track(
        looked_at(folder), "looking at episodes", console=Console(stderr=True), transient=True
    )
    found = scaffold_lerobot(folder, chosen)
    text = found.text(given.recording)
    if given.out is not None:
        write_text(given.out, text)
    if given.json:
        print(json.dumps({**found.data, "about": found.about, "left_out": found.left_out}))
    else:
        print(text if given.out is None else given.out, end="" if given.out is None else "\n")
    return 0


ACTIONS: dict[str, Callable[[list[str], str], int]] = {
    "scaffold": scaffold,
    "validate": validate,
}
