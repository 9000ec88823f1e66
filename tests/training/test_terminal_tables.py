"""Tables in the terminal: nothing of a cell is cut off, however narrow it is."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from smvae_training.commands.tables import table

COMMANDS = Path("training/smvae_training/commands")


def test_a_long_name_goes_on_in_the_next_line() -> None:
    name = "+".join(f"sensor_{n}" for n in range(20))
    made = table("errors", ("observed", "camera"), ("mean",))
    made.add_row(name, "1.5 \u00b1 0.25", "0.125")
    shown = io.StringIO()
    Console(file=shown, width=60).print(made)
    lines = [line.strip("\u2502\n").split("\u2502") for line in shown.getvalue().splitlines()]
    cells = [line for line in lines if len(line) == 3]
    assert "".join(line[0].strip() for line in cells) == name
    assert "".join(line[2].strip() for line in cells) == "0.125"


def test_every_command_prints_its_tables_so() -> None:
    made = [p.name for p in COMMANDS.glob("*.py") if "rich.table import" in p.read_text("utf-8")]
    assert made == ["tables.py"]
