"""Draws frames (see `process.py`) with rerun. Run by a Python that has rerun and NumPy, not ours.

Nothing of this project is imported: the frames say what there is to draw.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

#: Millimetres are what 16 bits of a distance hold.
_PER_METRE = 1000.0
_JPEG_QUALITY = 90
#: Later stamps are a clock's (2001), earlier ones times since something.
_WALL_NS = 10**18


def read_frames(stream: BinaryIO) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield header and array of every frame until the stream's end.

    Raises:
        EOFError: If it ends inside a frame.
    """
    while size := stream.read(4):
        header = json.loads(_read(stream, struct.unpack("<I", size)[0]))
        dtype, shape = np.dtype(header["dtype"]), tuple(header["shape"])
        data = _read(stream, dtype.itemsize * int(np.prod(shape)))
        yield header, np.frombuffer(data, dtype).reshape(shape)


def _read(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError(f"the frames end after {len(data)} of {size} bytes")
    return data


class Drawing:
    """Logs frames to a rerun recording."""

    def __init__(self, rr: Any) -> None:
        self._rr = rr
        self._named: set[str] = set()
        self._begin_ns: int | None = None

    def draw(self, header: dict[str, Any], array: Any) -> None:
        """Log one frame."""
        getattr(self, f"_{header['form']}")(header, array)

    def _log(self, header: dict[str, Any], *what: Any) -> None:
        for name, times in self._times(header, 1).items():
            self._rr.set_time(name, **{kind: t[0] for kind, t in times.items()})
        self._rr.log(header["path"], *what)

    def _times(self, header: dict[str, Any], count: int) -> dict[str, dict[str, Any]]:
        """Return by timeline the times of `count` readings: since the begin, and by the clock."""
        before = np.arange(count, dtype=np.int64)[::-1] * header.get("period_ns", 0)
        times = header["time_ns"] - before
        if self._begin_ns is None:
            self._begin_ns = header["time_ns"]
        found = {"time": {"duration": (times - self._begin_ns).astype("timedelta64[ns]")}}
        if header["time_ns"] > _WALL_NS:
            found["stamp"] = {"timestamp": times.astype("datetime64[ns]")}
        return found

    def _name(self, header: dict[str, Any]) -> None:
        """Say once what the lines of an entity are called."""
        path = header["path"]
        if path not in self._named:
            self._named.add(path)
            self._rr.log(path, self._rr.SeriesLines(names=header["names"]), static=True)

    def _open(self, header: dict[str, Any], array: Any) -> None:
        rr, states = self._rr, header["states"]
        rr.send_recording_name(header["name"])
        style = rr.StateConfiguration(
            values=list(states),
            labels=list(states),
            colors=[int(c[1:], 16) << 8 | 0xFF for c in states.values()],
        )
        for name in header["sensors"]:
            rr.log(f"state/{name}", style, static=True)
        rr.send_blueprint(layout(header["rows"]))

    def _picture(self, header: dict[str, Any], array: Any) -> None:
        self._log(header, self._rr.Image(array).compress(jpeg_quality=_JPEG_QUALITY))

    def _field(self, header: dict[str, Any], array: Any) -> None:
        limits = header["limits"]
        if header["unit"] == "m" and limits and limits[1] * _PER_METRE < 2**16:
            millimetres = np.rint(np.nan_to_num(array) * _PER_METRE)
            image = np.clip(millimetres, 0, 2**16 - 1).astype(np.uint16)
            drawn = {"meter": _PER_METRE, "depth_range": [v * _PER_METRE for v in limits]}
        else:
            image, drawn = np.nan_to_num(array), {"depth_range": limits}
        self._log(header, self._rr.DepthImage(image, colormap="viridis", **drawn))

    def _points(self, header: dict[str, Any], array: Any) -> None:
        # a plane's second axis points down
        self._log(header, self._rr.Points2D(np.stack([-array[:, 1], -array[:, 0]], axis=1)))

    def _words(self, header: dict[str, Any], array: Any) -> None:
        self._log(header, self._rr.TextDocument(array.tobytes().decode()))

    def _bars(self, header: dict[str, Any], array: Any) -> None:
        self._log(header, self._rr.BarChart(array))

    def _lines(self, header: dict[str, Any], array: Any) -> None:
        self._name(header)
        self._log(header, self._rr.Scalars(array))

    def _curves(self, header: dict[str, Any], array: Any) -> None:
        self._name(header)
        count, width = array.shape
        if count == 1:  # rerun gathers single rows into chunks
            self._log(header, self._rr.Scalars(array[0]))
            return
        times = self._times(header, count).items()
        scalars = self._rr.Scalars.columns(scalars=array.reshape(-1)).partition([width] * count)
        indexes = [self._rr.TimeColumn(name, **column) for name, column in times]
        self._rr.send_columns(header["path"], indexes=indexes, columns=scalars)

    def _state(self, header: dict[str, Any], array: Any) -> None:
        self._log(header, self._rr.StateChange(state=header["state"]))
        if header["reason"]:
            self._rr.log("log", self._rr.TextLog(f"{header['path']}: {header['reason']}"))


def layout(rows: list[list[dict[str, Any]]]) -> Any:
    """Return the blueprint of rows of views."""
    import rerun.blueprint as bp

    views = {
        "plane": bp.Spatial2DView,
        "lines": bp.TimeSeriesView,
        "bars": bp.BarChartView,
        "states": bp.StateTimelineView,
        "words": bp.TextDocumentView,
    }
    drawn = [
        bp.Horizontal(
            *(
                views[view["view"]](
                    origin="/",
                    contents=[f"+ /{path}/**" for path in view["paths"]],
                    name=view["title"],
                )
                for view in row
            )
        )
        for row in rows
    ]
    return bp.Blueprint(bp.Vertical(*drawn), collapse_panels=True)


def main() -> int:
    """Draw what comes on standard input; exit status 3 where rerun cannot be imported."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path, help="write an .rrd file instead of opening a window")
    options = parser.parse_args()
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints is no answer
    try:
        import rerun as rr
    except ImportError as err:
        print(err, file=sys.stderr)
        return 3
    rr.init("smvae", strict=True)
    if options.save:
        rr.save(options.save)
    else:
        rr.spawn(hide_welcome_screen=True)
    print("ready", rr.__version__, file=told, flush=True)
    drawing = Drawing(rr)
    for header, array in read_frames(sys.stdin.buffer):
        drawing.draw(header, array)
    rr.disconnect()
    return 0


if __name__ == "__main__":
    sys.exit(main())
