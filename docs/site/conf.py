"""How Sphinx makes the site from what pages.py gathered. Strict: a warning fails `make docs`."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

import smvae_core

project = "SMVAE for robots"
version = release = smvae_core.__version__
author = "SMVAE developers"
copyright = f"{author}, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4
highlight_language = "none"  # blocks that name no language are commands
default_role = "code"  # docstrings say `name`, as our pages do
nitpicky = True
# Only what is ours can lead somewhere: there is no network to learn numpy's addresses from.
nitpick_ignore_regex = [(r"py:.*", r"(?!smvae_).*")]
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    "member-order": "bysource",
    "ignore-module-all": True,  # what a package takes from its modules stands on their pages
}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
add_module_names = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_favicon = "icon.svg"
html_title = f"SMVAE {version}"
html_show_sphinx = False
html_copy_source = False


def as_text(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep docstrings as they are written: of all marks, only backticks mean something in ours.

    An indented block behind a colon and an empty line is shown as it stands: equations, commands.
    """
    block = False
    for number, line in enumerate(lines):
        if line.strip():
            block = block and line.startswith("    ")
        if not block:
            lines[number] = escaped(line)
            ahead = lines[number + 1 : number + 3]
            if line.endswith(":") and [bool(text.strip()) for text in ahead] == [False, True]:
                block = ahead[1].startswith("    ")
                lines[number] += ":" if block else ""
    if what in ("attribute", "data", "property"):
        # Napoleon takes a first line up to its colon for a type: an empty comment goes there.
        lines[:0] = ["..", ""]


def escaped(line: str) -> str:
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(
        part if part.startswith("`") else re.sub(r"([*|\\]|_(?=\W|$))", r"\\\1", part)
        for part in parts
    )


def setup(app: Sphinx) -> None:
    """Let docstrings be read before napoleon adds marks of its own."""
    app.connect("autodoc-process-docstring", as_text, priority=400)
