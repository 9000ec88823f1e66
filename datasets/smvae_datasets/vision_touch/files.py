"""The Vision&Touch HDF5 layout, read and written: files `NAME_<k>_1000.h5` of 50 steps each.

A trajectory is its files k = 0, 1, ...; file k holds its steps 50 k to 50 k + 49. `FIELDS` is the
one table of what a file holds. Writing follows it exactly; reading casts number widths (published
files may hold float64), ignores extra fields, and is strict about names, shapes, finite values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import EpisodeError, did_you_mean
from smvae_core.files import write_bytes
from smvae_core.what_is import recordings, what_is
from smvae_datasets.unreadable import why_unreadable

#: Steps in one file.
STEPS_PER_FILE = 50
#: Steps per second of the recordings.
STEP_RATE_HZ = 20.0
#: Name of file k of a trajectory; 1000 is the authors' trajectory length and part of every name.
FILE_NAME = re.compile(r"^(?P<name>.+)_(?P<k>\d+)_1000\.h5$")
#: What a folder of episodes is known by, for errors.
_WANTED = "NAME_<k>_1000.h5 files, or a folder that `smvae episodes` wrote"

#: Of rendered steps, each on one core: this writes 50 kB in 1.3 ms (simulating one takes 10 ms),
#: lzf 59 kB in 0.9 ms and only h5py reads it; gzip 4 46 kB in 1.7 ms; none 248 kB. Reading: 0.6 ms.
COMPRESSION = {"compression": "gzip", "compression_opts": 1, "shuffle": True}

#: What h5py raises on damaged bytes.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError)


@dataclass(frozen=True)
class Field:
    """One array of an episode file."""

    name: str
    shape: tuple[int, ...]
    """Shape of one step; the file's array is (50, *shape)."""
    dtype: str
    """What is written and what `read_file` returns."""
    unit: str
    meaning: str


