"""Reading .msg files: fields, constants and the comments that explain them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_LINE = re.compile(r"(?P<type>[\w/\[\]<>=]+)\s+(?P<name>\w+)\s*(?:=\s*(?P<value>\S+))?")


@dataclass
class Entry:
    """One field or constant."""

    name: str
    type: str
    value: str = ""
    """Of a constant; empty for a field."""
    comment: str = ""


@dataclass
class Message:
    """One message definition."""

    name: str
    description: str = ""
    fields: list[Entry] = field(default_factory=list)
    constants: list[Entry] = field(default_factory=list)


def read(path: Path) -> Message:
    """Return what a .msg file defines.

    Comment lines before the first entry describe the message; those after an entry go on with its
    comment.

    Raises:
        ValueError: If a line is neither a comment nor a field nor a constant.
    """
    message = Message(path.stem)
    newest: Entry | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        code, _, comment = (part.strip() for part in line.partition("#"))
        if code:
            match = _LINE.fullmatch(code)
            if match is None:
                raise ValueError(f"{path}, line {number}: no field and no constant: '{line}'")
            newest = Entry(match["name"], match["type"], match["value"] or "", comment)
            (message.constants if newest.value else message.fields).append(newest)
        elif comment and newest is None:
            message.description = f"{message.description} {comment}".strip()
        elif comment and newest is not None:
            newest.comment = f"{newest.comment} {comment}".strip()
    return message


def read_folder(folder: Path) -> list[Message]:
    """Return all definitions of a folder, by name.

    Raises:
        FileNotFoundError: If it holds none.
    """
    paths = sorted(folder.glob("*.msg"))
    if not paths:
        raise FileNotFoundError(f"no .msg file in {folder}")
    return [read(path) for path in paths]
