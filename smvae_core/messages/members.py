"""Which numbers of a message a declaration means: 'wrench.force' are three, 'data[0:7]' seven."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from smvae_core.bag_formats.types import DEFAULT_TYPESTORE, typestore
from smvae_core.errors import ConfigError, did_you_mean

_PART = re.compile(r"([A-Za-z_]\w*)(?:\[(\d+)(?::(\d+))?\])?")
#: rosbags' words for what a member is; its enumeration has these values.
_BASE, _NAME, _ARRAY = 1, 2, 3
_NO_NUMBERS = ("string", "wstring")
#: SI unit of what a member of that name holds in the common message types.
_UNITS = {
    "force": "N",
    "torque": "N m",
    "linear_acceleration": "m/s^2",
    "angular_velocity": "rad/s",
    "linear": "m/s",
    "angular": "rad/s",
    "position": "m",
    "translation": "m",
    "point": "m",
    "orientation": "1",
    "rotation": "1",
}

Definitions = Mapping[str, tuple[Any, Sequence[tuple[str, Any]]]]
"""Members of each message type, as rosbags has them: `Typestore.fielddefs`."""


@cache
def known_types() -> Definitions:
    """Return the members of every message type that ROS brings.

    Raises:
        MissingDependency: If rosbags is not installed.
    """
    found: Definitions = typestore(DEFAULT_TYPESTORE).fielddefs
    return found


def expand(
    select: Iterable[str], message_type: str | None, definitions: Definitions | None = None
) -> tuple[str, ...]:
    """Return the path of each number that a selection means, in its order.

    Args:
        select: Paths such as 'wrench.force', 'data[0:7]' or 'pose.position.x'.
        message_type: ROS type; of one that nobody defines, each path is taken for one number.
            None = they are names of a column's elements.
        definitions: By whom types are defined; None = those that ROS brings.

    Raises:
        ConfigError: If a path names no member, or no number; says what the message has.
    """
    types = known_types() if definitions is None else definitions
    found: list[str] = []
    for path in select:
        if message_type is None and "[" not in path:
            found.append(path)
            continue
        for each in _slices(path):
            known = message_type if message_type in types else None
            found += [each] if known is None else _numbers(each, known, types)
    twice = [name for name in dict.fromkeys(found) if found.count(name) > 1]
    if twice:
        raise ConfigError(f"{twice[0]} is selected twice")
    return tuple(found)


def below(paths: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the member that all paths stand below, and the rest of each: group and axis."""
    parts = [path.split(".") for path in paths]
    depth = 0
    while all(len(p) > depth + 2 and p[depth] == parts[0][depth] for p in parts):
        depth += 1
    return ".".join(parts[0][:depth]), tuple(".".join(p[depth:]) for p in parts)


def unit(paths: Sequence[str]) -> str:
    """Return the SI unit of each group of numbers, one word per group; '1' where none is known."""
    units = [_UNITS.get(group, "") for group in dict.fromkeys(map(_group, paths))]
    return ", ".join(units) if all(units) else "1"


def groups(paths: Sequence[str], units: str) -> dict[str, tuple[str, list[int]]]:
    """Return unit and indices of each group of numbers, by its name.

    Args:
        paths: Of the numbers.
        units: As `unit` gives them, or as declared; '1' where there are not as many as groups.
    """
    names = list(dict.fromkeys(map(_group, paths)))
    words = units.split(", ")
    words = words if len(words) == len(names) else ["1"] * len(names)
    return {
        name: (word, [i for i, path in enumerate(paths) if _group(path) == name])
        for name, word in zip(names, words, strict=True)
    }


def _group(path: str) -> str:
    """Return the name of the member that holds a number."""
    return path.rpartition(".")[0].rpartition(".")[2]


def _slices(path: str) -> list[str]:
    """Return a path once per element of the slices in it."""
    found = [""]
    for part in path.split("."):
        match = _PART.fullmatch(part)
        if match is None:
            raise ConfigError(
                f"'{path}' is no path of members, such as wrench.force, data[3] or data[0:7]"
            )
        name, first, last = match.groups()
        indices = [""] if first is None else [f"[{first}]"]
        if last is not None:
            if int(last) <= int(first):
                raise ConfigError(f"'{path}': a slice [first:behind the last] rises")
            indices = [f"[{i}]" for i in range(int(first), int(last))]
        found = [f"{before}.{name}{index}" for before in found for index in indices]
    return [each.removeprefix(".") for each in found]


def _numbers(path: str, message_type: str, types: Definitions) -> list[str]:
    """Return the paths of all numbers at a path of a message whose type is known."""
    form: Any = (_NAME, message_type)
    walked = ""
    for part in path.split("."):
        match = _PART.fullmatch(part)
        assert match is not None  # `_slices` looked at it
        name, index = match.group(1), match.group(2)
        members = dict(types[form[1]][1]) if form[0] == _NAME and form[1] in types else {}
        if name not in members:
            where = f"{message_type}{'.' * bool(walked)}{walked}"
            listed = ", ".join(members) or "no members"
            raise ConfigError(
                f"{where} has no '{name}', has {listed}.{did_you_mean(name, members)}"
            )
        walked = f"{walked}.{part}".removeprefix(".")
        form = members[name]
        if index is not None:
            if form[0] in (_BASE, _NAME):
                raise ConfigError(f"{message_type}.{walked}: '{name}' is no list")
            element, size = form[1]
            if form[0] == _ARRAY and int(index) >= size:
                raise ConfigError(f"{message_type}.{walked}: '{name}' has {size} elements")
            form = element
    return _leaves(path, form, f"{message_type}.{path}", types)


def _leaves(path: str, form: Any, where: str, types: Definitions) -> list[str]:
    """Return the paths of the numbers in a member of a form."""
    if form[0] == _BASE:
        base = form[1][0]
        if base in _NO_NUMBERS:
            raise ConfigError(f"{where} is text, not a number")
        return [path]
    if form[0] == _NAME:
        members = types[form[1]][1] if form[1] in types else ()
        return [
            leaf
            for name, inner in members
            for leaf in _leaves(f"{path}.{name}", inner, f"{where}.{name}", types)
        ]
    element, size = form[1]
    if form[0] != _ARRAY:
        raise ConfigError(
            f"{where} has another length in each message: say which elements, "
            f"such as {path}[0:{size or 6}]"
        )
    return [
        leaf
        for i in range(size)
        for leaf in _leaves(f"{path}[{i}]", element, f"{where}[{i}]", types)
    ]
