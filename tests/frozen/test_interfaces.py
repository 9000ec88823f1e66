"""What users see and scripts rely on stays: every frozen line is still true, or listed as changed.

New lines are free: new commands, options, parameters, topics, keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from smvae_core.presets import VISION_TOUCH
from tests.frozen import lines

FOLDER = Path(__file__).parent
#: Whose layout help.txt has.
TYRO = Version("1.0.17")
#: File -> frozen line -> (the line that took its place, or None; why). CHANGELOG says the same.
_SENSORS = "smvae train | --model.modalities NAME:SIDE[:SOME+OF+THEM] Sensor channels, declared in"
_FOLDER = (
    "smvae train | A preset gives every setting; each can be overridden by its flag below. The run "
    "folder gets config.json, weights.safetensors,"
)
_RESUME = (
    "Ctrl-C finishes the step and writes a checkpoint; --resume goes on exactly from there, with "
    "the run's own settings."
)
_TYPE = 'modalities.force.message_type: str = "" in [None, None]'
_PREDICTED = (
    "publish_predicted: str = \"auto\" in [None, None] ['auto', 'always', 'never'], changes while "
    "any |"
)
_TYPE_MEANS = "changes while unconfigured | What its topic carries; empty = the first one."
_ACTION = "['', 'geometry_msgs/msg/TwistStamped', 'sensor_msgs/msg/JointState', "
_NUMBERS = "'std_msgs/msg/Float32MultiArray'"
_TWIST = "'geometry_msgs/msg/Twist'"
_CARRIES = "| 'What carries the commanded motion; empty: params_file.'"
_LISTENS = (
    "subscribe action: geometry_msgs/msg/TwistStamped or sensor_msgs/msg/JointState or "
    "std_msgs/msg/Float32MultiArray"
)
_COMMANDED = (
    ", best effort, volatile, depth 1 | commanded velocity [m/s, rad/s]; displacement = velocity "
    "x `step_time_s`; as it comes"
)
_UNSTAMPED = "a command is read from a Twist without a header too"
_ROS1 = "the player reads ROS 1 bags too"
_EVALUATED = "the evaluation reads ROS 1 bags too"
_NOT_WAITED_FOR = "no recorder is waited for unless one is named"
_WRITES = (
    "Writes latents.npz (every latent with its errors), summary.json, report.html, "
    "contact_sheet.png and predictions.mp4. Deterministic: the bag's receive times stand for the "
    "clock. A dropped sensor is still compared with what the model predicts of it."
)
_AT_MOST = (
    "in [0.1, 1000.0] [], changes while any | At most so many latents per second; the rate of "
    "trigger 'timer'."
)
CHANGES: dict[str, dict[str, tuple[str | None, str]]] = {
    "parameters.txt": {
        f"max_rate_hz: float = 30.0 {_AT_MOST}": (
            f"max_rate_hz: float = 100.0 {_AT_MOST}",
            "a latent per reading of the fastest sensor up to 100 Hz costs a tenth of a core more",
        ),
        f'modalities.action.message_type: str = "" in [None, None] {_ACTION}{_NUMBERS}], '
        f"{_TYPE_MEANS}": (
            f'modalities.action.message_type: str = "" in [None, None] {_ACTION}{_NUMBERS}, '
            f"{_TWIST}], {_TYPE_MEANS}",
            _UNSTAMPED,
        ),
        f"{_TYPE} ['', 'geometry_msgs/msg/WrenchStamped'], {_TYPE_MEANS}": (
            f"{_TYPE} [], {_TYPE_MEANS}",
            "a signal is read from any message that has its fields",
        ),
        f"{_PREDICTED} Predicted images: auto = only those that have a subscriber.": (
            f"{_PREDICTED} Predictions: auto = only those that have a subscriber.",
            "every kind that has a message is predicted",
        ),
    },
    "topics.txt": {
        f"{_LISTENS}{_COMMANDED}": (
            f"{_LISTENS} or geometry_msgs/msg/Twist{_COMMANDED}",
            _UNSTAMPED,
        )
    },
    "executables.txt": {
        f"smvae_ros {name}": (f"smvae_tools {name}", "a robot need not install smvae_tools")
        for name in (
            *("simulated_robot", "bag_recorder", "bag_player", "sensor_schedule"),
            *("shared_autonomy_demo", "imperfect_operator"),
        )
    },
    "help_ros.txt": {
        "bag_player | match it too.": (
            "bag_player | match it too. A ROS 1 bag is played as ROS 2 messages. A /clock that "
            "stamps in the bag are of is",
            f"{_ROS1}, and plays a recorded /clock",
        ),
        "bag_recorder | --duration S stop by itself after S seconds": (
            "bag_recorder | --duration S stop by itself after S seconds; 0 = only when stopped, as "
            "without it",
            "it did not say what 0 means",
        ),
        "bag_player | bag folder of a rosbag2 bag, or one .mcap or .db3 file": (
            "bag_player | bag folder of a rosbag2 bag, or one .mcap, .db3 or .bag file",
            _ROS1,
        ),
        "sensor_schedule | Configures and activates the perception node, waits until a recorder "
        "listens and a latent has": (
            "sensor_schedule | Configures and activates the perception node. Waits until a latent "
            "has fused everything and, where",
            _NOT_WAITED_FOR,
        ),
        "sensor_schedule | fused everything, then switches sensors by parameter and marks every "
        "switch on `/demo/schedule`": (
            "sensor_schedule | a recorder is named, until that listens. Then it switches sensors "
            "by parameter, and marks every",
            _NOT_WAITED_FOR,
        ),
        "sensor_schedule | (std_msgs/String holding JSON).": (
            "sensor_schedule | switch on `/demo/schedule` (std_msgs/String holding JSON).",
            _NOT_WAITED_FOR,
        ),
        "security_policy | --topic MODALITY=TOPIC topic of any modality; may be repeated": (
            "security_policy | --topic, --topics MODALITY=TOPIC,... topics of "
            "any modalities, as in the launch file; may be repeated",
            "topics are given as everywhere else",
        ),
    },
    "launch.txt": {
        f"perception.launch.py action_message_type = '' in {_ACTION}{_NUMBERS}] {_CARRIES}": (
            f"perception.launch.py action_message_type = '' in {_ACTION}{_NUMBERS}, {_TWIST}] "
            f"{_CARRIES}",
            _UNSTAMPED,
        ),
        "replay_bag.launch.py topics = INPUTS in any | 'What is played, parted by spaces.'": (
            "replay_bag.launch.py topics = '' in any | \"Topics of the bundle's sensors where the "
            "defaults are not those of the bag, e.g. rgb=/camera/image,force=/ft/wrench: what the "
            'node listens to is played. Or what is played, parted by spaces."',
            "no launch file names a sensor",
        ),
        "perception.launch.py params_file = share('config', 'perception.yaml') in any | "
        "'Parameters, a YAML file; arguments that are not empty win over it.'": (
            "perception.launch.py params_file = '' in any | 'Parameters, a YAML file such as the "
            "shipped config/perception.yaml, which wins over the manifest; arguments that are "
            "not empty win over it.'",
            "the shipped file, the defaults written out, would win over what the bundle declares",
        ),
    },
    "help.txt": {
        "smvae train | demo the demo: a fixed number of steps, 8 minutes on two CPU cores with "
        "bf16.": (
            "smvae train | demo the demo: small networks, a fixed number of steps, 4 minutes on "
            "two CPU cores in bf16.",
            "the demo seats pegs: it decodes targets, and small networks make more steps",
        ),
        f"{_FOLDER} metrics.jsonl and tensorboard/. {_RESUME}".replace(
            "safetensors,", "safetensors, checkpoints/last.ckpt,"
        ): (
            f"{_FOLDER} metrics.jsonl, tensorboard/ and checkpoints/: last.ckpt, and previous.ckpt "
            f"in case that is damaged. {_RESUME}",
            "a damaged checkpoint has a predecessor",
        ),
        f"{_SENSORS} `smvae_core.modality`. (default: vision_touch:64)": (
            f"{_SENSORS} `smvae_core/presets.py`. (default: vision_touch:64)",
            "declared sets have a file of their own",
        ),
        f"smvae evaluate-bag | Reads rosbag2 (mcap and sqlite3) without ROS. {_WRITES}": (
            f"smvae evaluate-bag | Reads rosbag2 (mcap and sqlite3) and ROS 1 bags, without ROS. "
            f"{_WRITES}",
            _EVALUATED,
        ),
        "smvae evaluate-bag | PATH Folder of a rosbag2 bag, or one .mcap or .db3 file. "
        "(required)": (
            "smvae evaluate-bag | PATH Folder of a rosbag2 bag, or one .mcap, .db3 or .bag file. "
            "(required)",
            _EVALUATED,
        ),
        "smvae | readout fit hole offset and contact to the latent": (
            "smvae | readout fit the targets of the data to the latent",
            "offset and contact are two of any number of targets",
        ),
        "smvae readout | Fit a linear readout of the latent: peg-to-hole offset [m] and contact.": (
            "smvae readout | Fit a linear readout of the latent: the data's targets, as offset [m] "
            "and contact.",
            "offset and contact are two of any number of targets",
        ),
        "smvae readout | One map per subset of sensors, ridge and logistic regression, fitted on "
        "the training trajectories and scored on the held-out ones. It is written into the bundle "
        "as readout.json, hashed in the manifest; a node applies it with numpy alone "
        "(smvae_core.readout, docs/shared_autonomy.md). Given a run, it is written there, and the "
        "next `smvae export` takes it along.": (
            "smvae readout | One map per target and subset of sensors, ridge and logistic "
            "regression, fitted on the training trajectories and scored on the held-out ones. It "
            "is written into the bundle as readout.json, hashed in the manifest; a node applies it "
            "with numpy alone (smvae_core.readout, docs/shared_autonomy.md). Given a run, it is "
            "written there, and the next `smvae export` takes it along.",
            "offset and contact are two of any number of targets",
        ),
    },
}

_PLAIN = "the same in plainer words, and the node's default rate as it is now"
_REWORDED = (FOLDER / "help_reworded.txt").read_text(encoding="utf-8").splitlines()
CHANGES["help.txt"] |= {
    old.removeprefix("- "): (new.removeprefix("+ "), _PLAIN)
    for old, new in zip(_REWORDED[::2], _REWORDED[1::2], strict=True)
}


def hold(file: str, now: Iterable[str]) -> None:
    """Hold the lines of today to the frozen ones; spaces do not count, since terminals wrap."""
    changes = CHANGES.get(file, {})
    frozen = (FOLDER / file).read_text(encoding="utf-8").splitlines()
    have = {re.sub(r"\s", "", line) for line in now}
    for line in set(changes) - set(frozen):
        pytest.fail(f"CHANGES lists what was never in {file}: {line}")
    gone, wrong = [], []
    for line in frozen:
        there = re.sub(r"\s", "", line) in have
        if line not in changes:
            gone += [] if there else [line]
            continue
        became = changes[line][0]
        if there or (became is not None and re.sub(r"\s", "", became) not in have):
            wrong.append((line, became))
    assert not gone, f"{file}: gone, and not listed in CHANGES:\n" + "\n".join(gone)
    assert not wrong, f"{file}: not as CHANGES says: {wrong}"


def test_frozen_help_of_commands() -> None:
    if Version(version("tyro")) < TYRO:
        pytest.skip(f"tyro lays help out in another way before {TYRO}")
    hold("help.txt", lines.command_help())


def test_frozen_help_of_ros_programs() -> None:
    pytest.importorskip("smvae_tools")
    hold("help_ros.txt", lines.ros_help())


def test_frozen_parameters() -> None:
    pytest.importorskip("smvae_ros")
    hold("parameters.txt", lines.parameters())


def test_frozen_parameter_files_load() -> None:
    """A robot's old parameter file names only what the node has, with values that it takes."""
    pytest.importorskip("smvae_ros")
    from smvae_core.settings import check, table, unknown

    known = table(VISION_TOUCH)
    file = yaml.safe_load((FOLDER / "perception.yaml").read_text(encoding="utf-8"))
    given = dict(flat(file["/**"]["ros__parameters"]))
    assert len(given) > 40
    assert not unknown(given, known)
    for name, value in given.items():
        assert type(value) is type(known[name].default), name
    assert not check(known, {name: p.default for name, p in known.items()} | given)


