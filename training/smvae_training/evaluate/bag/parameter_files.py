"""ROS parameter files by ROS's own rules: which entries are for a node, and which wins.

An entry's keys are namespaces and a node name, nested or joined by '/'; '*' stands for one of them,
'**' for any number. All entries that match a node count, in the order of the file: a later one
wins, also a general one over a special one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smvae_core.errors import ConfigError, MissingDependency, one_line

#: Name of the perception node where nobody gives it another.
NODE = "smvae"
_BELOW = "ros__parameters"


@dataclass(frozen=True)
class _Entry:
    """One block of parameters."""

    name: str
    """Of the nodes that it is for, absolute: '/left/smvae', '/**'."""
    values: dict[str, Any]
    """By full name."""

    @property
    def node(self) -> str:
        """The one node that it is for, or '' with a wildcard."""
        return "" if "*" in self.name else self.name

    def matches(self, node: str) -> bool:
        """Return whether it is for a node, by its full name."""
        pattern = re.escape(self.name).replace(r"/\*\*", r"(/\w+)*").replace(r"/\*", r"/\w+")
        return re.fullmatch(pattern, node) is not None


def read_parameters(path: Path, node: str = "") -> tuple[str, dict[str, Any]]:
    """Return the full name of a node and what a parameter file such as perception.yaml gives it.

    Args:
        path: The file.
        node: Full name; '' = the one perception node that the file names, else /smvae.

    Raises:
        ConfigError: If it cannot be read, is no parameter file, names several perception nodes, or
            holds nothing for the node.
        MissingDependency: If ruamel.yaml, which rosbags brings, is not installed.
    """
    entries = _read(path)
    named = list(dict.fromkeys(e.node for e in entries if e.node))
    ours = [name for name in named if name.rpartition("/")[2] == NODE]
    if not node and len(ours) > 1:
        raise ConfigError(
            f"parameter file {path} is for {' and '.join(ours)}: say which, e.g. --node {ours[0]}"
        )
    node = f"/{node.strip('/')}" if node else (ours or [f"/{NODE}"])[0]
    found = [entry.values for entry in entries if entry.matches(node)]
    if not found:
        listed = ", ".join(e.name for e in entries)
        raise ConfigError(
            f"parameter file {path} holds nothing for node {node}, only for {listed}; "
            "name the node by --node"
        )
    return node, {name: value for values in found for name, value in values.items()}


def _read(path: Path) -> list[_Entry]:
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError
    except ImportError as err:
        raise MissingDependency("rosbags", "bags") from err
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)  # rcl's: yes and on are true
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # 1e3 is a number, though YAML 1.1 wants a dot in it
            loaded = yaml.load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError) as err:
        raise ConfigError(f"parameter file {path} cannot be read: {one_line(err)}") from err
    entries = list(_entries(path, "", loaded if isinstance(loaded, dict) else {}))
    if not any(entry.values for entry in entries):
        raise ConfigError(f"parameter file {path} holds no parameters")
    return entries


def _entries(path: Path, above: str, level: Mapping[Any, Any]) -> Iterator[_Entry]:
    """Yield the blocks below a namespace, in the order of the file."""
    for key, value in level.items():
        where = f"{above}/{str(key).strip('/')}"
        if key == _BELOW and above and isinstance(value, dict):
            yield _Entry(above, dict(_flat(value)))
        elif key != _BELOW and isinstance(value, dict) and value:
            yield from _entries(path, where, value)
        else:
            what = f"'{(above or where).removeprefix('/')}' has no {_BELOW} below it"
            raise ConfigError(f"parameter file {path}: {what}")


def _flat(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