#: Everything an episode file holds, in file order; positions are in the robot's base frame. The
#: meanings are those of our files: the authors do not tell e.g. the order in a quaternion.
FIELDS: tuple[Field, ...] = (
    Field("image", (128, 128, 3), "uint8", "1", "RGB of the fixed camera at the step's end"),
    Field("depth_data", (128, 128, 1), "float32", "m", "depth along the optical axis, 0 = none"),
    Field("optical_flow", (128, 128, 2), "float32", "px", "image motion x, y since the last step"),
    Field("ee_forces_continuous", (50, 6), "float32", "N, N m", "1 kHz wrist wrench, oldest first"),
    Field("contact", (50,), "uint8", "bool", "1 where that reading was in contact"),
    Field("action", (4,), "float32", "m, rad", "commanded displacement x, y, z, yaw of this step"),
    Field("proprio", (8,), "float32", "m, rad, m/s, rad/s", "position, yaw, velocity, yaw rate"),
    Field("ee_pos", (3,), "float32", "m", "tool (peg) tip position x, y, z"),
    Field("ee_ori", (4,), "float32", "1", "tool orientation, unit quaternion w, x, y, z"),
    Field("ee_vel", (3,), "float32", "m/s", "tool tip velocity x, y, z"),
    Field("ee_vel_ori", (3,), "float32", "rad/s", "tool angular velocity x, y, z"),
    Field("ee_yaw", (4,), "float32", "1", "tool yaw alone, unit quaternion w, x, y, z"),
    Field("ee_yaw_delta", (4,), "float32", "1", "yaw since the last step, unit quaternion"),
    Field("joint_pos", (7,), "float32", "rad", "joint positions"),
    Field("joint_vel", (7,), "float32", "rad/s", "joint velocities"),
)
FIELD = {field.name: field for field in FIELDS}


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One recording: its files in order, 50 steps each."""

    name: str
    files: tuple[Path, ...]

    @property
    def steps(self) -> int:
        return STEPS_PER_FILE * len(self.files)


def file_path(root: Path, name: str, k: int) -> Path:
    """Return the path of file `k` of the trajectory `name`."""
    return root / f"{name}_{k}_1000.h5"


def write_file(
    path: Path, fields: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any] | None = None
) -> None:
    """Write one file of 50 steps, whole or not at all.

    Args:
        path: Target, `file_path(root, name, k)`; replaced if it is there.
        fields: All of `FIELDS` by name, arrays (50, *field.shape); floats of any width.
        attributes: Extras, stored as attributes of the file: numbers, strings or small arrays,
            e.g. hole_pose = (x, y, z, yaw) in m and rad.

    Raises:
        EpisodeError: If a field is missing, unknown, of a wrong shape or dtype, or not finite.
    """
    for name in fields:
        if name not in FIELD:
            raise EpisodeError(path, f"unknown field{did_you_mean(name, FIELD)}", field=name)
    arrays = {}
    for field in FIELDS:
        if field.name not in fields:
            raise EpisodeError(path, "missing field", field=field.name)
        arrays[field.name] = _checked(path, field, np.asarray(fields[field.name]))
    # in memory first: on a full disk HDF5 ends the process instead of raising an error
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        for field in FIELDS:
            file.create_dataset(
                field.name, data=arrays[field.name], chunks=(1, *field.shape), **COMPRESSION
            )
            file[field.name].attrs["unit"] = field.unit
        for key, value in (attributes or {}).items():
            file.attrs[key] = value
        file.flush()
        content = file.id.get_file_image()
    write_bytes(path, content)


def read_file(path: Path, fields: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read one file of 50 steps, validated.

    Args:
        path: An episode file.
        fields: Names of `FIELDS` to read; all by default. The others are only checked for their
            presence and shape.

    Returns:
        name -> (50, *field.shape) in the dtype of `FIELDS`.

    Raises:
        EpisodeError: If the file is not readable (truncated, not HDF5), or a field is missing, of
            a wrong shape or dtype, or not finite.
    """
    wanted = set(FIELD if fields is None else fields)
    for name in sorted(wanted - set(FIELD)):
        raise EpisodeError(path, f"unknown field{did_you_mean(name, FIELD)}", field=name)
    with open_file(path) as file:
        for field in FIELDS:
            find_field(path, file, field)
        return {f.name: load_field(path, file, f) for f in FIELDS if f.name in wanted}


def find_field(path: Path, file: h5py.File, field: Field) -> h5py.Dataset:
    """Return a field of an open file, its values not read yet.

    Raises:
        EpisodeError: If it is missing, damaged or of a wrong shape.
    """
    try:
        dataset = file.get(field.name)
        names = ", ".join(file)
    except _DAMAGE as err:
        raise EpisodeError(path, f"damaged file ({err})", field=field.name) from err
    if not isinstance(dataset, h5py.Dataset):
        raise EpisodeError(
            path, "missing field", field=field.name, expected="it", got=names or "none"
        )
    _check_shape(path, field, dataset.shape)
    return dataset


def load_field(path: Path, file: h5py.File, field: Field) -> NDArray[Any]:
    """Return the values (50, *field.shape) of a field of an open file, in the field's dtype.

    Raises:
        EpisodeError: If it is missing, damaged, of a wrong shape or dtype, or not finite.
    """
    dataset = find_field(path, file, field)
    try:
        values = np.asarray(dataset[()])
    except _DAMAGE as err:
        raise EpisodeError(path, f"damaged data ({err})", field=field.name) from err
    return _checked(path, field, values)


def read_attributes(path: Path) -> dict[str, Any]:
    """Return the extras of a file, e.g. hole_pose; empty for the published files."""
    with open_file(path) as file:
        return dict(file.attrs)


def open_file(path: Path) -> h5py.File:
    """Open an episode file for reading.

    Raises:
        EpisodeError: If it is missing, truncated or not HDF5.
    """
    if not path.is_file():
        raise EpisodeError(path, "no such file")
    try:
        return h5py.File(path, "r")
    except OSError as err:
        reason = str(err)
        if "truncated" in reason:
            size = path.stat().st_size
            promised = re.search(r"stored_eof = (\d+)", reason)
            raise EpisodeError(
                path,
                "truncated file",
                expected=f"{promised[1]} bytes" if promised else "more bytes",
                got=f"{size} bytes",
            ) from err
        told = why_unreadable(path, err)
        if not told and not h5py.is_hdf5(path):
            told = "not an HDF5 file, or its beginning is lost"
        told = told or f"not a readable HDF5 file ({reason})"
        raise EpisodeError(path, told) from err


