"""Where a bundle parameter may point: never to something below the working directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from smvae_ros.bundle_path import resolve

from smvae_core.errors import ConfigError


@pytest.mark.parametrize("given", ["bundle", "./bundle", "../bundle", "file://bundle"])
def test_a_relative_path_is_refused_even_where_it_exists(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here/bundle").mkdir(parents=True)
    (tmp_path / "bundle").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ConfigError, match=r"must be absolute.*for example bundle:=\$\(pwd\)/"):
        resolve(given)


def test_an_empty_path_is_refused_with_what_would_be_right() -> None:
    with pytest.raises(ConfigError, match="empty: give the absolute path of an exported bundle"):
        resolve("")


def test_a_path_does_not_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ("/models/a", "file:///models/a", "package://smvae_ros/config")
    before = [resolve(p) for p in places]
    monkeypatch.chdir(tmp_path)
    assert [resolve(p) for p in places] == before
    assert before[0] == before[1] == Path("/models/a")
    assert before[2].is_absolute()
    assert before[2].parts[-2:] == ("smvae_ros", "config")


def test_an_unknown_package_is_named() -> None:
    with pytest.raises(ConfigError, match=r"package 'no_such_package': `ros2 pkg list` has"):
        resolve("package://no_such_package/bundle")
