"""A section of RESULTS.md that is made from one file of results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def section_of(title: str, path: Path, write: Callable[[Any], Iterable[str]]) -> str:
    """Return the section: its title, then the paragraphs that `write` makes of the file's content.

    Where the file is missing it says that nothing was measured yet.
    """
    paragraphs = ["Not run yet."]
    if path.exists():
        paragraphs = [*write(json.loads(path.read_text(encoding="utf-8")))]
    return "\n\n".join([f"## {title}", *paragraphs])