def list_trajectories(root: Path) -> list[Trajectory]:
    """Return the trajectories of a folder, sorted by name, files in step order.

    Raises:
        EpisodeError: If the folder is missing or holds no .h5 file, if an .h5 file is not named
            NAME_<k>_1000.h5, or if a trajectory lacks a file between 0 and its last.
    """
    if not root.is_dir():
        raise _no_episodes(root, "no such folder")
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(root.glob("*.h5")):
        if path.name.startswith("."):
            continue
        match = FILE_NAME.match(path.name)
        if match is None:
            raise EpisodeError(path, "file name", expected="NAME_<k>_1000.h5", got=path.name)
        files = found.setdefault(match["name"], {})
        k = int(match["k"])
        if k in files:
            raise EpisodeError(path, f"file {k} of '{match['name']}' is there twice")
        files[k] = path
    if not found:
        raise _no_episodes(root, "no episodes")
    for name, files in found.items():
        for k in range(max(files)):
            if k not in files:
                expected = file_path(root, name, k).name
                got = f"files {', '.join(map(str, sorted(files)))}"
                raise EpisodeError(
                    root, f"trajectory '{name}' has a gap", expected=expected, got=got
                )
    return [
        Trajectory(name=name, files=tuple(files[k] for k in sorted(files)))
        for name, files in sorted(found.items())
    ]


def _no_episodes(root: Path, what: str) -> EpisodeError:
    """Return the error that says what a path is instead, and of a recording what to do with it."""
    got = what_is(root)
    if given := recordings(root):
        make = f"smvae episodes {given} --robot robot.yaml --out episodes"
        return EpisodeError(
            root, "is a recording", expected=_WANTED, got=f"{got}: `{make}` makes episodes of it"
        )
    inner = next((p.parent.relative_to(root) for p in sorted(root.rglob("*.h5"))), None)
    if inner:
        got = f"none here; there are some in '{inner}'"
    return EpisodeError(root, what, expected=_WANTED, got=got)


def _check_shape(path: Path, field: Field, shape: tuple[int, ...]) -> None:
    expected = (STEPS_PER_FILE, *field.shape)
    if shape != expected:
        raise EpisodeError(path, "wrong shape", field=field.name, expected=expected, got=shape)


def _checked(path: Path, field: Field, array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` in the field's dtype after checking shape, kind of number and values."""
    _check_shape(path, field, array.shape)
    kinds = "iu" if field.name == "image" else "biuf"
    if array.dtype.kind not in kinds:
        raise EpisodeError(
            path, "wrong dtype", field=field.name, expected=field.dtype, got=array.dtype
        )
    if array.dtype.kind == "f":
        _check_values(path, field, array, np.isfinite(array), "a finite number")
    if field.name == "image":
        inside = (array >= 0) & (array <= 255) if array.dtype != np.uint8 else None
        if inside is not None:
            _check_values(path, field, array, inside, "0 to 255")
    if field.unit == "bool":  # like upstream, which sums the readings and asks for more than 0
        return np.asarray(array != 0, dtype=field.dtype)
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(array, dtype=field.dtype)
    if cast.dtype != array.dtype and cast.dtype.kind == "f":
        _check_values(path, field, array, np.isfinite(cast), "a number within float32")
    return cast


def _check_values(
    path: Path, field: Field, array: NDArray[Any], good: NDArray[np.bool_], expected: str
) -> None:
    if good.all():
        return
    where = np.argwhere(~good)[0]
    raise EpisodeError(
        path,
        f"bad value at {tuple(int(i) for i in where[1:])}",
        field=field.name,
        step=int(where[0]),
        expected=expected,
        got=array[tuple(where)],
    )
