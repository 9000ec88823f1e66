from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from smvae_core.errors import ConfigError
from smvae_core.presets import CELEBA, CELEBA_ATTRIBUTES
from smvae_datasets.dataset import DataSetError
from smvae_datasets.image_sets.celeba import prepare_celeba
from smvae_datasets.image_sets.decoding import central_square, read_image
from smvae_datasets.image_sets.fetching import CACHE_VARIABLE
from smvae_datasets.image_sets.tables import read_table
from smvae_datasets.sources import prepare_source

COUNT = 70  # more than one block of images

# fmt: off
#: The 40 attributes in the order of the published file.
ALL_ATTRIBUTES = [
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs",
    "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows",
    "Chubby", "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones",
    "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin",
    "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair",
    "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace",
    "Wearing_Necktie", "Young",
]
# fmt: on
#: MVAE's, by index.
CHOSEN = [4, 5, 8, 9, 11, 12, 15, 17, 18, 20, 21, 22, 26, 28, 31, 32, 33, 35]


def name_of(n: int) -> str:
    return f"{n + 1:06d}.jpg"


def make_image(n: int) -> np.ndarray:
    """Return (218, 178, 3) RGB: red grows to the right, green downwards, blue tells the image."""
    image = np.zeros((218, 178, 3), np.uint8)
    image[:, :, 0] = np.arange(178)
    image[:, :, 1] = np.arange(218)[:, None]
    image[:, :, 2] = 3 * n
    return image


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder in CelebA's layout; image n is in part n % 3, its attributes are drawn."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    signs = draw_signs()
    lines = [str(COUNT), " ".join(ALL_ATTRIBUTES) + " "]
    for n in range(COUNT):
        path = folder / "img_align_celeba" / name_of(n)
        cv2.imwrite(str(path), make_image(n)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        lines.append(f"{name_of(n)} " + " ".join(f"{s:2d}" for s in signs[n]))
    (folder / "list_attr_celeba.txt").write_text("\r\n".join(lines) + "\r\n")
    parts = "".join(f"{name_of(n)} {n % 3}\n" for n in range(COUNT))
    (folder / "list_eval_partition.txt").write_text(parts)
    return folder


def draw_signs() -> np.ndarray:
    return np.random.default_rng(0).choice([-1, 1], (COUNT, 40))


def edit(path, line, text):
    lines = path.read_text().splitlines()
    lines[line - 1] = text
    path.write_text("\n".join(lines) + "\n")


def test_the_attributes_are_those_of_mvae_in_their_order(root):
    assert [ALL_ATTRIBUTES[i] for i in CHOSEN] == list(CELEBA_ATTRIBUTES)
    records = prepare_source("celeba", root, CELEBA, progress=False)
    np.testing.assert_array_equal(records.arrays["attributes"], draw_signs()[:, CHOSEN] == 1)
    assert records.arrays["attributes"].dtype == np.uint8


def test_images_are_cut_to_their_middle_and_shrunk_and_keep_their_part(root):
    records = prepare_source("celeba", root, CELEBA, progress=False)
    images = records.arrays["image"]
    assert images.shape == (COUNT, 3, 64, 64)
    assert isinstance(images, np.memmap)
    assert records.group_names == ("train", "valid", "test")
    assert records.group.tolist() == [n % 3 for n in range(COUNT)]
    assert (len(records), records.name) == (COUNT, "celeba")
    center = (np.arange(64) + 0.5) * 178 / 64 - 0.5
    for n in (0, 63, 64, COUNT - 1):
        red, green, blue = images[n].astype(float)
        # JPEG at quality 95 moves single pixels by a few levels
        np.testing.assert_allclose(red.mean(0), center, atol=3)
        np.testing.assert_allclose(green.mean(1), center + 20, atol=3)
        np.testing.assert_allclose(blue.mean(), 3 * n, atol=3)


def test_prepared_images_are_reused_until_a_file_changes(root, tmp_path):
    def prepare():
        return prepare_celeba(root, CELEBA, cache=tmp_path / "own", progress=False)

    first = prepare()
    stamp = (first.path / "image.npy").stat().st_mtime_ns
    assert (prepare().path / "image.npy").stat().st_mtime_ns == stamp
    cv2.imwrite(str(root / "img_align_celeba" / name_of(2)), np.full((40, 50, 3), 200, np.uint8))
    second = prepare()
    assert second.path != first.path
    assert not first.path.exists()
    np.testing.assert_allclose(second.arrays["image"][2], 200, atol=2)
    only = prepare_celeba(root, CELEBA[1:], cache=tmp_path / "own", progress=False)
    assert list(only.arrays) == ["attributes"]
    assert second.path.exists()


def test_a_failed_preparation_leaves_nothing_behind(root, tmp_path):
    path = root / "img_align_celeba" / name_of(66)
    path.write_bytes(b"no image at all")
    with pytest.raises(DataSetError, match=r"000067.jpg: no image: expected a whole image file"):
        prepare_celeba(root, CELEBA, cache=tmp_path / "own", progress=False)
    assert [p.name for p in (tmp_path / "own").iterdir()] == [".lock"]


def test_damaged_images_are_refused_not_filled_with_grey(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    for suffix in ("jpg", "png"):
        path = tmp_path / f"image.{suffix}"
        cv2.imwrite(str(path), image[:, :, ::-1])
        whole = path.read_bytes()
        assert read_image(path).shape == (60, 40, 3)
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataSetError, match=f"image.{suffix}: truncated image"):
            read_image(path)
    np.testing.assert_array_equal(read_image_of(tmp_path, image), image)
    path.write_bytes(b"")
    with pytest.raises(DataSetError, match="0 bytes that cannot be decoded"):
        read_image(path)
    with pytest.raises(DataSetError, match="cannot be read"):
        read_image(tmp_path / "none.jpg")


def read_image_of(folder, image):
    cv2.imwrite(str(folder / "whole.png"), image[:, :, ::-1])
    return read_image(folder / "whole.png")


@pytest.mark.parametrize(("shape", "left", "top"), [((7, 4), 0, 1), ((4, 9), 2, 0), ((5, 5), 0, 0)])
def test_the_central_square_says_where_it_was_cut(shape, left, top):
    image = np.arange(np.prod(shape)).reshape(shape)
    square, *at = central_square(image)
    assert at == [left, top]
    assert square.shape == (min(shape),) * 2
    assert square[0, 0] == image[top, left]


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (4, "000002.jpg -1 1", "line 4: values: expected a file name and 40 integers, got 2"),
        (4, "000002.jpg " + "x " * 40, "line 4: 000002.jpg: expected integers, got 'x x"),
        (5, "000001.jpg " + "1 " * 40, "line 5: '000001.jpg': expected it once, got .* line 3"),
        (4, "000002.jpg " + "1 " * 39 + "0", "line 4: Young: expected -1 or 1, got 0"),
        (4, "", "number of images: expected 70 as line 1 says, got 69"),
        (4, "other.jpg " + "1 " * 40, "no line for '000002.jpg'"),
        (1, "000000.jpg " + "1 " * 40, "line 2: values: expected a file name and 40 integers"),
    ],
)
def test_a_malformed_attribute_line_is_named(root, line, text, message):
    edit(root / "list_attr_celeba.txt", line, text)
    with pytest.raises(DataSetError, match=f"list_attr_celeba.txt.*{message}"):
        prepare_celeba(root, CELEBA, progress=False)


