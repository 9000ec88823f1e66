from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smvae_core.errors import ConfigError, EpisodeError
from smvae_core.modality import Modality
from smvae_core.preprocessing import prepare
from smvae_core.presets import VISION_TOUCH, vision_touch
from smvae_datasets import cache as cache_module
from smvae_datasets.sources import prepare_source
from smvae_datasets.vision_touch import prepared as prepared_module
from smvae_datasets.vision_touch.files import file_path, list_trajectories, read_file, write_file
from smvae_datasets.vision_touch.prepared import prepare_episodes

HOLE = {"hole_pose": np.array([0.5, 0.02, 0.1, 0.2])}


def raw_steps(root):
    """Return every step of every trajectory as (trajectory, step, fields)."""
    return [
        (index, 50 * k + i, {name: values[i] for name, values in fields.items()})
        for index, trajectory in enumerate(list_trajectories(root))
        for k, path in enumerate(trajectory.files)
        for fields in [read_file(path)]
        for i in range(50)
    ]


def test_every_sample_is_what_the_live_preprocessing_gives(make_episodes):
    root = make_episodes(HOLE, b=1, a=2)
    episodes = prepare_episodes(root, VISION_TOUCH, progress=False)
    steps = raw_steps(root)
    assert len(episodes) == len(steps) == 150
    assert episodes.group_names == ("a", "b")
    for n, (trajectory, step, fields) in enumerate(steps):
        assert (episodes.group[n], episodes.stamp_ns[n]) == (trajectory, step * 50_000_000)
        assert episodes.targets["contact"].values[n] == fields["contact"][-32:].any()
        offset_m = episodes.targets["offset"].values[n]
        np.testing.assert_allclose(offset_m, fields["ee_pos"] - [0.5, 0.02, 0.1], atol=1e-6)
        for modality in VISION_TOUCH:
            live = prepare(modality, fields[modality.source])
            np.testing.assert_array_equal(episodes.arrays[modality.name][n], live)
            assert episodes.arrays[modality.name].dtype == live.dtype
    assert episodes.arrays["rgb"].dtype == np.uint8
    assert isinstance(episodes.arrays["rgb"], np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        episodes.arrays["rgb"][0] = 0


def test_contact_counts_only_the_readings_that_the_force_window_holds(tmp_path, fields):
    fields["contact"][:] = 0
    fields["contact"][3, 17] = fields["contact"][4, 18] = 1
    write_file(file_path(tmp_path, "a", 0), fields)
    episodes = prepare_episodes(tmp_path, VISION_TOUCH[-1:], progress=False)
    assert np.flatnonzero(episodes.targets["contact"].values).tolist() == [4]


def test_the_hole_is_a_target_of_each_record(make_episodes):
    target = prepare_episodes(make_episodes(HOLE, a=1), VISION_TOUCH[-1:], progress=False).targets[
        "hole"
    ]
    assert target.fields == ("x", "y", "z", "sin_yaw", "cos_yaw")
    x, y, z, yaw = HOLE["hole_pose"]
    expected = np.tile(np.float32([x, y, z, np.sin(yaw), np.cos(yaw)]), (50, 1))
    np.testing.assert_allclose(target.values, expected, rtol=1e-6)


def test_offsets_are_nan_where_the_file_has_no_hole(make_episodes):
    episodes = prepare_episodes(make_episodes(a=1), VISION_TOUCH[-1:], progress=False)
    assert np.isnan(episodes.targets["offset"].values).all()
    assert not episodes.targets["hole"].known.any()


def test_next_pairs_each_observation_with_the_following_action(make_episodes):
    root = make_episodes(HOLE, a=2, b=1)
    newest = prepare_episodes(root, VISION_TOUCH, progress=False)
    following = prepare_episodes(root, VISION_TOUCH, action="next", progress=False)
    assert len(following) == 99 + 49
    kept = np.r_[0:99, 100:149]  # the last step of each trajectory has no following action
    for name in ("rgb", "depth", "force"):
        np.testing.assert_array_equal(following.arrays[name], newest.arrays[name][kept])
    np.testing.assert_array_equal(following.arrays["action"], newest.arrays["action"][kept + 1])
    for name in ("group", "stamp_ns"):
        np.testing.assert_array_equal(getattr(following, name), getattr(newest, name)[kept])
    for name, target in newest.targets.items():
        np.testing.assert_array_equal(following.targets[name].values, target.values[kept])
    assert newest.path != following.path


def test_an_unchanged_folder_is_not_read_again(make_episodes, monkeypatch):
    root = make_episodes(HOLE, a=1)
    first = prepare_episodes(root, VISION_TOUCH, progress=False)
    monkeypatch.setattr(prepared_module.steps, "prepared_steps", None)
    again = prepare_episodes(root, VISION_TOUCH, progress=False)
    assert again.path == first.path
    np.testing.assert_array_equal(again.arrays["force"], first.arrays["force"])


def test_a_changed_file_is_prepared_again_and_the_old_set_removed(make_episodes):
    root = make_episodes(HOLE, a=1, b=1)
    first = prepare_episodes(root, VISION_TOUCH, progress=False)
    kept = prepare_episodes(root, vision_touch(32), progress=False)
    path = file_path(root, "b", 0)
    fields = read_file(path)
    fields["action"][:] = 7.0
    write_file(path, fields, HOLE)
    second = prepare_episodes(root, VISION_TOUCH, progress=False)
    assert (second.arrays["action"][50:] == 7.0).all()
    assert not first.path.exists()
    assert kept.path.exists()
    assert first.arrays["rgb"][0].any()  # a reader of the old set keeps it


def test_a_source_lists_its_episodes_once(make_episodes, monkeypatch):
    root, listed = make_episodes(HOLE, a=1), []
    glob = Path.glob
    monkeypatch.setattr(
        Path, "glob", lambda self, pattern: (listed.append((self, pattern)), glob(self, pattern))[1]
    )
    assert len(prepare_source("episodes", root, VISION_TOUCH, progress=False)) > 0
    assert listed.count((root, "*.h5")) == 1


def test_a_touched_or_added_file_changes_the_fingerprint(make_episodes):
    root = make_episodes(HOLE, a=1)
    first = prepare_episodes(root, VISION_TOUCH, progress=False)
    os.utime(file_path(root, "a", 0), ns=(1, 1))
    second = prepare_episodes(root, VISION_TOUCH, progress=False)
    assert second.path != first.path
    assert len(prepare_episodes(make_episodes(HOLE, a=2), VISION_TOUCH, progress=False)) == 100


def test_changed_preprocessing_code_changes_the_fingerprint(make_episodes, monkeypatch, tmp_path):
    root = make_episodes(HOLE, a=1)
    first = prepare_episodes(root, VISION_TOUCH, progress=False)
    changed = tmp_path / "preprocessing.py"
    changed.write_text("# other code\n")
    monkeypatch.setattr(cache_module.preprocessing, "__file__", str(changed))
    assert prepare_episodes(root, VISION_TOUCH, progress=False).path != first.path


def test_two_processes_that_prepare_at_once_share_one_result(make_episodes, monkeypatch):
    root = make_episodes(HOLE, a=1)
    inner, results = cache_module._write_arrays, []

    def overtaken(*arguments):
        inner(*arguments)
        if not results:
            results.append(None)
            results.append(prepare_episodes(root, VISION_TOUCH, progress=False))

    monkeypatch.setattr(cache_module, "_write_arrays", overtaken)
    slower = prepare_episodes(root, VISION_TOUCH, progress=False)
    assert slower.path == results[1].path
    np.testing.assert_array_equal(slower.arrays["rgb"], results[1].arrays["rgb"])
    assert [p.name for p in slower.path.parent.iterdir()] == [slower.path.name]


def test_an_incomplete_cache_is_made_again(make_episodes):
    root = make_episodes(HOLE, a=1)
    path = prepare_episodes(root, VISION_TOUCH, progress=False).path
    (path / "prepared.json").unlink()
    (path / "rgb.npy").unlink()
    assert len(prepare_episodes(root, VISION_TOUCH, progress=False).arrays["rgb"]) == 50


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "prepared.json").write_text(""), r"prepared.json is damaged \(Expecting"),
        (
            lambda f: (f / "prepared.json").write_text('{"format": 2, "se'),
            "prepared.json is damaged",
        ),
        (lambda f: (f / "prepared.json").write_text("[1]"), "prepared.json is of another set"),
        (lambda f: (f / "prepared.json").unlink(), "prepared.json is gone"),
        (lambda f: cut(f / "rgb.npy", 100_000), r"rgb.npy is damaged \(mmap length"),
        (lambda f: cut(f / "rgb.npy", 40), "rgb.npy is damaged"),
        (lambda f: cut(f / "contact.npy", 0), "contact.npy is damaged"),
        (lambda f: (f / "rgb.npy").unlink(), "rgb.npy is gone"),
        (lambda f: np.save(f / "rgb.npy", np.zeros(3)), "rgb.npy: expected 50 records, got 3"),
        (lambda f: [shutil.rmtree(f), f.write_text("")], "prepared.json is damaged"),
    ],
)
def test_a_damaged_cache_is_made_again_and_said_in_one_line(make_episodes, caplog, damage, said):
    root = make_episodes(HOLE, a=1)
    first = prepare_episodes(root, VISION_TOUCH, progress=False)
    expected = np.array(first.arrays["rgb"])
    damage(first.path)
    caplog.clear()
    again = prepare_episodes(root, VISION_TOUCH, progress=False)
    np.testing.assert_array_equal(again.arrays["rgb"], expected)
    assert again.targets["contact"].values.shape == (50, 1)
    (line,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert re.search(f"^prepared again: .*{said}", line)
    assert [p.name for p in again.path.parent.iterdir()] == [again.path.name]


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def test_a_damaged_neighbour_is_removed_and_said_in_one_line(make_episodes, caplog):
    root = make_episodes(HOLE, a=1)
    neighbour = prepare_episodes(root, vision_touch(32), progress=False).path
    cut(neighbour / "prepared.json", 300)
    prepare_episodes(root, VISION_TOUCH, progress=False)
    (line,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert re.search(rf"^damaged \(.*\) prepared set removed: .*{neighbour.name}$", line)
    assert not neighbour.exists()


def test_a_set_that_a_neighbour_removes_before_it_is_opened_is_made_again(
    make_episodes, monkeypatch
):
    root = make_episodes(HOLE, a=1)
    inner, left = cache_module._publish, [2]

    def robbed(temporary, folder, opened):
        inner(temporary, folder, opened)
        if left[0]:
            left[0] -= 1
            shutil.rmtree(folder)

    monkeypatch.setattr(cache_module, "_publish", robbed)
    assert len(prepare_episodes(root, VISION_TOUCH, progress=False).arrays["rgb"]) == 50


def test_a_whole_set_that_appears_while_a_damaged_one_is_replaced_stays(make_episodes, monkeypatch):
    """Removing what stood there, as one process did, would take the other's files away."""
    root = make_episodes(HOLE, a=1)
    path = prepare_episodes(root, VISION_TOUCH, progress=False).path
    cut(path / "rgb.npy", 1000)
    inner, theirs = cache_module._write_arrays, []

    def overtaken(*arguments):
        inner(*arguments)
        if not theirs:
            theirs.append(None)
            prepare_episodes(root, VISION_TOUCH, progress=False)
            theirs.append((path / "rgb.npy").stat().st_ino)

    monkeypatch.setattr(cache_module, "_write_arrays", overtaken)
    prepare_episodes(root, VISION_TOUCH, progress=False)
    assert (path / "rgb.npy").stat().st_ino == theirs[1]


def test_many_processes_prepare_one_damaged_set_at_once(make_episodes):
    root = make_episodes(HOLE, a=1)
    path = prepare_episodes(root, VISION_TOUCH, progress=False).path
    cut(path / "rgb.npy", 1000)
    program = (
        "from pathlib import Path; from smvae_core.presets import VISION_TOUCH\n"
        "from smvae_datasets.vision_touch.prepared import prepare_episodes\n"
        f"e = prepare_episodes(Path({str(root)!r}), VISION_TOUCH, progress=False)\n"
        "print(len(e), int(e.arrays['rgb'].sum()))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(4)
    ]
    said = {process.communicate()[0] for process in running}
    assert [process.returncode for process in running] == [0] * 4
    assert len(said) == 1
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_bad_file_leaves_no_cache_behind(make_episodes, tmp_path):
    root = make_episodes(HOLE, a=2)
    path = file_path(root, "a", 1)
    path.write_bytes(path.read_bytes()[:-100])
    cache = tmp_path / "cache"
    with pytest.raises(EpisodeError, match=r"a_1_1000.h5: truncated file"):
        prepare_episodes(root, VISION_TOUCH, cache=cache, progress=False)
    assert list(cache.iterdir()) == []


def test_a_cache_elsewhere_is_used(make_episodes, tmp_path):
    root = make_episodes(HOLE, a=1)
    episodes = prepare_episodes(root, VISION_TOUCH, cache=tmp_path / "cache", progress=False)
    assert episodes.path.parent == tmp_path / "cache"
    assert {p.suffix for p in root.iterdir()} == {".h5"}


def test_a_wrong_hole_pose_is_refused(make_episodes):
    root = make_episodes({"hole_pose": np.zeros(3)}, a=1)
    with pytest.raises(EpisodeError, match="attribute 'hole_pose': expected 4 finite numbers"):
        prepare_episodes(root, VISION_TOUCH, progress=False)


def test_a_field_that_does_not_suit_its_kind_names_the_step(make_episodes):
    odd = Modality(name="odd", kind="vector", shape=(3,), unit="m", source="action")
    with pytest.raises(EpisodeError, match=r"field 'action', step 0: odd: shape: expected \(3,\)"):
        prepare_episodes(make_episodes(a=1), (odd,), progress=False)


def test_settings_that_cannot_be_used_are_refused(make_episodes):
    root = make_episodes(a=1)
    force = VISION_TOUCH[2]
    with pytest.raises(ConfigError, match="expected 'newest' or 'next', got 'last'"):
        prepare_episodes(root, VISION_TOUCH, action="last")
    with pytest.raises(ConfigError, match=r"source 'ee_force' is no episode field. Did you mean"):
        prepare_episodes(root, (replace(force, source="ee_force"),))
    with pytest.raises(ConfigError, match="at least one modality"):
        prepare_episodes(root, ())
    with pytest.raises(ConfigError, match="must differ"):
        prepare_episodes(root, (force, force))


def test_depth_that_is_empty_within_its_range_is_not_recorded(
    tmp_path, fields, caplog: pytest.LogCaptureFixture
) -> None:
    far = fields["depth_data"].copy()
    far[7] = 3.0  # beyond the 2 m of the declaration
    write_file(file_path(tmp_path, "a", 0), fields | {"depth_data": far})
    prepared = prepare_episodes(tmp_path, VISION_TOUCH, progress=False)
    missing = np.argwhere(~prepared.recorded)
    assert missing.tolist() == [[7, 1]]
    assert not prepared.arrays["depth"][7].any()
    assert "depth: 1 of 50 samples are empty" in caplog.text
    assert "step 7 of trajectory a" in caplog.text


def test_some_of_the_records_are_taken_with_all_that_belongs_to_them(make_episodes):
    whole = prepare_episodes(make_episodes(HOLE, a=2, b=1), VISION_TOUCH, progress=False)
    rows = np.array([140, 3, 70])
    some = whole.take(rows)
    assert len(some) == 3
    for name in ("group", "recorded", "stamp_ns"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[rows])
    for kind in ("arrays", "targets"):
        assert getattr(some, kind).keys() == getattr(whole, kind).keys()
    np.testing.assert_array_equal(some.arrays["rgb"], whole.arrays["rgb"][rows])
    of_both = [(t.targets["offset"].values, t.end_effector.values) for t in (some, whole)]
    for taken, given in zip(*of_both, strict=True):
        np.testing.assert_array_equal(taken, given[rows])
