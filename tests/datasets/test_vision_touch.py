from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from smvae_core.errors import EpisodeError
from smvae_datasets.vision_touch.files import (
    FIELD,
    FIELDS,
    file_path,
    list_trajectories,
    read_attributes,
    read_file,
    write_file,
)


def replace(path: Path, name: str, values: np.ndarray | None) -> None:
    """Replace a field by another array, or remove it."""
    with h5py.File(path, "a") as file:
        del file[name]
        if values is not None:
            file[name] = values


def test_the_table_is_the_published_layout():
    assert {f.name: f.shape for f in FIELDS} == {
        "image": (128, 128, 3),
        "depth_data": (128, 128, 1),
        "ee_forces_continuous": (50, 6),
        "action": (4,),
        "contact": (50,),
        "proprio": (8,),
        "optical_flow": (128, 128, 2),
        "ee_pos": (3,),
        "ee_ori": (4,),
        "ee_vel": (3,),
        "ee_vel_ori": (3,),
        "ee_yaw": (4,),
        "ee_yaw_delta": (4,),
        "joint_pos": (7,),
        "joint_vel": (7,),
    }


def test_what_is_written_is_read_back_exactly(episode, fields):
    back = read_file(episode)
    assert list(back) == [f.name for f in FIELDS]
    for name, values in back.items():
        np.testing.assert_array_equal(values, fields[name])
        assert values.dtype == FIELD[name].dtype
    assert read_attributes(episode)["hole_pose"].tolist() == [0.5, 0.02, 0.1, 0.2]


def test_every_field_is_chunked_per_step_and_compressed(episode):
    with h5py.File(episode) as file:
        assert set(file) == set(FIELD)
        for name, field in FIELD.items():
            assert file[name].chunks == (1, *field.shape)
            assert file[name].compression == "gzip"
            assert file[name].shape == (50, *field.shape)


def test_a_subset_of_fields_can_be_read(episode, fields):
    back = read_file(episode, ["action", "image"])
    assert set(back) == {"action", "image"}
    np.testing.assert_array_equal(back["action"], fields["action"])
    with pytest.raises(EpisodeError, match="unknown field Did you mean 'action'"):
        read_file(episode, ["actoin"])


def test_published_files_may_be_wider_uncompressed_and_hold_more(tmp_path, fields):
    path = file_path(tmp_path, "real", 0)
    with h5py.File(path, "w") as file:
        for name, values in fields.items():
            file[name] = values.astype(np.int64 if name == "image" else np.float64)
        file["tau"] = np.zeros((50, 7))
    back = read_file(path)
    for name, values in fields.items():
        np.testing.assert_array_equal(back[name], values)
        assert back[name].dtype == FIELD[name].dtype
    assert read_attributes(path) == {}


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_refused(episode, share):
    whole = episode.read_bytes()
    episode.write_bytes(whole[: int(share * len(whole))])
    match = (
        "truncated file" if share > 0.01 else "not an HDF5 file, or its beginning is lost|truncated"
    )
    with pytest.raises(EpisodeError, match=match) as info:
        read_file(episode)
    assert str(episode) in str(info.value)
    if share > 0.01:
        assert f"expected {len(whole)} bytes, got {int(share * len(whole))} bytes" in str(
            info.value
        )


def test_a_file_that_somebody_writes_is_named_as_locked(episode):
    writing = "import h5py, sys; f = h5py.File(sys.argv[1], 'r+'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", writing, str(episode)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(EpisodeError, match="locked: another program has it open for writing"):
            read_file(episode)
        writer.communicate("\n")
    assert read_file(episode)


def test_a_pointer_of_git_lfs_is_named(episode):
    episode.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(EpisodeError, match="it is a pointer of Git LFS: `git lfs pull` fetches"):
        read_file(episode)


def test_damaged_data_names_the_field(episode):
    with h5py.File(episode) as file:
        chunk = file["image"].id.get_chunk_info(7)
    data = bytearray(episode.read_bytes())
    for i in range(chunk.size):
        data[chunk.byte_offset + i] ^= 0x5A
    episode.write_bytes(data)
    with pytest.raises(EpisodeError, match="field 'image': damaged data"):
        read_file(episode)


def test_damage_anywhere_is_one_error_or_no_harm(episode, fields):
    data = episode.read_bytes()
    rng = np.random.default_rng(0)
    for offset in rng.integers(0, min(len(data), 20_000), 30):
        damaged = bytearray(data)
        damaged[offset : offset + 8] = struct.pack("<Q", int(rng.integers(0, 2**63)))
        episode.write_bytes(damaged)
        try:
            back = read_file(episode, ["action", "contact", "joint_pos"])
        except EpisodeError:
            continue
        assert {name: values.shape for name, values in back.items()} == {
            name: fields[name].shape for name in back
        }


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(EpisodeError, match="no such file"):
        read_file(tmp_path / "peg_0_1000.h5")


@pytest.mark.parametrize("name", list(FIELD))
def test_a_missing_field_is_refused(episode, name):
    replace(episode, name, None)
    with pytest.raises(EpisodeError, match=f"peg_0_1000.h5, field '{name}': missing"):
        read_file(episode, ["action"] if name != "action" else None)


def test_a_wrong_shape_is_refused(episode):
    replace(episode, "depth_data", np.zeros((50, 64, 64, 1), np.float32))
    match = "field 'depth_data': wrong shape: expected (50, 128, 128, 1), got (50, 64, 64, 1)"
    with pytest.raises(EpisodeError, match=re.escape(match)):
        read_file(episode)


