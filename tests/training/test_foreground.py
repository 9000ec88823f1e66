"""How a program in the foreground ends."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from smvae_core.errors import ConfigError
from smvae_training.foreground import BAD_INPUT, INTERRUPTED, WORKER_KILLED, run


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


def killing() -> int:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(signal.raise_signal, signal.SIGKILL).result()
    return 0


def loading() -> int:
    from torch.utils.data import DataLoader

    class Dying:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, number: int) -> int:
            signal.raise_signal(signal.SIGKILL)
            return number

    return len(list(DataLoader(Dying(), num_workers=1, multiprocessing_context="fork")))


@pytest.mark.parametrize("work", [killing, loading])
def test_a_worker_that_the_system_kills_is_one_line(
    capsys: pytest.CaptureFixture[str], work: Callable[[], int]
) -> None:
    assert run("prog", work) == BAD_INPUT
    line = capsys.readouterr().err
    assert line.startswith(f"prog: error: {WORKER_KILLED}: ")
    assert line.count("\n") == 1


def test_a_work_that_ends_well_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prog", lambda: 3) == 3
    assert capsys.readouterr().err == ""


def test_a_reader_that_is_gone_is_for_who_knows_where_output_goes() -> None:
    def unread() -> int:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run("prog", unread)
