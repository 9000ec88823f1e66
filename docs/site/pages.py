"""Gathers the source of the site: our documents as they lie in the repository, a page per module.

Sphinx reads one folder. Our pages lie in several, beside the code that they describe, and link to
each other and to that code. From README.md on, each file that a page links to is copied to the same
relative place below OUT. `README.md` becomes `index.md`, which a web server shows for its folder.
The menu follows the tables of docs/README.md; a test holds those complete.

Usage: python docs/site/pages.py OUT
"""

from __future__ import annotations

import os
import pkgutil
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import smvae_core

ROOT = Path(__file__).resolve().parents[2]
HOME, GUIDES, DECISIONS = (
    ROOT / name for name in ("README.md", "docs/README.md", "docs/decisions/README.md")
)
LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")
CODE = re.compile(r"(^```.*?^```)", flags=re.M | re.S)
MODULE = """# {name}

```{{eval-rst}}
.. automodule:: {name}
```
"""


def gather(out: Path) -> None:
    """Write the whole source of the site below an empty folder."""
    found = reached(HOME)
    pages = [path for path in found if path.suffix == ".md"]
    guides = sections(GUIDES)
    listed = {HOME, GUIDES, DECISIONS, *(page for pages in guides.values() for page in pages)}
    others = [p for p in pages if p not in listed and p.parent != DECISIONS.parent]
    reference = [ROOT / "api/README.md", DECISIONS, *others]
    home = [contents("", HOME, [GUIDES])]
    home += [contents(caption, HOME, pages) for caption, pages in guides.items()]
    menus = {
        HOME: "".join([*home, contents("Reference", HOME, reference)]),
        DECISIONS: contents("", DECISIONS, links(DECISIONS, below=DECISIONS.parent)),
    }
    for path in found:
        target = out / renamed(path).relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            target.write_text(moved(path) + menus.get(path, ""), encoding="utf-8")
        else:
            shutil.copyfile(path, target)
    write_modules(out / "api")


def sections(page: Path) -> dict[str, list[Path]]:
    """Return the pages beside a page that a table of each of its sections lists."""
    parts = re.split(r"^## (.+)\n", page.read_text(encoding="utf-8"), flags=re.M)[1:]
    return {
        title: [
            (page.parent / to).resolve()
            for to in re.findall(r"\]\(([^)#/:]+\.md)\) \|$", text, flags=re.M)
        ]
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    }


def links(page: Path, below: Path = ROOT) -> list[Path]:
    """Return the files below a folder that a page links to, each once, in the page's order."""
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    found = [(page.parent / to).resolve() for _, to, _ in LINK.findall(text)]
    strange = [path for path in found if not path.is_file() or not path.is_relative_to(ROOT)]
    if strange:
        raise SystemExit(f"{page} links to {strange[0]}, which is no file of the repository")
    return [path for path in dict.fromkeys(found) if path.is_relative_to(below)]


def reached(page: Path) -> list[Path]:
    """Return the page and every file that links lead to from it."""
    found = {page: None}
    todo = [page]
    while todo:
        new = [path for path in links(todo.pop(0)) if path not in found]
        found |= dict.fromkeys(new)
        todo += [path for path in new if path.suffix == ".md"]
    return list(found)


def renamed(path: Path) -> Path:
    """Return the name that a file has in the site."""
    return path.with_name("index.md") if path.name == "README.md" else path


def moved(page: Path) -> str:
    """Return a page's text with its links to where the site has their targets."""

    def lead(match: re.Match[str]) -> str:
        start, to, end = match.groups()
        return f"{start}{renamed(Path(to)).as_posix()}{end}"

    parts = CODE.split(page.read_text(encoding="utf-8"))
    return "".join(part if part.startswith("```") else LINK.sub(lead, part) for part in parts)


def contents(caption: str, at: Path, pages: Iterable[Path]) -> str:
    """Return a table of contents for the menu, which the page itself does not show."""
    names = [os.path.relpath(renamed(page).with_suffix(""), at.parent) for page in pages]
    said = [f":caption: {caption}"] if caption else []
    return "\n".join(["", "```{toctree}", ":hidden:", *said, "", *names, "```", ""])


def write_modules(out: Path) -> None:
    """Write a page for each public module of `smvae_core`, and one that lists them."""
    walked = list(pkgutil.walk_packages(smvae_core.__path__, "smvae_core."))
    names = sorted(one.name for one in walked if "._" not in one.name)
    out.mkdir()
    for name in names:
        inner = [out / f"{one}.md" for one in names if one.rpartition(".")[0] == name]
        text = MODULE.format(name=name) + (contents("", out / name, inner) if inner else "")
        (out / f"{name}.md").write_text(text, encoding="utf-8")
    said = "Every public module of `smvae_core`, from its docstrings."
    said += " Only `smvae_core.model` needs torch."
    rows = "".join(f"- [{name}]({name}.md)\n" for name in names)
    outer = [out / f"{name}.md" for name in names if name.count(".") == 1]
    text = f"# Python interface\n\n{said}\n\n{rows}{contents('', out / 'index.md', outer)}"
    (out / "index.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    gather(target)
