from __future__ import annotations

import hashlib
import io
import re
import socket
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from smvae_core.errors import SMVAEError
from smvae_datasets.fetch import DownloadError, fetch
from smvae_datasets.vision_touch.archive import unpack
from smvae_datasets.vision_touch.download import download_vision_touch


def make_zip(names=("triangle/peg_0_1000.h5", "triangle/peg_1_1000.h5"), size=40_000) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name in names:
            file.writestr(name, bytes(range(256)) * (size // 256))
    return out.getvalue()


class Server:
    """A file server on 127.0.0.1; `cuts` are the bytes sent before each answer is broken off."""

    def __init__(self) -> None:
        self.content = make_zip()
        self.etag = '"v1"'
        self.cuts: list[int] = []
        self.ranges = True
        self.status = 200
        self.requests: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/data/triangle.zip"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers["Range"]
        self.requests.append(asked)
        if self.status != 200:
            handler.send_error(self.status)
            return
        start, total = 0, len(self.content)
        if asked and self.ranges and handler.headers["If-Range"] in (None, self.etag):
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        if start >= total:
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        handler.send_header("Content-Length", str(total - start))
        if self.etag:
            handler.send_header("ETag", self.etag)
        handler.end_headers()
        stop = start + self.cuts.pop(0) if self.cuts else total
        handler.wfile.write(self.content[start:stop])

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def download(server, folder, **options):
    return download_vision_touch(folder, url=server.url, progress=False, timeout_s=5.0, **options)


def test_the_archive_is_fetched_unpacked_and_its_checksum_recorded(server, tmp_path):
    result = download(server, tmp_path)
    assert result.archive.read_bytes() == server.content
    assert sorted(p.name for p in result.episodes.iterdir()) == ["peg_0_1000.h5", "peg_1_1000.h5"]
    assert result.sha256 == hashlib.sha256(server.content).hexdigest()
    assert not result.verified
    record = tmp_path / "triangle.zip.sha256"
    assert record.read_text() == f"{result.sha256}  triangle.zip\n"
    assert {p.name for p in tmp_path.iterdir()} == {"triangle.zip", record.name, "episodes"}


def test_a_second_call_verifies_without_a_request(server, tmp_path):
    download(server, tmp_path)
    result = download(server, tmp_path)
    assert result.verified
    assert len(server.requests) == 1


def test_a_second_download_is_verified_against_the_record(server, tmp_path):
    result = download(server, tmp_path)
    result.archive.unlink()
    assert download(server, tmp_path).verified
    result.archive.unlink()
    server.content = make_zip(size=60_000)
    with pytest.raises(DownloadError, match=r"wrong SHA-256: expected [0-9a-f]{64} \(recorded in"):
        download(server, tmp_path)


def test_a_lost_connection_is_resumed_where_it_broke(server, tmp_path):
    server.cuts = [10_000, 5_000]
    assert download(server, tmp_path).archive.read_bytes() == server.content
    assert server.requests == [None, "bytes=10000-", "bytes=15000-"]


def test_an_interrupted_download_is_resumed_by_the_next_call(server, tmp_path):
    server.cuts = [10_000, 0]
    with pytest.raises(DownloadError, match="10000 bytes are kept, run again to resume") as info:
        download(server, tmp_path)
    assert "\n" not in str(info.value)
    assert (tmp_path / "triangle.zip.part").stat().st_size == 10_000
    assert not (tmp_path / "triangle.zip").exists()
    assert download(server, tmp_path).archive.read_bytes() == server.content
    assert server.requests == [None, "bytes=10000-", "bytes=10000-"]


@pytest.mark.parametrize("etag", ['"v2"', None])
def test_a_file_that_changed_in_between_is_not_glued_to_the_old_part(server, tmp_path, etag):
    server.etag = '"v1"' if etag else None
    server.cuts = [10_000, 0]
    with pytest.raises(DownloadError, match="run again to resume"):
        download(server, tmp_path)
    server.content, server.etag = make_zip(size=60_000), etag
    if etag is None:  # nothing but the size tells
        with pytest.raises(
            DownloadError, match=r"expected bytes 10000 to the end of .*, got 'bytes"
        ):
            download(server, tmp_path)
    else:
        assert download(server, tmp_path).archive.read_bytes() == server.content


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.ranges = False
    server.cuts = [10_000]
    assert download(server, tmp_path).archive.read_bytes() == server.content


def test_a_server_without_ranges_that_always_breaks_ends_with_an_error(server, tmp_path):
    server.ranges = False
    server.cuts = [10_000, 9_000, 8_000]
    with pytest.raises(DownloadError, match="no connection"):
        download(server, tmp_path)


def test_a_part_of_unknown_origin_is_not_resumed(server, tmp_path):
    (tmp_path / "triangle.zip.part").write_bytes(b"something else")
    assert download(server, tmp_path).archive.read_bytes() == server.content
    assert server.requests == [None]


def test_a_wrong_checksum_is_refused_and_nothing_unpacked(server, tmp_path):
    with pytest.raises(DownloadError, match=r"wrong SHA-256: expected 0{64}.*the one given.*got"):
        download(server, tmp_path, sha256="0" * 64)
    assert not (tmp_path / "triangle.zip").exists()
    assert not (tmp_path / "episodes").exists()
    right = hashlib.sha256(server.content).hexdigest()
    assert download(server, tmp_path, sha256=right.upper()).verified
    assert len(server.requests) == 1  # the part was complete: only verified again


def test_offline_is_one_line(tmp_path):
    with socket.socket() as free:  # bound, not listening: connections are refused
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/triangle.zip"
        with pytest.raises(DownloadError, match=r"no connection .*refused") as info:
            download_vision_touch(tmp_path, url=url, progress=False, timeout_s=5.0)
    assert "\n" not in str(info.value)
    assert isinstance(info.value, SMVAEError)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_refuses_is_named(server, tmp_path):
    server.status = 404
    with pytest.raises(DownloadError, match="expected the file, the server says 404"):
        download(server, tmp_path)


def test_a_part_longer_than_the_file_is_refused(server, tmp_path):
    server.cuts = [10_000, 0]
    with pytest.raises(DownloadError, match="run again"):
        download(server, tmp_path)
    server.content = server.content[:5_000]
    with pytest.raises(DownloadError, match=r"cannot resume, .* delete it to start again"):
        download(server, tmp_path)


def test_no_space_is_told_before_the_download(server, tmp_path, monkeypatch):
    class Usage:
        free = 10

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    with pytest.raises(DownloadError, match=r"no space to download: .* expected at least"):
        fetch(server.url, tmp_path / "triangle.zip", progress=False)


def test_what_is_no_zip_is_refused(server, tmp_path):
    server.content = b"<html>log in to the hotel's network</html>"
    with pytest.raises(DownloadError, match="damaged or no zip archive"):
        download(server, tmp_path)


def test_an_archive_with_a_damaged_member_is_refused(tmp_path):
    data = bytearray(make_zip())
    data[2_000] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DownloadError, match=r"damaged or no zip archive .*CRC"):
        unpack(tmp_path / "a.zip", tmp_path / "episodes")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("name", ["../x.h5", "/etc/x.h5", "a/../../x.h5", "..\\x.h5", "C:/x.h5"])
def test_a_path_out_of_the_folder_is_refused(tmp_path, name):
    (tmp_path / "a.zip").write_bytes(make_zip([name]))
    with pytest.raises(DownloadError, match="unsafe path"):
        unpack(tmp_path / "a.zip", tmp_path / "in" / "episodes")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_a_link_in_the_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        link = zipfile.ZipInfo("link.h5")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    with pytest.raises(DownloadError, match="is a link"):
        unpack(tmp_path / "a.zip", tmp_path / "episodes")


def test_an_archive_without_one_folder_of_episodes_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(make_zip(["readme.txt"]))
    with pytest.raises(DownloadError, match=r"expected one folder of .h5 files, got none"):
        unpack(tmp_path / "a.zip", tmp_path / "episodes")
    (tmp_path / "b.zip").write_bytes(make_zip(["a/x.h5", "b/x.h5", "__MACOSX/c/x.h5"]))
    with pytest.raises(DownloadError, match="got a, b"):
        unpack(tmp_path / "b.zip", tmp_path / "episodes")
    assert not (tmp_path / "episodes").exists()


def test_arguments_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(DownloadError, match="expected an http or https address, got 'file:"):
        download_vision_touch(tmp_path, url="file:///etc/passwd")
    with pytest.raises(DownloadError, match="expected a SHA-256 of 64 hex digits, got 'abc'"):
        download_vision_touch(tmp_path, sha256="abc")
    with pytest.raises(DownloadError, match="ends in a file name"):
        download_vision_touch(tmp_path, url="http://127.0.0.1/")
