"""What the site is made from: every document, the files that it links to, a page per module."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.modules import module_of
from tests.test_documents import ROOT


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    """docs/site/pages.py, which is no package."""
    return module_of(ROOT / "docs/site/pages.py")


@pytest.fixture(scope="module")
def source(pages: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("site")
    pages.gather(out)
    return out


def listed(page: Path) -> list[Path]:
    """Return the pages that a page's menus name."""
    menus = re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)
    lines = [line for menu in menus for line in menu.splitlines() if line and line[0] != ":"]
    return [(page.parent / f"{line}.md").resolve() for line in lines]


def test_every_document_is_gathered(source: Path) -> None:
    found = {path.relative_to(source).as_posix() for path in source.rglob("*.md")}
    documents = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {re.sub(r"README\.md$", "index.md", name) for name in documents} <= found
    assert {"index.md", "ARCHITECTURE.md", "RELIABILITY.md", "benchmarks/RESULTS.md"} <= found
    assert {"api/smvae_core.runtime.md", "api/smvae_core.model.set_encoder.md"} <= found


def test_each_page_is_in_one_menu_and_each_menu_names_pages(source: Path) -> None:
    pages = sorted(path.resolve() for path in source.rglob("*.md"))
    named = [one for page in pages for one in listed(page)]
    assert sorted(named) == [page for page in pages if page != (source / "index.md").resolve()]


def test_links_of_gathered_pages_lead_to_gathered_files(source: Path) -> None:
    for page in source.rglob("*.md"):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
        links = re.findall(r"\]\(([^)#\s:]+)(?:#[^)\s]*)?\)", text)
        assert not [link for link in links if not (page.parent / link).is_file()], page


def test_a_link_to_a_folder_is_refused(pages: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("[code](..)", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"page\.md links to .* no file of the repository"):
        pages.links(tmp_path / "page.md")
