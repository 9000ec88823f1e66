"""What is compared reads the same records, and the stand-in does what is said of the authors'."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from benchmarks.data_speed import authors_loader, inputs
from benchmarks.data_speed.authors_loader import AuthorsData, AuthorsLoader
from benchmarks.data_speed.ours import VisionTouch
from benchmarks.data_speed.report import section
from tests.datasets.conftest import make_episodes  # noqa: F401 (a fixture)


def test_the_stand_in_opens_two_files_for_each_sample(
    make_episodes: Callable[..., Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = sorted(make_episodes(a=1, b=1, c=1).glob("*.h5"))
    data = AuthorsData(files)
    opened: list[Path] = []
    real = authors_loader._open

    def counted(path: Path) -> Any:
        opened.append(path)
        return real(path)

    monkeypatch.setattr(authors_loader, "_open", counted)
    sample = data[60]
    assert opened[0] == files[1]
    assert len(set(opened)) == len(opened) == 2
    with h5py.File(files[1]) as file:
        image = np.asarray(file["image"][60 - 49])
        force = np.tanh(np.asarray(file["ee_forces_continuous"][60 - 49])[-32:]).T
        action = np.asarray(file["action"][60 - 48])
    np.testing.assert_array_equal(sample["image"].numpy(), image.astype(np.float32))
    np.testing.assert_allclose(sample["force"].numpy(), force, rtol=1e-6)
    np.testing.assert_array_equal(sample["action"].numpy(), action)
    assert len(data) == 3 * 49
    assert len(sample) == 13


def test_both_read_whole_batches_of_the_same_files(
    make_episodes: Callable[..., Path],  # noqa: F811
    tmp_path: Path,
) -> None:
    root = make_episodes(a=2, b=1)
    links = inputs.vision_touch_links(root, tmp_path / "links", 2)
    plain = inputs.without_compression(sorted(links.glob("*.h5")), tmp_path / "plain")
    assert VisionTouch(str(links), 32, 10, 1, 0).turn() == {"samples": 150}
    assert not (root / ".prepared").exists()
    for folder in (links, plain):
        for every in (True, False):
            loader = AuthorsLoader(str(folder), 8, 2, 0, every)
            assert loader.turn() == {"samples": 16}
    with h5py.File(next(plain.iterdir())) as file:
        assert all(values.chunks is None for values in file.values())


def test_the_section_says_what_was_not_run(tmp_path: Path) -> None:
    assert "Not run yet" in section(tmp_path)
