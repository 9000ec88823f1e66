"""docs/interfaces.md is what the code's tables say."""

from __future__ import annotations

from pathlib import Path

import pytest
from smvae_ros.listen.message_types import message_class
from smvae_tools.files import interface_tables, message_definitions

from smvae_core.presets import VISION_TOUCH
from smvae_core.settings import MODALITY_PARAMETERS, PARAMETERS

ROOT = Path(__file__).parents[4]
MESSAGES = ROOT / "ros2_ws/src/smvae_msgs/msg"
PAGE = ROOT / "docs/interfaces.md"


def test_the_page_is_the_generated_one() -> None:
    """Remake it: python -m smvae_tools.files.interface_tables ros2_ws/src/smvae_msgs/msg."""
    generated = interface_tables.to_markdown(VISION_TOUCH, MESSAGES)
    assert PAGE.read_text(encoding="utf-8") == generated


def test_every_parameter_has_a_row() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    for parameter in (*PARAMETERS, *MODALITY_PARAMETERS):
        matching = [r for r in rows if r.startswith(f"| `{parameter.name}` |")]
        assert any(parameter.description in r for r in matching), parameter.name


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    width = 0
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = line.replace("\\|", "").count("|") - 1
        if line[:1] != "|":
            width = 0
        elif width == 0:
            width = cells
        assert line[:1] != "|" or cells == width, line


@pytest.mark.parametrize("path", sorted(MESSAGES.glob("*.msg")), ids=lambda p: p.stem)
def test_definitions_are_read_as_the_message_generator_reads_them(path: Path) -> None:
    message = message_definitions.read(path)
    cls = message_class(f"smvae_msgs/msg/{path.stem}")
    assert [f.name for f in message.fields] == list(cls.get_fields_and_field_types())
    assert {c.name: int(c.value) for c in message.constants} == {
        c.name: getattr(cls, c.name) for c in message.constants
    }
    assert message.description


def test_a_line_that_defines_nothing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "Odd.msg"
    path.write_text("uint8 a\nfloat32\n")
    with pytest.raises(ValueError, match=r"Odd\.msg, line 2: no field and no constant"):
        message_definitions.read(path)


def test_a_folder_without_definitions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no \.msg file in"):
        message_definitions.read_folder(tmp_path)


def test_the_command_needs_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert interface_tables.main([]) == 2
    assert interface_tables.main([str(MESSAGES)]) == 0
    assert capsys.readouterr().out == interface_tables.to_markdown(VISION_TOUCH, MESSAGES)
