"""What stands in the code blocks of every page runs, or is a command whose options exist."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from smvae_core.bundle import Bundle
from smvae_core.runtime import Runtime
from smvae_training.cli import COMMANDS, main
from tests.test_documents import PAGES, ROOT, WORKSPACE, name_of
from tests.training.told_runs import folder  # noqa: F401 (a fixture)

BUNDLE = ROOT / "tests/frozen/bundle"
EVERY = [ROOT / "README.md", ROOT / "benchmarks/RESULTS.md", *PAGES]
#: Pages whose Python runs in a test of their own.
ELSEWHERE = {
    "docs/kinds.md": ROOT / "tests/test_kinds_page.py",
    "docs/estimates.md": WORKSPACE / "smvae_ros/test/test_estimates.py",
}


#: Where modules lie that pages start.
SOURCES = (ROOT, *(ROOT / part for part in ("datasets", "training")), *sorted(WORKSPACE.iterdir()))


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page in a language; '' for those that name none: commands."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", text, flags=re.M | re.S)
    return [block for _, named, block in fenced if named == language]


PYTHON = {name_of(page): found for page in EVERY if (found := blocks(page, "python"))}


def run_python(page: str, bundle: Path, **names: Any) -> dict[str, Any]:
    """Run a page's Python on a bundle of ours; its last line, which shows something, too."""
    for block in PYTHON[page]:
        text, count = re.subn(r'"(?:/opt/models/)?bundle"', repr(str(bundle)), block)
        assert count, "the page names no bundle"
        exec(compile(text, page, "exec"), names)
    return names


def latent() -> SimpleNamespace:
    """Return what a message of the node holds, of the frozen bundle."""
    posterior = Runtime(BUNDLE).infer({"rgb": np.zeros((48, 64, 3), np.uint8)})
    return SimpleNamespace(mean=posterior.mean, variance=np.exp(posterior.log_var))


def test_the_python_of_the_readme_draws_an_image() -> None:
    window = np.zeros((32, 6), np.float32)
    displacement = np.zeros(4, np.float32)
    found = run_python("README.md", BUNDLE, window=window, displacement=displacement)
    assert found["posterior"].finite
    assert found["image"].dtype == np.uint8
    assert found["image"].shape[2] == 3


def test_the_python_of_the_readout_tells_targets() -> None:
    found = run_python("docs/shared_autonomy.md", BUNDLE, Bundle=Bundle, latent=latent())["found"]
    assert np.isfinite(found["offset"].value).all()
    assert 0.0 <= found["contact"].value <= 1.0


def test_the_python_of_targets_tells_them(
    folder: Path,  # noqa: F811 (a fixture)
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    arguments = ["--preset", "debug", "--data", str(folder), "--out", str(run), "--no-report"]
    arguments += ["--data.held-out", "0.5", "--max-steps", "4", "--data.targets", "all"]
    assert main(["train", *arguments]) == 0
    assert main(["export", str(run), str(tmp_path / "bundle")]) == 0
    size = Runtime(tmp_path / "bundle").manifest.latent_dim
    at = SimpleNamespace(mean=np.zeros(size, np.float32), variance=np.ones(size, np.float32))
    found = run_python("docs/targets.md", tmp_path / "bundle", latent=at)["found"]
    assert found["hole"].value.shape == (5,)


def test_the_python_of_every_page_runs_in_a_test() -> None:
    here = {"README.md", "docs/shared_autonomy.md", "docs/targets.md"}
    assert set(PYTHON) == here | set(ELSEWHERE)
    for page, test in ELSEWHERE.items():
        text = test.read_text(encoding="utf-8")
        assert page in text
        assert "```python" in text


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield page and words of each command; of those joined by `&&`, each by itself."""
    for page in EVERY:
        for block in blocks(page, ""):
            for line in block.replace("\\\n", " ").splitlines():
                with contextlib.suppress(ValueError):  # no command, but a drawing or a log
                    words = shlex.split(line, comments=True)
                    for part in " ".join(map(shlex.quote, words)).split(" '&&' "):
                        yield name_of(page), shlex.split(part)


ALL = list(commands())
SMVAE = [(page, words) for page, words in ALL if Path(words[0] if words else "").name == "smvae"]


@cache
def help_of(*words: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return out.getvalue()


def test_pages_hold_commands() -> None:
    assert len(SMVAE) > 30
    assert {words[1] for _, words in SMVAE} > {"train", "export", "evaluate-bag", "episodes"}


@pytest.mark.parametrize(("page", "words"), SMVAE, ids=[f"{p}: {w[1:3]}" for p, w in SMVAE])
def test_a_command_of_a_page_has_the_options_that_the_page_gives_it(
    page: str, words: list[str]
) -> None:
    assert words[1] in COMMANDS
    text = help_of(*words[1 : 3 if words[1] == "robot" else 2])
    options = {word.partition("=")[0] for word in words if word.startswith("--")} - {"--help"}
    known = set(re.findall(r"--[\w.-]+", text))
    assert not options - known
    preset = words[words.index("--preset") + 1] if "--preset" in words else None
    assert preset is None or re.search(rf"\b{re.escape(preset)}\b", text)


def _is_module(name: str) -> bool:
    """Return whether a module of this repository has a file, importable here or not."""
    path = name.replace(".", "/")
    return any(
        (base / f"{path}{end}").is_file() for base in SOURCES for end in (".py", "/__main__.py")
    )


def test_modules_programs_scripts_and_targets_that_pages_start_exist() -> None:
    targets = set(
        re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text("utf-8"), flags=re.M)
    )
    programs = (WORKSPACE / "smvae_tools/setup.py").read_text(encoding="utf-8")
    missing, tried = [], 0
    for page, words in ALL:
        if words[:1] == ["make"]:
            wrong = [w for w in words[1:] if w not in targets and "=" not in w]
        elif "-m" in words and words[words.index("-m") + 1].startswith(("benchmarks", "smvae")):
            module = words[words.index("-m") + 1]
            wrong = [] if _is_module(module) else [module]
        elif words[:3] == ["ros2", "run", "smvae_tools"]:
            wrong = [] if re.search(rf'"{words[3]}["\s]', programs) else [words[3]]
        elif words[:1] and words[0].startswith("scripts/"):
            wrong = [] if (ROOT / words[0]).is_file() else [words[0]]
        elif words[:2] == ["ros2", "launch"]:
            file = words[2] if words[2].startswith("launch/") else f"launch/{words[3]}"
            base = ROOT if words[2].startswith("launch/") else WORKSPACE / words[2]
            wrong = [] if (base / file).is_file() else [file]
        else:
            continue
        tried += 1
        missing += [(page, name) for name in wrong]
    assert tried > 20
    assert not missing
