"""What the operating system refuses is one line and status 2, never a traceback."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smvae_core.files import write_text
from smvae_datasets import cache
from smvae_datasets.cache import prepare_once
from smvae_training import cli
from smvae_training.cli import main
from smvae_training.foreground import BAD_INPUT, UNREAD
from tests.training.told_runs import write_episodes


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.EROFS, "Read-only file system", "a/b"), "Read-only file system: a/b"),
        (OSError(errno.EACCES, "Permission denied", "a", None, "b"), "Permission denied: b"),
        (OSError("of a library\nin two lines"), "of a library in two lines"),
    ],
)
def test_an_error_of_the_system_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError, line: str
) -> None:
    def failing(arguments: list[str], prog: str) -> int:
        raise error

    monkeypatch.setattr(cli.Command, "load", lambda self: failing)
    assert main(["train"]) == BAD_INPUT
    assert capsys.readouterr().err == f"smvae train: error: {line}\n"


TORCH = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError(TORCH), RuntimeError("a fault")])
def test_memory_that_is_refused_is_one_line_with_what_needs_less(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def failing(arguments: list[str], prog: str) -> int:
        raise error

    monkeypatch.setattr(cli.Command, "load", lambda self: failing)
    if str(error) == "a fault":
        with pytest.raises(RuntimeError, match="a fault"):
            main(["train"])
        return
    assert main(["train"]) == BAD_INPUT
    said = capsys.readouterr().err
    assert said.startswith("smvae train: error: out of memory, a smaller batch, a smaller model")
    assert said.count("\n") == 1


def test_a_model_beyond_all_memory_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of torch itself: on a CPU it says so by a RuntimeError."""
    data = tmp_path / "data"
    data.mkdir()
    write_episodes(data, 0)
    train = ["train", "--preset", "debug", "--data", str(data), "--out", str(tmp_path / "run")]
    assert main([*train, "--model.latent-dim", str(10**12)]) == BAD_INPUT
    assert "smvae train: error: out of memory" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--help", "inspect --help"])
def test_a_reader_that_has_enough_is_no_error(words: str) -> None:
    program = f"import sys; from smvae_training.cli import main; sys.exit(main({words.split()}))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (UNREAD, b"")


def test_a_full_disk_behind_stdout_is_one_line() -> None:
    program = "import sys; from smvae_training.cli import main; sys.exit(main(['--help']))"
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == BAD_INPUT
    assert done.stderr == b"smvae: error: No space left on device\n"


def test_a_path_that_the_terminal_cannot_print_is_printed_by_its_codes(tmp_path: Path) -> None:
    words = ["inspect", str(tmp_path / "Gr\u00fc\u00dfe")]
    program = f"import sys; from smvae_training.cli import main; sys.exit(main({words!a}))"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, env=environment
    )
    assert done.stderr == b""
    assert done.returncode == 1
    assert rb"Gr\xfc\xdfe: no such folder" in done.stdout


def test_a_folder_that_is_not_there_is_named_with_the_file_that_was_wanted(tmp_path: Path) -> None:
    wanted = tmp_path / "none" / "robot.yaml"
    with pytest.raises(FileNotFoundError) as raised:
        write_text(wanted, "robot: a")
    assert raised.value.filename == str(wanted)


def test_a_full_disk_ends_an_episode_file_with_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 itself would end the process."""
    import numpy as np

    from smvae_datasets.vision_touch.files import FIELDS, file_path, write_file

    arrays = {f.name: np.zeros((50, *f.shape), f.dtype) for f in FIELDS}

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = file_path(tmp_path, "t", 0)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        write_file(path, arrays)
    assert not list(tmp_path.iterdir())


FULL = """
import sys
from pathlib import Path

import numpy as np
import torch

from smvae_core.model.smvae import SMVAE
from smvae_datasets.cache import prepare_once
from smvae_training.evaluate.likelihood.coherence import Classifier
from smvae_training.evaluate.results import write_json
from smvae_training.presets import debug
from smvae_training.run import save_weights, write_arrays

what, path = sys.argv[1], Path(sys.argv[2])
large = np.random.default_rng(0).random((50, 4096))


def job(arguments, prog):
    if what == "weights":
        save_weights(SMVAE(debug().model), path)
    elif what == "arrays":
        write_arrays(path, {"a": large})
    elif what == "results":
        write_json(path, {"a": large.tolist()})
    elif what == "classifier":
        network = torch.nn.Linear(512, 512)
        Classifier(network=network, channels=1, classes=2, accuracy=1.0, seconds=1.0).save(path)
    else:
        prepare_once(path, {"set": "x"}, ["a"], lambda: [{"a": large}], 50, progress=False)


from smvae_training import cli

cli.Command.load = lambda self: job
sys.exit(cli.main(["train"]))
"""


@pytest.mark.parametrize("what", ["weights", "arrays", "results", "classifier", "prepared"])
def test_a_full_disk_is_one_line_that_names_the_path(tmp_path: Path, what: str) -> None:
    """Of a real one: torch and safetensors raise errors of their own, a memory map ends it all."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = 'mount -t tmpfs -o size=100k tmpfs "$0" && exec "$@"'
    inside = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, str(disk)]
    if shutil.which("unshare") is None or subprocess.run([*inside, "true"], check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    done = subprocess.run(
        [*inside, sys.executable, "-c", FULL, what, str(disk / "x")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == BAD_INPUT, done.stderr
    *_, last = done.stderr.splitlines()
    assert last.startswith(f"smvae train: error: No space left on device: {disk / 'x'}")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("out", ["out", "out/deeper"])
@pytest.mark.parametrize(
    "words", ["train --preset debug --no-report --data data --out", "simulate"]
)
def test_a_folder_to_write_that_is_a_link_to_nothing_is_said_to_be_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    out: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write_episodes(tmp_path / "data", 0)
    (tmp_path / "out").symlink_to("disk/runs")
    assert main([*words.split(), out]) == BAD_INPUT
    *_, line = capsys.readouterr().err.splitlines()
    assert "out; it is a link to nothing: there is no disk/runs. Make that, or remove" in line


def prepare(folder: Path) -> Path:
    import numpy as np

    return prepare_once(
        folder, {"set": "x"}, ["a"], lambda: [{"a": np.zeros((2, 3))}], 2, progress=False
    )[0]


def test_read_only_data_are_prepared_elsewhere_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    beside = tmp_path / "data" / ".prepared"
    beside.parent.mkdir()
    monkeypatch.setattr(
        cache.os, "access", lambda path, mode: not Path(path).is_relative_to(tmp_path / "data")
    )
    monkeypatch.setattr(cli.Command, "load", lambda self: lambda arguments, prog: 0)
    monkeypatch.setenv("SMVAE_CACHE", "nowhere")
    monkeypatch.chdir(tmp_path)
    assert main(["--cache", "elsewhere", "train"]) == 0
    assert os.environ["SMVAE_CACHE"] == str(tmp_path / "elsewhere")
    caplog.set_level("INFO", "smvae_datasets")
    folder = prepare(beside)
    assert folder.parent == tmp_path / "elsewhere" / "prepared"
    assert not beside.exists()
    assert f"{beside} cannot be written: prepared sets are kept in {folder.parent}" in caplog.text
    assert prepare(beside) == folder, "found again"


def test_a_set_that_stands_beside_read_only_data_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = tmp_path / "data" / ".prepared"
    folder = prepare(beside)
    monkeypatch.setattr(cache.os, "access", lambda path, mode: False)
    assert prepare(beside) == folder
    assert folder.parent == beside