def test_attributes_without_names_are_refused(root):
    path = root / "list_attr_celeba.txt"
    path.write_text("\n".join(path.read_text().splitlines()[2:]))
    with pytest.raises(DataSetError, match="line 1: header: expected the number of images, then"):
        prepare_celeba(root, CELEBA, progress=False)


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (3, "000003.jpg 3", r"line 3: 000003.jpg: expected 0 \(train\), 1 \(valid\) or 2"),
        (3, "000003.jpg", "line 3: values: expected a file name and 1 integers, got 0"),
        (3, "000999.jpg 1", "000999.jpg: no such file"),
    ],
)
def test_a_malformed_partition_line_is_named(root, line, text, message):
    edit(root / "list_eval_partition.txt", line, text)
    with pytest.raises(DataSetError, match=message):
        prepare_celeba(root, CELEBA, progress=False)


def test_missing_files_are_named(root, tmp_path):
    partition = root / "list_eval_partition.txt"
    (root / "img_align_celeba" / name_of(5)).unlink()
    with pytest.raises(DataSetError, match=r"000006.jpg: no such file"):
        prepare_celeba(root, CELEBA, progress=False)
    partition.write_text("")
    with pytest.raises(DataSetError, match=r"list_eval_partition.txt: empty"):
        prepare_celeba(root, CELEBA, progress=False)
    partition.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataSetError, match="cannot be read as text"):
        read_table(partition)
    partition.unlink()
    with pytest.raises(DataSetError, match=r"list_eval_partition.txt: no such file"):
        prepare_celeba(root, CELEBA, progress=False)
    with pytest.raises(DataSetError, match="no such folder: expected img_align_celeba"):
        prepare_celeba(tmp_path / "none", CELEBA, progress=False)


def test_settings_that_celeba_does_not_have_are_refused(root):
    attributes = CELEBA[1]
    with pytest.raises(ConfigError, match=r"source 'attribute' is not in celeba.* 'attributes'\?"):
        prepare_celeba(root, [replace(attributes, source="attribute")])
    with pytest.raises(ConfigError, match="expected fields, names of CelebA's attributes"):
        prepare_celeba(root, [replace(attributes, fields=())])
    fields = ("Balt", *CELEBA_ATTRIBUTES[1:])
    with pytest.raises(ConfigError, match=r"'Balt' is no column of .* Did you mean 'Bald'\?"):
        prepare_celeba(root, [replace(attributes, fields=fields)], progress=False)
    with pytest.raises(ConfigError, match="expected at least one modality"):
        prepare_celeba(root, [])
