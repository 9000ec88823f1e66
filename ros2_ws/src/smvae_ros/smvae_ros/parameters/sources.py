"""Where the value of each parameter came from, for ModelInfo: rclpy does not tell.

It is read from the command line that rclpy has read, which is also how `ros2 launch` hands its
arguments on: in a parameter file of its own making.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from smvae_msgs.msg import Setting

from smvae_core.settings import Parameter, unknown

#: How launch_ros begins the names of the files in which it hands over what is set in a launch file.
_OF_LAUNCH = "launch_params_"
_WORDS = {
    Setting.MANIFEST: "manifest",
    Setting.PARAMS_FILE: "params_file",
    Setting.LAUNCH: "launch",
    Setting.CALL: "call",
}


def given(node: Any) -> dict[str, Any]:
    """Return the values that a node was given from outside, by name."""
    overrides = getattr(node, "_parameter_overrides", {})  # rclpy has no other way to them
    return {name: parameter.value for name, parameter in overrides.items()}


def tell_unread(node: Any) -> None:
    """Warn of values given from outside that a node has no parameter for; it declared them all."""
    for name, why in unknown(given(node), node.get_parameters_by_prefix("")).items():
        node.get_logger().warning(f"parameter {name} is ignored: {why}")


def settings(
    table: Mapping[str, Parameter],
    values: Mapping[str, Any],
    given: Mapping[str, Any],
    arguments: Sequence[str] | None = None,
) -> list[Setting]:
    """Return every parameter with its value and source.

    Args:
        table: Of the node with its modalities, by name.
        values: Value of every one of them.
        given: Values from outside when the node was made, by name.
        arguments: Command line; None = that of this process.
    """
    told = dict(_told(sys.argv if arguments is None else arguments))
    return [
        Setting(
            name=name,
            value=json.dumps(values[name]),
            source=_source(values[name], parameter, given, told),
        )
        for name, parameter in table.items()
    ]


def in_words(settings: Iterable[Setting], name: str) -> str:
    """Return which settings of a modality are not the node's defaults, and where they came from.

    Such as 'topic manifest, max_skew_s launch'.
    """
    prefix = f"modalities.{name}."
    return ", ".join(
        f"{setting.name.removeprefix(prefix)} {_WORDS[setting.source]}"
        for setting in settings
        if setting.name.startswith(prefix) and setting.source != Setting.DEFAULT
    )


def _source(
    value: Any, parameter: Parameter, given: Mapping[str, Any], told: Mapping[str, int]
) -> int:
    name = parameter.name
    if name in given:
        return told.get(name, Setting.LAUNCH) if value == given[name] else Setting.CALL
    if value != parameter.default:
        return int(Setting.CALL)
    return int(Setting.MANIFEST if parameter.declared else Setting.DEFAULT)


def _told(arguments: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield names with their source in the order of the command line, where the last one counts."""
    for flag, word in pairwise(arguments):
        if flag in ("-p", "--param"):
            yield word.partition(":=")[0].rpartition(":")[2], Setting.LAUNCH
        elif flag == "--params-file":
            launch = Path(word).name.startswith(_OF_LAUNCH)
            for name in _names(Path(word)):
                yield name, Setting.LAUNCH if launch else Setting.PARAMS_FILE


def _names(path: Path) -> Iterator[str]:
    """Yield the names in a parameter file, of whichever node; none if it is gone by now."""
    try:
        nodes = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return
    waiting = [("", node) for node in nodes.values()] if isinstance(nodes, dict) else []
    while waiting:
        prefix, tree = waiting.pop()
        for key, value in tree.items() if isinstance(tree, dict) else ():
            if isinstance(value, dict):
                inner = "" if key == "ros__parameters" else f"{prefix}{key}."
                waiting.append((inner, value))
            else:
                yield f"{prefix}{key}"