def flat(tree: dict[str, object], prefix: str = "") -> Iterable[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def test_frozen_topics_and_services() -> None:
    pytest.importorskip("smvae_ros")
    hold("topics.txt", lines.topics())


def test_frozen_launch_arguments() -> None:
    hold("launch.txt", lines.launch_arguments())


def test_frozen_executables() -> None:
    hold("executables.txt", lines.executables())


def test_help_is_unwrapped_into_entries() -> None:
    text = """usage: x [-h]

examples:
  x one
  x two
      goes on
--------------------
 --a INT  Of what
          kind. (default:
          3)
 --b      Other.
"""
    assert lines.help_entries(text) == [
        "examples:",
        "x one",
        "x two goes on",
        "--a INT Of what kind. (default: 3)",
        "--b Other.",
    ]


def test_a_line_that_vanishes_is_named_unless_its_change_is_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen = (FOLDER / "executables.txt").read_text(encoding="utf-8").splitlines()
    gone, rest = frozen[0], frozen[1:]
    monkeypatch.setitem(CHANGES, "executables.txt", {"no line": (None, "why")})
    with pytest.raises(pytest.fail.Exception, match="was never in"):
        hold("executables.txt", frozen)
    monkeypatch.setitem(CHANGES, "executables.txt", {})
    with pytest.raises(AssertionError, match=gone):
        hold("executables.txt", rest)
    monkeypatch.setitem(CHANGES, "executables.txt", {gone: ("its successor", "why")})
    with pytest.raises(AssertionError, match="not as CHANGES says"):
        hold("executables.txt", rest)
    hold("executables.txt", [*rest, "its  successor"])
    with pytest.raises(AssertionError, match="not as CHANGES says"):
        hold("executables.txt", [*frozen, "its successor"])
