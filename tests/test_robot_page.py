"""docs/robot_yaml.md: its tables are made from the code.

`python -m tests.test_robot_page` prints them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from smvae_core import kinds, settings
from smvae_core.robot import EpisodeRules
from smvae_core.robot.declaration import OF_CHANNEL

PAGE = Path(__file__).resolve().parent.parent / "docs/robot_yaml.md"


def rows(cells: Iterable[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def keys_of_kinds() -> str:
    found = []
    for kind in kinds.kinds():
        for key in kind.keys or ():
            default = "" if key.default is None else f"`{json.dumps(key.default)}`"
            found.append((f"`{kind.name}`", f"`{key.name}`", default, key.description))
        for parameter in kind.parameters:
            default = f"`{json.dumps(parameter.default)}`"
            row = f"`{kind.name}`", f"`{parameter.name}`", default, parameter.description
            found.append(row)
    return rows(found)


def keys_of_every_sensor() -> str:
    window = next(k for k in kinds.kinds() if k.is_window)
    newest = next(k for k in kinds.kinds() if k.keys is not None and not k.is_window)
    named = {p.name: p for k in (window, newest) for p in settings.of_kind(k)}
    own = {p.name for k in (window, newest) for p in k.parameters}
    return rows(
        (f"`{name}`", f"`{json.dumps(p.default)}`", p.description)
        for name, p in named.items()
        if name not in OF_CHANNEL and name not in own
    )


def test_the_tables_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert keys_of_kinds() in page
    assert keys_of_every_sensor() in page


def test_every_rule_of_episodes_is_named_with_its_default() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for rule in fields(EpisodeRules):
        assert f"| `{rule.name}` | `{json.dumps(rule.default)}` |" in page


if __name__ == "__main__":
    print(keys_of_every_sensor())
    print(keys_of_kinds())
