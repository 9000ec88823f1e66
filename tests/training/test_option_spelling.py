"""A message that names an option spells it as the command line does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from smvae_core.errors import option
from smvae_training.cli import main
from smvae_training.config import TrainConfig
from smvae_training.evaluate.records import EvaluateConfig

ROOT = Path(__file__).resolve().parents[2]
#: Code whose messages are about a training.
FOLDERS = ("training/smvae_training", "datasets/smvae_datasets", "smvae_core/model")


def settings(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for each in fields(config):
        value = getattr(config, each.name)
        if is_dataclass(value):
            yield from settings(value, f"{prefix}{each.name}.")
        else:
            yield f"{prefix}{each.name}", value


SETTINGS = dict(settings(TrainConfig())) | dict(settings(EvaluateConfig()))


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module that are no docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    docstrings = {id(n.value) for n in nodes if isinstance(n, ast.Expr)}
    for node in nodes:
        told = node.value if isinstance(node, ast.Constant) else None
        if isinstance(told, str) and id(node) not in docstrings and " " in told:
            yield node.lineno, told


def test_no_message_names_an_option_by_its_field() -> None:
    spelled = [n for n in SETTINGS if "." in n] + ["batch_size", "max_steps", "max_records"]
    field = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, spelled))})(?!\w)")
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, text in messages(path)
        if field.search(text)
    ]
    assert not found


@pytest.mark.parametrize(
    "name",
    [n for n, value in SETTINGS.items() if type(value) in (int, float)],
)
def test_a_number_that_is_refused_is_named_as_it_was_given(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "train" if name in dict(settings(TrainConfig())) else "evaluate nowhere"
    out = ["--out", str(tmp_path / "out"), "--data", str(tmp_path)]
    assert main([*command.split(), *out, f"{option(name)}=-1"]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert option(name) in line
    assert "-1" in line
