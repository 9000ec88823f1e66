"""The viewer's process: rerun needs NumPy 2 and much room, so it lives in a Python of its own.

Frames go to its standard input: four bytes little endian, so many bytes of JSON with `dtype` and
`shape` of the array, then the array's bytes in C order. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import SMVAEError

#: Names the Python that has rerun where no option does.
VARIABLE = "SMVAE_VIEWER_PYTHON"
#: Where `scripts/setup_viewer.sh` puts it, below the folder of the clone or the present one.
PLACE = Path(".venv-view/bin/python")
#: What the viewer says, on its standard output, when it can draw.
READY = "ready"
SCRIPT = Path(__file__).with_name("rerun_viewer.py")


class ViewerError(SMVAEError, RuntimeError):
    """A viewer that cannot start, or stopped before the end."""


class NoViewer(ViewerError):
    """No Python with rerun."""

    def __init__(self, python: str, why: str) -> None:
        venv = PLACE.parents[1]
        super().__init__(
            f"rerun cannot be used by {python} ({why}): `python3 -m venv {venv} && {venv}/bin/pip "
            f"install rerun-sdk==0.41.0` gets it, or name a Python that has it by --viewer-python "
            f"or {VARIABLE}"
        )


def viewer_python(given: Path | str | None = None) -> str:
    """Return the Python that has rerun: as given, by environment, in its usual place, or our own.

    Args:
        given: By option; None = not said.
    """
    if named := str(given or os.environ.get(VARIABLE, "")):
        return named
    beside = (Path.cwd(), Path(__file__).parents[2])
    found = (folder / PLACE for folder in beside)
    return next((str(path) for path in found if path.exists()), sys.executable)


def why_no_viewer(python: Path | str | None = None) -> str:
    """Return '' or in one line why nothing can be drawn, and what gets a viewer.

    Args:
        python: See `viewer_python`.
    """
    with TemporaryDirectory(prefix="smvae-view-") as folder:
        try:
            with Viewer(["--save", Path(folder) / "nothing.rrd"], python=python):
                return ""
        except ViewerError as err:
            return str(err)


class Viewer:
    """A running viewer; a context manager, which waits until everything is written."""

    def __init__(
        self,
        arguments: Iterable[str | Path] = (),
        *,
        python: Path | str | None = None,
        script: Path = SCRIPT,
    ) -> None:
        """Start it.

        Args:
            arguments: For the script, see its --help.
            python: See `viewer_python`.
            script: Reads the frames.

        Raises:
            NoViewer: If this Python has no rerun.
        """
        self._python = viewer_python(python)
        command = [self._python, str(script), *map(str, arguments)]
        # what is set for our Python would lead its Python to our packages
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        self._words = TemporaryFile()  # noqa: SIM115 (`_end` closes it)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                env=environment,
                start_new_session=True,  # Ctrl-C is ours: what was sent is still written
            )
        except OSError as err:
            self._words.close()
            raise NoViewer(self._python, err.strerror or str(err)) from err
        assert self._process.stdout is not None
        with self._process.stdout as told:
            ready = told.readline().split()[:1] == [READY.encode()]
        if not ready:
            raise NoViewer(self._python, self._end() or "it said nothing")

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Wait for the viewer; where we failed, only end it."""
        if error is not None:
            if self._process.poll() is None:
                self._process.kill()
                self._end()
            return
        self.close()

    def send(self, header: Mapping[str, Any], array: NDArray[Any]) -> None:
        """Send one frame; waits while the viewer is busy.

        Raises:
            ViewerError: If the viewer has stopped.
        """
        array = np.ascontiguousarray(array)
        told = dict(header) | {"dtype": array.dtype.str, "shape": array.shape}
        text = json.dumps(told).encode()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(struct.pack("<I", len(text)) + text + array.tobytes())
            self._process.stdin.flush()
        except BrokenPipeError as err:
            raise ViewerError(f"the viewer stopped: {self._end() or 'it said nothing'}") from err

    def close(self) -> None:
        """Say that there is no more, and wait until everything is drawn or written.

        Raises:
            ViewerError: If the viewer failed.
        """
        last_words = self._end()
        if status := self._process.returncode:
            raise ViewerError(f"the viewer failed: {last_words or f'exit status {status}'}")

    def _end(self) -> str:
        """Wait for its end and return the last line that it wrote to standard error."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        with self._words as words:
            words.seek(0)
            lines = words.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""