def test_a_file_of_fewer_steps_is_refused(episode, fields):
    replace(episode, "action", fields["action"][:49])
    with pytest.raises(EpisodeError, match=re.escape("expected (50, 4), got (49, 4)")):
        read_file(episode)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_step(episode, fields, bad):
    forces = fields["ee_forces_continuous"]
    forces[17, 3, 2] = bad
    replace(episode, "ee_forces_continuous", forces)
    match = f"step 17: bad value at (3, 2): expected a finite number, got {bad}"
    with pytest.raises(EpisodeError, match="'ee_forces_continuous', " + re.escape(match)):
        read_file(episode)
    assert read_file(episode, ["image"])["image"].shape == (50, 128, 128, 3)


def test_a_wider_value_beyond_float32_is_refused(episode, fields):
    action = fields["action"].astype(np.float64)
    action[4, 1] = 1e300
    replace(episode, "action", action)
    with pytest.raises(EpisodeError, match=r"step 4: .*within float32"):
        read_file(episode)


def test_an_image_of_floats_or_beyond_255_is_refused(episode, fields):
    replace(episode, "image", fields["image"] / np.float32(255.0))
    with pytest.raises(EpisodeError, match="'image': wrong dtype: expected uint8, got float32"):
        read_file(episode)
    image = fields["image"].astype(np.int16)
    image[3, 0, 0, 0] = 256
    replace(episode, "image", image)
    with pytest.raises(EpisodeError, match=r"step 3: .*expected 0 to 255, got 256"):
        read_file(episode)


def test_text_instead_of_numbers_is_refused(episode):
    replace(episode, "action", np.full((50, 4), b"x"))
    with pytest.raises(EpisodeError, match="'action': wrong dtype"):
        read_file(episode)


def test_writing_checks_what_reading_checks_and_leaves_nothing_behind(tmp_path, fields):
    path = file_path(tmp_path, "peg", 0)
    nan = fields["action"].copy()
    nan[2, 0] = np.nan
    with pytest.raises(EpisodeError, match="'action', step 2"):
        write_file(path, {**fields, "action": nan})
    with pytest.raises(EpisodeError, match="'action': wrong shape"):
        write_file(path, {**fields, "action": nan[:10]})
    with pytest.raises(EpisodeError, match="'image': missing"):
        write_file(path, {k: v for k, v in fields.items() if k != "image"})
    with pytest.raises(EpisodeError, match="'forces': unknown field"):
        write_file(path, {**fields, "forces": nan})
    with pytest.raises(TypeError):
        write_file(path, fields, {"extra": object()})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_file_that_was_there(episode, fields):
    before = episode.read_bytes()
    with pytest.raises(TypeError):
        write_file(episode, fields, {"extra": object()})
    assert episode.read_bytes() == before


def test_a_file_is_in_place_only_once_it_is_whole(episode, fields, monkeypatch):
    before = episode.read_bytes()

    def stop(source, target):
        assert read_file(source).keys() == fields.keys()
        assert episode.read_bytes() == before
        raise KeyboardInterrupt

    monkeypatch.setattr("smvae_core.files.os.replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_file(episode, fields)
    assert episode.read_bytes() == before
    assert list(episode.parent.iterdir()) == [episode]


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).touch()


def test_trajectories_are_their_files_in_step_order(tmp_path):
    touch(tmp_path, *(f"peg_1_{k}_1000.h5" for k in range(12)), "peg_0_0_1000.h5", "notes.txt")
    first, second = list_trajectories(tmp_path)
    assert (first.name, first.steps) == ("peg_0", 50)
    assert (second.name, second.steps) == ("peg_1", 600)
    assert [p.name for p in second.files] == [f"peg_1_{k}_1000.h5" for k in range(12)]


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    with pytest.raises(EpisodeError, match="no such folder"):
        list_trajectories(tmp_path / "nowhere")
    with pytest.raises(
        EpisodeError,
        match=r"no episodes: expected NAME_<k>_1000.h5 files, or .*, got an empty folder",
    ):
        list_trajectories(tmp_path)
    (tmp_path / "inner").mkdir()
    touch(tmp_path / "inner", "peg_0_1000.h5")
    with pytest.raises(EpisodeError, match="there are some in 'inner'"):
        list_trajectories(tmp_path)


def test_a_gap_in_a_trajectory_is_refused(tmp_path):
    touch(tmp_path, "peg_0_1000.h5", "peg_1_1000.h5", "peg_3_1000.h5")
    match = "trajectory 'peg' has a gap: expected peg_2_1000.h5, got files 0, 1, 3"
    with pytest.raises(EpisodeError, match=match):
        list_trajectories(tmp_path)


def test_an_unknown_or_doubled_file_is_refused_not_skipped(tmp_path):
    touch(tmp_path, "peg_0_1000.h5", "other.h5")
    with pytest.raises(EpisodeError, match=r"other.h5: file name: expected NAME_<k>_1000.h5"):
        list_trajectories(tmp_path)
    (tmp_path / "other.h5").unlink()
    touch(tmp_path, "peg_00_1000.h5")
    with pytest.raises(EpisodeError, match="file 0 of 'peg' is there twice"):
        list_trajectories(tmp_path)
