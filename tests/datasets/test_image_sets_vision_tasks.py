from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from smvae_core.errors import ConfigError, EpisodeError, MissingDependency
from smvae_core.preprocessing import prepare
from smvae_core.presets import vision_tasks
from smvae_datasets.dataset import DataSetError
from smvae_datasets.image_sets import transforms
from smvae_datasets.image_sets.fetching import CACHE_VARIABLE
from smvae_datasets.image_sets.frames import find_frames
from smvae_datasets.image_sets.vision_tasks import prepare_vision_tasks, transform
from smvae_datasets.sources import prepare_source
from smvae_datasets.vision_touch.files import file_path, read_file

MODALITIES = vision_tasks()
WITHOUT_MASK = tuple(m for m in MODALITIES if m.source != "mask")


def make_image(n: int, height: int = 200, width: int = 160) -> np.ndarray:
    """Return a dark wall with a box; where it stands and its colour tell the image."""
    image = np.full((height, width, 3), 40, np.uint8)
    top, left = 40 + n, 30 + 2 * n
    image[top : top + 60, left : left + 50] = (255, 255, 255 - 9 * n)
    return image


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Ten images, one of them deeper."""
    root = tmp_path / "images"
    (root / "deep").mkdir(parents=True)
    for n in range(10):
        path = root / ("deep" if n == 3 else "") / f"image_{n}.png"
        cv2.imwrite(str(path), make_image(n)[:, :, ::-1])
    return root


def write_landmarks(folder: Path, points, names=None) -> Path:
    names = names or sorted(p.name for p in folder.rglob("*.png"))
    flat = " ".join(str(v) for point in points for v in point)
    header = " ".join(f"p{i}_{axis}" for i in range(len(points)) for axis in "xy")
    lines = [str(len(names)), header, *(f"{name} {flat}" for name in names)]
    path = folder / "list_landmarks_align_celeba.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


FIVE = ((60, 80), (100, 80), (80, 105), (65, 130), (95, 130))


def test_each_modality_is_its_transformation_of_the_central_square(folder):
    write_landmarks(folder, FIVE)
    records = prepare_source("vision_tasks", folder, MODALITIES, progress=False)
    paths = sorted(folder.rglob("*.png"))
    assert (len(records), records.origin, records.name) == (10, "images", "vision_tasks")
    for index, path in enumerate(paths):
        image = cv2.imread(str(path))[:, :, ::-1]
        square = np.ascontiguousarray(image[20:180])
        points = np.array(FIVE) - (0, 20)
        for m in MODALITIES:
            expected = prepare(m, transform(m.source, square, index=index, points=points))
            np.testing.assert_array_equal(records.arrays[m.name][index], expected)
            assert records.arrays[m.name].shape == (10, *m.shape)


def test_large_images_are_shrunk_to_the_width_of_celeba_first(tmp_path):
    root = tmp_path / "large"
    root.mkdir()
    for n in range(2):
        image = cv2.resize(make_image(n, 160, 160), (640, 640), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(root / f"{n}.png"), image[:, :, ::-1])
    write_landmarks(root, 4 * np.array(FIVE))
    records = prepare_source("vision_tasks", root, MODALITIES, progress=False)
    small = transforms.landmark_mask(np.array(FIVE) * 178 / 160, 178)
    mask = next(m for m in MODALITIES if m.source == "mask")
    np.testing.assert_array_equal(records.arrays["mask"][0], prepare(mask, small))
    # the edge of a box is as wide as at 160 pixels: about one pixel of 178, so faint at 64
    assert 0.01 < (records.arrays["edges"][0] > 0).mean() < 0.2


def test_the_split_is_a_fifth_by_hashed_name_whatever_the_folder_is_called(folder, tmp_path):
    first = find_frames(folder)
    assert (first.group == 1).sum() == 2
    folder.rename(tmp_path / "elsewhere")
    np.testing.assert_array_equal(find_frames(tmp_path / "elsewhere").group, first.group)


def test_the_published_parts_of_celeba_go_before_the_hash(folder):
    names = sorted(p.name for p in folder.rglob("*.png"))
    partition = folder / "list_eval_partition.txt"
    partition.write_text("".join(f"{name} {i % 3}\n" for i, name in enumerate(names)))
    records = prepare_source("vision_tasks", folder, WITHOUT_MASK[:1], progress=False)
    assert records.group_names == ("train", "valid", "test")
    order = [p.name for p in sorted(folder.rglob("*.png"))]
    assert records.group.tolist() == [names.index(name) % 3 for name in order]
    partition.write_text("image_0.png 0\n")
    with pytest.raises(DataSetError, match=r"list_eval_partition.txt: no line for 'image_3.png'"):
        find_frames(folder)


def test_robot_frames_give_all_but_the_mask_and_are_split_by_trajectory(make_episodes):
    root = make_episodes(a=1, b=2, c=1)
    records = prepare_source("vision_tasks", root, WITHOUT_MASK, progress=False)
    assert records.origin == "robot frames"
    assert len(records) == 200
    trajectory = np.repeat([0, 1, 1, 2], 50)
    held_out = {int(t) for t in trajectory[records.group == 1]}
    assert len(held_out) == 1
    assert (records.group == 1).sum() == np.isin(trajectory, list(held_out)).sum()
    for index in (0, 120, 199):
        file, step = divmod(index, 50)
        path = file_path(root, *(("a", 0), ("b", 0), ("b", 1), ("c", 0))[file])
        image = read_file(path, ("image",))["image"][step]
        for m in WITHOUT_MASK:
            expected = prepare(m, transform(m.source, image, index=index))
            np.testing.assert_array_equal(records.arrays[m.name][index], expected)


def test_frames_of_the_simulator_are_called_so(make_episodes):
    root = make_episodes({"condition": np.zeros(50, np.uint8)}, a=1, b=1)
    assert find_frames(root).origin == "simulated robot frames"


def test_a_mask_without_landmarks_is_refused_with_a_way_out(folder, make_episodes):
    for root in (folder, make_episodes(a=1, b=1)):
        with pytest.raises(
            ConfigError, match=r"'mask': .* no landmarks.*vision_tasks:64:image\+grey"
        ):
            prepare_vision_tasks(root, MODALITIES, progress=False)


def test_landmarks_that_do_not_fit_the_images_are_named(folder):
    names = [p.name for p in sorted(folder.rglob("*.png"))]
    path = write_landmarks(folder, FIVE, names[:-1])
    with pytest.raises(DataSetError, match=r"landmarks_align_celeba.txt: no line for 'image_9"):
        prepare_vision_tasks(folder, MODALITIES, progress=False)
    path.write_text("image_0.png 1 2 3\n")
    with pytest.raises(DataSetError, match=r"line 1: image_0.png: expected x and y of each .* 3"):
        find_frames(folder)


def test_edges_are_thin_outlines_and_coarseness_follows_the_side():
    image = make_image(0, 178, 178)
    found = transforms.edges(image)
    assert set(np.unique(found)) == {0, 255}
    rows, columns = np.nonzero(found)
    assert abs(rows.min() - 40) <= 2
    assert abs(columns.max() - 80) <= 2
    assert not found[60:80, 45:65].any()
    half = cv2.resize(image, (89, 89), interpolation=cv2.INTER_AREA)
    ratio = (found > 0).sum() / (transforms.edges(half) > 0).sum()
    assert 1.7 < ratio < 2.3


def test_one_half_is_black_and_which_one_is_fixed_by_index_and_seed():
    image = np.full((64, 64, 3), 9, np.uint8)
    sides = {}
    for seed in (0, 1):
        for index in range(200):
            hidden = transforms.occluded(image, index, seed)
            left, right = hidden[:, :32].any(), hidden[:, 32:].any()
            assert left != right
            assert hidden.sum() == image.sum() / 2
            np.testing.assert_array_equal(hidden, transforms.occluded(image, index, seed))
            sides[seed, index] = bool(left)
    assert 70 < sum(sides[0, i] for i in range(200)) < 130
    assert any(sides[0, i] != sides[1, i] for i in range(200))
    assert image.all()


def test_the_watermark_is_the_same_on_every_image_and_half_transparent():
    dark, mid = np.zeros((178, 178, 3), np.uint8), np.full((178, 178, 3), 100, np.uint8)
    on_dark, on_mid = (transforms.watermarked(i).astype(float) for i in (dark, mid))
    opacity = on_dark / 255
    assert opacity.max() == pytest.approx(transforms.WATERMARK_OPACITY, abs=0.01)
    assert 0.05 < (opacity > 0.1).mean() < 0.4
    np.testing.assert_allclose(on_mid, 100 + 155 * opacity, atol=1.5)


def test_grey_is_the_luminance():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_allclose(transforms.grey(image), image @ [0.299, 0.587, 0.114], atol=1)


@pytest.mark.parametrize("count", [3, 5, 68])
def test_landmarks_are_drawn_where_they_are(count):
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    points = 90 + 50 * np.stack([np.cos(angle), np.sin(angle)], 1)
    mask = transforms.landmark_mask(points, 178)
    assert set(np.unique(mask)) == {0, 255}
    at = np.rint(points).astype(int)
    assert all(mask[y, x] == 255 for x, y in at[:3])
    rows, columns = np.nonzero(mask)
    assert np.hypot(rows - 90, columns - 90).max() < 62
    assert not transforms.landmark_mask(points + 1000, 178).any()


def test_unusable_folders_are_named(tmp_path, make_episodes):
    with pytest.raises(DataSetError, match="no such folder"):
        find_frames(tmp_path / "none")
    root = tmp_path / "few"
    root.mkdir()
    with pytest.raises(DataSetError, match=r"no images: expected files that end in \.jpg"):
        find_frames(root)
    cv2.imwrite(str(root / "a.png"), make_image(0))
    with pytest.raises(DataSetError, match=r"too few: expected at least 2 images or traj.* got 1"):
        find_frames(root)
    episodes = make_episodes(a=1)
    with pytest.raises(DataSetError, match="too few"):
        find_frames(episodes)
    cv2.imwrite(str(episodes / "a.png"), make_image(0))
    with pytest.raises(DataSetError, match=r"expected images or episode files, got both.* a\.png"):
        find_frames(episodes)
    (episodes / "a.png").unlink()
    (episodes / "odd.h5").touch()
    with pytest.raises(EpisodeError, match="file name"):
        find_frames(episodes)


def test_a_damaged_episode_or_image_stops_the_preparation(folder, make_episodes):
    (folder / "image_4.png").write_bytes(b"nothing")
    with pytest.raises(DataSetError, match=r"image_4.png: no image"):
        prepare_vision_tasks(folder, WITHOUT_MASK, progress=False)
    root = make_episodes(a=1, b=1)
    path = file_path(root, "b", 0)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(EpisodeError, match="truncated file"):
        prepare_vision_tasks(root, WITHOUT_MASK, progress=False)


def test_settings_that_are_no_task_are_refused(folder):
    with pytest.raises(ConfigError, match=r"'edge' is not one of .* Did you mean 'edges'\?"):
        prepare_vision_tasks(folder, [replace(MODALITIES[2], source="edge")])
    with pytest.raises(ConfigError, match="expected at least one modality"):
        prepare_vision_tasks(folder, [])


def test_another_seed_hides_other_halves_and_is_prepared_apart(folder):
    only = [m for m in MODALITIES if m.source == "occluded"]
    first = prepare_vision_tasks(folder, only, progress=False)
    second = prepare_vision_tasks(folder, only, seed=1, progress=False)
    assert first.path != second.path
    assert first.path.exists()
    assert not np.array_equal(first.arrays["occluded"], second.arrays["occluded"])


def test_edges_without_scikit_image_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(MissingDependency, match=r"scikit-image is not installed: .*smvae\[train\]"):
        transforms.edges(make_image(0))


def test_the_package_needs_neither_torch_nor_scikit_image_until_it_is_used():
    code = (
        "import sys; import smvae_datasets.sources; import smvae_datasets.image_sets.vision_tasks\n"
        "assert not {'torch', 'skimage'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
