"""Commands of benchmarks that tyro reads: their help."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("rosbags")

from benchmarks import malformed_messages


def test_help_has_no_second_empty_line_in_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tyro sets two before a paragraph that begins with no letter, as this one's second."""
    monkeypatch.setattr("sys.argv", ["malformed_messages", "--help"])
    with pytest.raises(SystemExit) as stop:
        malformed_messages.main()
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "\n\n120,000 messages" in text
    assert not re.search(r"\n\s*\n\s*\n", text)
