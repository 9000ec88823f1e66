"""One command writes every file that depends on the sensors; the shipped ones come from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from smvae_tools.files import generate
from smvae_tools.files.layouts import Shown
from smvae_tools.files.parameter_file import to_yaml

from smvae_core.model.config import ModelConfig
from smvae_core.model.export import export_bundle
from smvae_core.model.smvae import SMVAE
from smvae_core.preprocessing import Statistics
from smvae_core.presets import VISION_TOUCH
from smvae_core.robot import read_robot
from smvae_core.settings import table

ROBOT = """
robot: arm
sensors:
  wrist:
    kind: color_image
    channel: {topic: TOPIC, type: sensor_msgs/msg/Image}
    size: [32, 32]
    max_skew_s: 0.07
"""
PACKAGE = Path(__file__).parents[2] / "smvae_ros"
FILES = sorted(generate.files(Shown(modalities=VISION_TOUCH)))


def test_the_parameter_file_is_the_table() -> None:
    assert (PACKAGE / "config/perception.yaml").read_text() == to_yaml(VISION_TOUCH), (
        "write it again: python -m smvae_tools.files.generate vision_touch ros2_ws/src/smvae_ros"
    )


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shipped")
    assert generate.main(["vision_touch", str(out)]) == 0
    return out


@pytest.mark.parametrize("name", FILES)
def test_the_shipped_files_are_the_generated_ones(name: str, shipped: Path) -> None:
    assert (PACKAGE / name).read_bytes() == (shipped / name).read_bytes(), (
        "write it again: python -m smvae_tools.files.generate vision_touch ros2_ws/src/smvae_ros"
    )


def test_everything_that_is_generated_is_installed_and_nothing_else_of_its_folders() -> None:
    setup = (PACKAGE / "setup.py").read_text(encoding="utf-8")
    for folder in {name.partition("/")[0] for name in FILES}:
        assert f"share/{{NAME}}/{folder}" in setup
    by_hand = {"config/fastdds_large_images.xml", "config/nav2_lifecycle_manager.yaml"}
    folders = {Path(name).parent for name in FILES}
    there = {str(p.relative_to(PACKAGE)) for f in folders for p in (PACKAGE / f).iterdir()}
    assert there - by_hand == set(FILES)


def test_a_bundles_sensors_and_chosen_topics_go_into_every_file(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--namespace", "cell", "--topics", "rgb=/camera/color/image, force=ft/wrench"]
    assert generate.main([str(bundle), str(tmp_path), *arguments]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in written(tmp_path)]
    file = yaml.safe_load((tmp_path / "config/perception.yaml").read_text())
    values = file["/**"]["ros__parameters"]["modalities"]
    assert values["rgb"]["topic"] == "/camera/color/image"
    assert values["depth"]["topic"] == table(VISION_TOUCH)["modalities.depth.topic"].default
    policy = (tmp_path / "security/smvae.policy.xml").read_text()
    foxglove = (tmp_path / "foxglove/smvae_layout.json").read_text()
    for topic in ("/camera/color/image", "/camera/color/camera_info"):
        assert topic in policy
        assert topic in foxglove
    assert "ft/wrench" in policy
    assert "~/estimates" not in policy, "the bundle has none, and what is not needed is denied"
    assert "/cell/smvae/latent" in (tmp_path / "plotjuggler/smvae.xml").read_text()


def test_what_a_bundles_robot_declares_goes_into_every_file(tmp_path: Path) -> None:
    """The parameter file wins over the manifest, so defaults in it would hide the declaration."""
    declaration = tmp_path / "robot.yaml"
    declaration.write_text(ROBOT.replace("TOPIC", "/trained/image"))
    model = SMVAE(ModelConfig(modalities=read_robot(declaration).modalities, latent_dim=2))
    declaration.write_text(ROBOT.replace("TOPIC", "/wrist/image"))
    robot = read_robot(declaration)
    statistics = {m.name: Statistics(mean=(0.0,), scale=(1.0,)) for m in robot.modalities}
    bundle = export_bundle(model, statistics, tmp_path / "bundle", robot=robot)
    assert generate.main([str(bundle), str(tmp_path / "out")]) == 0
    file = yaml.safe_load((tmp_path / "out/config/perception.yaml").read_text())
    values = file["/**"]["ros__parameters"]["modalities"]["wrist"]
    assert values["topic"] == "/wrist/image"
    assert values["max_skew_s"] == 0.07
    assert values["message_type"] == "sensor_msgs/msg/Image"
    for name in ("security/smvae.policy.xml", "rviz/perception.rviz", "foxglove/smvae_layout.json"):
        text = (tmp_path / "out" / name).read_text()
        assert "/wrist/image" in text
        assert "/trained" not in text


def written(folder: Path) -> list[str]:
    names = list(generate.files(Shown(modalities=VISION_TOUCH)))
    assert all((folder / name).is_file() for name in names)
    return names


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["vision_touch", "OUT", "--topics", "lidar=/scan"], "unknown modality 'lidar'"),
        (["vision_touch", "OUT", "--topics", "rgb"], "expected NAME=VALUE"),
        (["/nowhere", "OUT"], "no such folder"),
        (["vision_touch", "FILE/below"], "FILE"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "FILE").touch()
    places = {"OUT": str(tmp_path), "FILE/below": str(tmp_path / "FILE/below")}
    given = [places.get(a, a) for a in arguments]
    assert generate.main(given) == 1
    said = capsys.readouterr().err
    assert said.startswith("generate: ")
    assert reason in said
    assert said.count("\n") == 1
    assert not (tmp_path / "config").exists()


def test_help_names_every_file_and_shows_an_example() -> None:
    command = [sys.executable, "-m", "smvae_tools.files.generate", "--help"]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=240).stdout
    assert all(name in text for name in FILES)
    assert "--topics left=" in text
