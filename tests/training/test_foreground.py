"""How a program in the foreground ends."""

from __future__ import annotations

import pytest

from smvae_core.errors import ConfigError
from smvae_training.foreground import BAD_INPUT, INTERRUPTED, run


def failing_by_ctrl_c() -> int:
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as err:  # as pybind11 makes of it while a library is imported
            raise ImportError("initialization failed") from err
    except ImportError as err:
        raise ConfigError("the simulator is missing") from err


def test_what_fails_by_ctrl_c_was_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prog", failing_by_ctrl_c) == INTERRUPTED
    assert capsys.readouterr().err == "prog: stopped\n"


def refused() -> int:
    raise ConfigError("two\nlines")


def full() -> int:
    raise OSError(28, "No space left on device", "run/last.tmp")


def stopped() -> int:
    raise KeyboardInterrupt("resume with: x")


@pytest.mark.parametrize(
    ("work", "status", "line"),
    [
        (refused, BAD_INPUT, "prog: error: two lines\n"),
        (full, BAD_INPUT, "prog: error: No space left on device: run/last.tmp\n"),
        (stopped, INTERRUPTED, "prog: stopped; resume with: x\n"),
    ],
)
def test_an_end_is_one_line_and_a_status(
    capsys: pytest.CaptureFixture[str], work, status: int, line: str
) -> None:
    assert run("prog", work) == status
    assert capsys.readouterr().err == line


def test_a_work_that_ends_well_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prog", lambda: 3) == 3
    assert capsys.readouterr().err == ""


def test_a_reader_that_is_gone_is_for_who_knows_where_output_goes() -> None:
    def unread() -> int:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run("prog", unread)
