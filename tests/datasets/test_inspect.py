from __future__ import annotations

import io
import json

import h5py
import numpy as np
from rich.console import Console

from smvae_datasets.inspect import inspect_path, print_inspection
from smvae_datasets.vision_touch.files import FIELDS, file_path, read_file, write_file


def change(path, **values):
    """Rewrite a file with some fields changed."""
    write_file(path, {**read_file(path), **values})


def printed(inspection):
    out = io.StringIO()
    print_inspection(inspection, Console(file=out, width=80))
    return out.getvalue().splitlines()


def test_a_valid_folder_gives_one_line_per_field(make_episodes):
    root = make_episodes(a=2, b=1)
    inspection = inspect_path(root)
    assert inspection.valid
    assert inspection.warnings == ()
    assert (inspection.trajectories, inspection.files, inspection.steps) == (2, 3, 150)
    lines = printed(inspection)
    assert len(lines) == 1 + len(FIELDS) + 1
    assert "2 trajectories, 3 files, 150 steps" in lines[0]
    for line, field in zip(lines[1:-1], FIELDS, strict=True):
        assert line.startswith(field.name)
        assert f"[{field.unit}]" in line
    assert lines[-1] == "valid, 0 warnings"
    said = json.loads(json.dumps(inspection.to_json()))
    assert (said["steps"], said["valid"], said["warnings"]) == (150, True, [])
    assert set(said["fields"]) == {f.name for f in FIELDS}


def test_ranges_and_means_are_those_of_the_arrays(episode, fields):
    inspection = inspect_path(episode)
    for summary in inspection.fields:
        values = fields[summary.field.name].astype(np.float64)
        assert summary.minimum == values.min()
        assert summary.maximum == values.max()
        np.testing.assert_allclose(summary.mean, values.mean(), rtol=1e-9, atol=1e-12)
    notes = {s.field.name: s.notes for s in inspection.fields}
    saturated = np.mean(np.abs(np.tanh(fields["ee_forces_continuous"])) > 0.99)
    assert notes["ee_forces_continuous"] == [f"tanh saturates on {saturated:.1%}"]
    assert notes["contact"] == ["100.0% of steps in contact"]


def test_readings_that_look_wrong_are_warnings(episode, fields):
    image = fields["image"].copy()
    image[5] = 0
    depth = fields["depth_data"].copy()
    depth[:3] = 0.0
    force = fields["ee_forces_continuous"].copy()
    force[9] = 1.0
    quaternion = 2.0 * fields["ee_ori"]
    change(
        episode,
        image=image,
        depth_data=depth,
        ee_forces_continuous=force,
        ee_ori=quaternion,
        action=np.zeros((50, 4)),
        joint_vel=np.ones((50, 7)),
    )
    inspection = inspect_path(episode)
    assert inspection.valid
    assert set(inspection.warnings) == {
        "image: all zero in 1 of 50 steps",
        "depth_data: no return at all in 3 of 50 steps",
        "ee_forces_continuous: constant through 1 of 50 windows",
        "ee_ori: not unit length in 50 of 50 steps",
        "action: all zero in 50 of 50 steps",
        "action: constant 0 everywhere",
        "joint_vel: constant 1 everywhere",
        "action: never changes in 50 records looked at; nothing can be learned from it, and live "
        "values that move will look unusual: record it while it moves, or leave it out",
    }
    lines = printed(inspection)
    assert lines[-1] == "valid, 8 warnings"
    assert lines[-2].startswith("training: action: never changes")
    assert any("6.0% outside (0, 2) m" in note for s in inspection.fields for note in s.notes)


def test_some_steps_without_a_command_are_only_a_note(episode, fields):
    action = fields["action"].copy()
    action[:2] = 0.0
    change(episode, action=action)
    inspection = inspect_path(episode)
    assert inspection.warnings == ()
    assert any("all zero in 2 of 50 steps" in line for line in printed(inspection))


def test_a_folder_of_fewer_steps_than_a_batch_is_said(make_episodes):
    root = make_episodes(a=1, b=1)
    (line,) = inspect_path(root).warnings
    assert line.startswith("data: 100 records to train on, fewer than a batch of 128; every step")


def test_every_broken_file_and_field_is_reported_at_once(make_episodes):
    root = make_episodes(a=3)
    with h5py.File(file_path(root, "a", 0), "a") as file:
        del file["proprio"]
        file["action"][4, 2] = np.nan
    cut = file_path(root, "a", 1)
    cut.write_bytes(cut.read_bytes()[:-1])
    inspection = inspect_path(root)
    assert not inspection.valid
    assert len(inspection.errors) == 3
    errors = "\n".join(inspection.errors)
    assert "a_0_1000.h5, field 'proprio': missing" in errors
    assert "a_0_1000.h5, field 'action', step 4: bad value" in errors
    assert "a_1_1000.h5: truncated file" in errors
    lines = printed(inspection)
    assert lines[-1] == "invalid: 3 errors, 0 warnings"
    assert any(x.startswith("proprio") and "not readable in 1 files" in x for x in lines)


def test_a_gap_is_an_error_and_the_files_are_read_all_the_same(make_episodes):
    root = make_episodes(a=2)
    file_path(root, "a", 0).unlink()
    inspection = inspect_path(root)
    assert len(inspection.errors) == 1
    assert "trajectory 'a' has a gap" in inspection.errors[0]
    assert inspection.steps == 50


def test_an_empty_or_missing_path_is_an_error(tmp_path):
    assert "no episodes" in inspect_path(tmp_path).errors[0]
    inspection = inspect_path(tmp_path / "nowhere")
    assert "no such folder" in inspection.errors[0]
    counts, error, verdict = printed(inspection)  # no line for a field that nothing was read of
    assert counts.endswith("0 trajectories, 0 files, 0 steps (0.0 min at 20 Hz)")
    assert "no such folder" in error
    assert verdict == "invalid: 1 errors, 0 warnings"


def test_a_field_that_can_never_be_read_says_so(episode):
    with h5py.File(episode, "a") as file:
        del file["action"]
    line = next(x for x in printed(inspect_path(episode)) if x.startswith("action"))
    assert "never readable" in line
