"""docs/training.md: its commands run, and the messages that it explains are those of the code."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from smvae_training.cli import main
from smvae_training.config import AugmentConfig
from tests.frozen.episodes import write_episodes

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/training.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^smvae .+$", PAGE, flags=re.M)
SPEAKING = (
    "datasets/smvae_datasets/checks.py",
    "training/smvae_training/steps/module.py",
    "training/smvae_training/trainer.py",
)
#: What makes a run take seconds.
SMALL = (
    *("--model.modalities", "vision_touch:32", "--max-steps", "2", "--no-report"),
    *("--model.base-channels", "2", "--model.embedding-dim", "16", "--batch-size", "16"),
    *("--data.held-out", "0.34", "--log.no-tensorboard"),
)


def test_the_commands_of_the_page_run_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_episodes(Path("episodes"))
    assert len(COMMANDS) >= 6
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        assert main([*words, *(SMALL if words[0] == "train" else ())]) == 0, command
    assert {p.parent.name for p in tmp_path.glob("*/weights.safetensors")} == {
        *("run", "slower", "weighted", "balanced", "touched"),
    }


def test_the_messages_that_it_explains_are_printed_by_the_code() -> None:
    said = {
        node.value
        for path in SPEAKING
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    table = PAGE.partition("## What is said before")[2].partition("## While")[0]
    quoted = re.findall(r"^\| `([^`]+)` \|", table, flags=re.M)
    assert len(quoted) == 9
    quoted += ["the loss is …", "split by sample: neighbouring frames stand on both sides, scores"]
    assert all(message in PAGE for message in quoted)
    parts = [part.strip() for message in quoted for part in message.split("…") if part.strip()]
    assert not [part for part in parts if not any(part in text for text in said)]


def test_every_augmentation_has_a_row() -> None:
    rows = set(re.findall(r"^\| `augment\.(\w+)`", PAGE, flags=re.M))
    assert rows | {"burst"} == {field.name for field in fields(AugmentConfig)}
