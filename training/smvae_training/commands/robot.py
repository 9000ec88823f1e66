"""`smvae robot`: a robot's declaration, from a recording."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from smvae_core.bag_formats.types import DEFAULT_TYPESTORE
from smvae_core.errors import ConfigError, did_you_mean
from smvae_training.commands.arguments import parse

if TYPE_CHECKING:
    from smvae_core.robot import Robot

ROBOT_HELP = """usage: smvae robot ACTION ...

Work on robot.yaml. That file declares a robot: its sensors, their topics, its targets.

actions:
  scaffold  write a first robot.yaml from a recording
  validate  print all that a robot.yaml declares, or check it against a recording

`smvae robot ACTION --help` explains one action.

example:
  smvae robot scaffold bags/run1 -o robot.yaml           (read it, change what is wrong)
  smvae robot validate robot.yaml bags/run1
  smvae episodes bags/* --robot robot.yaml --out episodes"""

VALIDATE_HELP = """Print all that a robot.yaml declares, or check it against a recording.

The output is a robot.yaml too. What the file does not say is marked as default. For an unknown key
or a wrong value one line gives the path of the key, and what would be right.

With a recording it prints the messages and the rate of every sensor. It converts some messages of
each topic as training would, and so checks type, joints, fields, crop, frame and window. For what
does not fit one line says what would be right. Of a LeRobot folder it reads the first episode.

exit status: 0 the file can be used, 1 a sensor does not fit the recording, 2 it cannot be used.

examples:
  smvae robot validate robot.yaml
  smvae robot validate robot.yaml bags/run1
  smvae robot validate robot.yaml bags/run1 --json"""

SCAFFOLD_HELP = """Write a first robot.yaml from a recording: read it, and change what is wrong.

Some messages of each topic of a bag are read, spread over the bag. They become:

  Image, CompressedImage  color_image or depth_image, a square from the middle
  JointState              joint_state, the joints that move
  LaserScan               scan
  TwistStamped, Twist     command
  forces, IMUs            signal
  other numbers           vector
  Bool                    target

Rates are measured by stamps. Ranges stand as comments. What never changes, and what is no sensor,
stands at the end as a comment with the reason.

Each column of a LeRobot folder becomes a sensor in the same way; the joints of hands are left out.
To use that declaration live, add `topic` to each channel.

examples:
  smvae robot scaffold bags/run1 -o robot.yaml
  smvae robot scaffold datasets/my_arm -o robot.yaml --dry-run   (print it, write nothing)
  smvae robot scaffold run1.bag --json                           (what was found)"""


@dataclass(frozen=True, kw_only=True)
class ScaffoldArguments:
    """What `smvae robot scaffold` takes; the description shown is SCAFFOLD_HELP."""

    recording: tyro.conf.Positional[Path]
    """A bag (folder of rosbag2, .mcap, .db3, ROS 1's .bag), or folder of a LeRobot data set."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """File to write, which must not exist yet; without it the declaration is printed."""
    typestore: str = DEFAULT_TYPESTORE
    """Distribution whose message definitions are used where a bag holds none."""
    dry_run: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print what would be written, and write nothing."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print what was found as JSON; without -o nothing is written."""


@dataclass(frozen=True, kw_only=True)
class ValidateArguments:
    """What `smvae robot validate` takes; the description shown is VALIDATE_HELP."""

    file: tyro.conf.Positional[Path]
    """The robot.yaml."""
    recording: tyro.conf.Positional[Path | None] = None
    """A bag or a LeRobot folder to hold it against."""
    typestore: str = DEFAULT_TYPESTORE
    """Distribution whose message definitions are used where a bag holds none."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the declaration, or what was found of each sensor, as JSON."""


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
    given = parse(ValidateArguments, arguments, prog, description=VALIDATE_HELP)
    from smvae_core.robot import read_robot, to_yaml
    from smvae_core.robot.reading import load_yaml
    from smvae_core.robot.writing import declaration

    robot = read_robot(given.file)
    if given.recording is not None:
        return _hold_against(robot, given, given.recording)
    if given.json:
        print(json.dumps(declaration(robot)))
    else:
        print(to_yaml(robot, load_yaml(given.file)), end="")
    return 0


def _hold_against(robot: Robot, given: ValidateArguments, path: Path) -> int:
    """Print how the sensors fit a recording, and return the exit status."""
    from smvae_datasets.recording_forms import opened
    from smvae_datasets.recordings.fitting import fits

    faults: list[str] = []
    with (
        _advancing("looking at messages") as advance,
        opened(path, given.typestore, faults.append) as recording,
    ):
        found = fits(robot, recording, advance)
    wrong = [fit for fit in found if fit.wrong]
    faults = list(dict.fromkeys(faults))
    if given.json:
        said = {fit.name: {k: v for k, v in asdict(fit).items() if k != "name"} for fit in found}
        print(json.dumps({"fits": not wrong, "sensors": said, "faults": faults}))
        return int(bool(wrong))
    for fit in found:
        rate = f"{fit.rate_hz:.4g} Hz" if fit.rate_hz else ""
        state = "does not fit" if fit.wrong else "fits" if fit.messages else "absent"
        state = f"{state}; {fit.remark}" if fit.remark else state
        print(
            f"{fit.name:20} {fit.messages:8} {rate:>10}  {fit.topic}  {fit.message_type}  {state}"
        )
    for fault in faults:
        print(f"fault: {fault}")
    for fit in wrong:
        print(f"{fit.name}: {fit.wrong}", file=sys.stderr)
    return int(bool(wrong))


@contextmanager
def _advancing(what: str) -> Iterator[Callable[[float], None]]:
    """Show a progress bar that goes away, and give what moves it to a share."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def scaffold(arguments: list[str], prog: str) -> int:
    """Run `smvae robot scaffold`."""
    given = parse(ScaffoldArguments, arguments, prog, description=SCAFFOLD_HELP)
    from smvae_core.files import write_text
    from smvae_datasets.recording_forms import scaffold as scaffold_recording

    if given.out is not None and given.out.exists():
        raise ConfigError(f"{given.out} is there already; give another name, or remove it")
    with _advancing("looking at the recording") as advance:
        found = scaffold_recording(given.recording, given.typestore, advance)
    text = found.text(given.recording)
    if found.faults:
        first, *others = found.faults
        more = f" ({len(others)} more stand in the declaration)" if others else ""
        print(f"fault: {first}{more}", file=sys.stderr)
    is_written = given.out is not None and not given.dry_run
    if given.out is not None and is_written:
        write_text(given.out, text)
    if given.json:
        remarks = {"about": found.about, "left_out": found.left_out, "faults": found.faults}
        print(json.dumps({**found.data, **remarks}))
    else:
        print(given.out if is_written else text, end="\n" if is_written else "")
    return 0


ACTIONS: dict[str, Callable[[list[str], str], int]] = {
    "scaffold": scaffold,
    "validate": validate,
}
