"""Preparing the wheels for a message package, without building one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.modules import module_of

ROOT = Path(__file__).parents[2]
EXPORT = (
    'INTERFACE_INCLUDE_DIRECTORIES "/opt/python/cp311-cp311/include/python3.11;'
    '/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include"'
)


@pytest.fixture(scope="module")
def patcher() -> Any:
    return module_of(ROOT / "scripts/patch_ros_wheels.py")


def test_exports_name_this_machine_and_patching_again_changes_nothing(
    patcher: Any, tmp_path: Path
) -> None:
    path = tmp_path / "share/a_msgs/cmake/export_a_msgs__rosidl_generator_pyExport.cmake"
    path.parent.mkdir(parents=True)
    path.write_text(EXPORT)
    assert patcher.patch_prefix(tmp_path) == [path]
    text = path.read_text()
    assert "/opt/python" not in text
    import numpy as np

    assert np.get_include() in text
    assert patcher.patch_prefix(tmp_path) == []


@pytest.mark.parametrize("script", sorted(p.name for p in (ROOT / "scripts").glob("*.sh")))
def test_scripts_are_valid_shell(script: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / "scripts" / script)], check=True)


def test_the_wheel_list_pins_the_middleware_and_names_no_package_twice() -> None:
    lines = (ROOT / "requirements-jazzy-wheels.txt").read_text().splitlines()
    names = [line.split("==")[0].split("[")[0] for line in lines if line and line[0] != "#"]
    assert "ros-rclpy[fastrtps]==7.1.6" in lines
    assert len(names) == len(set(names))


def test_conversions_import_no_ros_and_no_torch() -> None:
    code = (
        "import sys, smvae_core.messages; "
        "bad = {'rclpy', 'torch', 'sensor_msgs'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")


def run_make(folder: Path, *goals: str) -> subprocess.CompletedProcess[str]:
    """Run make as a user does, also where these tests run within `make test`."""
    inherited = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")
    environment = {k: v for k, v in os.environ.items() if k not in inherited}
    command = ["make", *goals]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("name", ["with space", "k\u00fchl", "a#b", "it's"])
def test_make_refuses_at_once_a_path_below_which_ros_packages_cannot_be_built(
    name: str, tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    for goals in (["setup", "ros"], ["demo"], ["test"]):
        made = run_make(folder, *goals)
        assert made.returncode == 2
        assert made.stdout == ""
        (line,) = made.stderr.splitlines()
        assert "has a space, or a letter beyond ASCII" in line
        assert [p.name for p in folder.iterdir()] == ["Makefile"]
    for goals in ([], ["help"]):
        assert run_make(folder, *goals).returncode == 0


def test_make_takes_a_plain_path(tmp_path: Path) -> None:
    folder = tmp_path / "Plain-1.2_x+y"
    folder.mkdir()
    (folder / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    made = run_make(folder, "-n", "clean", "ros")
    assert "beyond ASCII" not in made.stderr
    assert "No rule to make target 'setup.py'" in made.stderr, "only the sources are missing"
