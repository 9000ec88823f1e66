"""A path that is something else: one line says what was wanted, and what the path is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from smvae_core.what_is import what_is
from smvae_training.cli import main

FROZEN = Path(__file__).resolve().parents[1] / "frozen"

#: What each place is called.
PLACES = {
    "missing": "nothing: there is no such path",
    "file.txt": "a file",
    "empty": "an empty folder",
    "bundle": "a bundle of `smvae export`",
    "run": "a run of `smvae train`",
    "bag": "the folder of a rosbag2 bag",
    "photos": "a folder of a.png, b.png, c.png and 1 more",
}
#: Words of a command, PLACE where the path stands -> what is wanted, the places that it takes.
COMMANDS = {
    "evaluate PLACE --data empty": ("a folder that `smvae train` wrote", {"run"}),
    "evaluate run --data PLACE": ("NAME_<k>_1000.h5 files, or a folder that `smvae e", {}),
    "train --preset debug --out o --data PLACE": ("or a folder that `smvae episodes` wrote", {}),
    "export PLACE out": ("a folder that `smvae train` wrote", {"run"}),
    "figures PLACE --out o": ("a folder that `smvae train` wrote", {"run"}),
    "readout PLACE": ("a folder that `smvae train` wrote", {"run", "bundle"}),
    "compare PLACE PLACE": ("a run that `smvae evaluate` has scored", {"run", "file.txt"}),
    "evaluate-bag PLACE --bundle bundle --out o": ("a bag's folder|the folder of a ros", {"bag"}),
    "evaluate-bag bag --bundle PLACE --out o": ("a folder that `smvae export R", {"bundle"}),
    "audit PLACE --bundle bundle": ("a bag's folder|the folder of a rosbag2 bag", {"bag"}),
    "robot scaffold PLACE": ("a bag's folder|the folder of a rosbag2 bag", {"bag"}),
    "robot validate PLACE": ("a robot.yaml", {"file.txt"}),
    "view PLACE --picture o.png": ("a run, a recording or a fold|a bag's folder", {"bag", "run"}),
}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("text")
    for folder in ("empty", "photos"):
        (tmp_path / folder).mkdir()
    for name in "abcd":
        (tmp_path / "photos" / f"{name}.png").touch()
    for folder in ("bundle", "run", "bag"):
        shutil.copytree(FROZEN / folder, tmp_path / folder)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "place"),
    [(w, p) for w, (_, taken) in COMMANDS.items() for p in PLACES if p not in taken],
)
def test_what_was_wanted_and_what_the_path_is_stand_in_one_line(
    words: str, place: str, places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.replace("PLACE", place).split()) == 2
    *_, line = capsys.readouterr().err.splitlines()
    wanted = COMMANDS[words][0].split("|")
    assert line.startswith(f"smvae {words.split()[0]}: error: ")
    assert place in line
    if "no such file or folder" not in line and "no such folder; `" not in line:
        assert PLACES[place] in line
        assert any(w in line for w in wanted)


@pytest.mark.parametrize("words", ["evaluate run --data", "train --preset debug --out o --data"])
@pytest.mark.parametrize("place", ["bag", "one.mcap", "bags", "lerobot"])
def test_a_recording_in_place_of_episodes_is_told_what_makes_them(
    words: str, place: str, places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (places / "one.mcap").touch()
    for file in ("bags/one.mcap", "lerobot/meta/info.json"):
        (places / file).parent.mkdir(parents=True)
        (places / file).touch()
    assert main([*words.split(), place]) == 2
    given = "bags/*.mcap" if place == "bags" else place
    error = capsys.readouterr().err
    assert f"{place}: is a recording: expected NAME_<k>_1000.h5 files, or a fold" in error
    assert f"`smvae episodes {given} --robot robot.yaml --out episodes` makes episodes" in error


@pytest.mark.parametrize("place", PLACES)
def test_a_path_is_called_what_it_is(place: str, places: Path) -> None:
    assert what_is(places / place) == PLACES[place]


@pytest.mark.parametrize("sign", ["episodes.json", "meta/info.json", "peg_0_1000.h5", "a.mcap"])
def test_other_folders_are_known_by_a_file(sign: str, tmp_path: Path) -> None:
    (tmp_path / sign).parent.mkdir(exist_ok=True)
    (tmp_path / sign).touch()
    words = {".h5": "Vision&Touch", ".mcap": ".mcap files"}.get(
        Path(sign).suffix, "LeRobot" if "/" in sign else "`smvae episodes`"
    )
    assert words in what_is(tmp_path)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("data/my_arm/meta/info.json", "a folder with a LeRobot folder in it: data/my_arm"),
        ("run1/metadata.yaml", "a folder with the folder of a rosbag2 bag in it: run1"),
        ("a/b/c/manifest.json", "a folder of a"),
    ],
)
def test_what_was_probably_meant_is_named_where_it_lies_in_the_folder(
    file: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).touch()
    assert what_is(tmp_path) == words
