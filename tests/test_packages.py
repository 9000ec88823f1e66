"""What is released: one version, complete package manifests, whole wheels, known licences."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib.metadata import Distribution
from pathlib import Path

import pytest
import yaml

from smvae_core import __version__
from tests.test_documents import ROOT, WORKSPACE

sys.path.insert(0, str(ROOT / "scripts/release"))
import licences

PACKAGES = ("smvae_core", "smvae_msgs", "smvae_ros", "smvae_tools")
MANIFESTS = {name: ET.parse(WORKSPACE / name / "package.xml").getroot() for name in PACKAGES}
#: rosdep's keys of what Python imports, as rosdistro had them on 22 August 2026. rosbags-image and
#: mcap have none; cv_bridge decodes images in an installation of ROS.
ROSDEP = {
    "numpy": "python3-numpy",
    "cv2": "python3-opencv",
    "yaml": "python3-yaml",
    "rosbags": "python3-rosbags-pip",
    "onnxruntime": "python3-onnxruntime-pip",
}
#: Further keys of rosdep and packages of ROS that a manifest names, and no import does.
NAMED = {
    "python3-onnxruntime-gpu-pip": "in place of onnxruntime where SMVAE_ORT is gpu",
    "cv_bridge": "decodes images; smvae_core tries it by name",
    "geometry_msgs": "types that are loaded by name, from a kind's table",
    "std_msgs": "the same",
    "launch": "its launch file",
    "launch_ros": "its launch file",
}
#: Ours and not of ROS: `pip install smvae` brings them, where the simulated robot is wanted.
BY_PIP = {"smvae_datasets"}


def imported(package: str) -> set[str]:
    """Return what a package's modules and launch files import, without Python's own."""
    found: set[str] = set()
    files = [
        *(WORKSPACE / package / package).rglob("*.py"),
        *(WORKSPACE / package).glob("launch/*"),
    ]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).split(".")[0])
    assert found
    return found - sys.stdlib_module_names - {package}


def declared(package: str) -> set[str]:
    return {str(e.text) for tag in ("exec_depend", "depend") for e in MANIFESTS[package].iter(tag)}


def test_the_version_is_the_same_everywhere() -> None:
    found = {name: root.findtext("version") for name, root in MANIFESTS.items()}
    for path in WORKSPACE.glob("*/setup.py"):
        (found[str(path)],) = re.findall(r'version="(.+?)"', path.read_text(encoding="utf-8"))
    for path in WORKSPACE.glob("*/CHANGELOG.rst"):
        found[str(path)] = re.findall(
            r"^(\d+\.\d+\.\d+) \(\d", path.read_text("utf-8"), flags=re.M
        )[0]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    found["CITATION.cff"] = citation["version"]
    (found["CHANGELOG.md"],) = re.findall(
        r"^## \[(\d\S*)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.M
    )[:1]
    assert len(found) == 4 + 3 + 4 + 2
    assert set(found.values()) == {__version__}, found


@pytest.mark.parametrize("package", PACKAGES)
def test_a_manifest_has_what_bloom_asks_for(package: str) -> None:
    root = MANIFESTS[package]
    assert root.get("format") == "3"
    assert root.findtext("name") == package
    assert root.findtext("license") == "Apache-2.0"
    maintainer = root.find("maintainer")
    assert maintainer is not None
    assert "@" in maintainer.get("email", "")
    assert len(root.findtext("description") or "") > 30
    build = root.findtext("export/build_type")
    assert build == ("ament_cmake" if package == "smvae_msgs" else "ament_python")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_changelog_is_laid_out_as_bloom_reads_it(package: str) -> None:
    lines = (WORKSPACE / package / "CHANGELOG.rst").read_text(encoding="utf-8").splitlines()
    title = f"Changelog for package {package}"
    assert lines[:3] == ["^" * len(title), title, "^" * len(title)]
    heads = [
        n for n, line in enumerate(lines) if re.match(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)$", line)
    ]
    assert heads
    for head in heads:
        assert lines[head + 1] == "-" * len(lines[head])
        assert lines[head + 2].startswith("* ")


@pytest.mark.parametrize("package", ["smvae_ros", "smvae_tools"])
def test_a_manifest_declares_what_is_imported_and_nothing_else(package: str) -> None:
    needed = {ROSDEP.get(name, name) for name in imported(package) - BY_PIP}
    assert not needed - declared(package)
    assert not declared(package) - needed - set(NAMED)


def test_the_manifest_of_the_core_declares_what_the_node_runs() -> None:
    assert declared("smvae_core") == {
        *(ROSDEP[name] for name in ("numpy", "cv2", "onnxruntime")),
        "python3-onnxruntime-gpu-pip",
    }


def test_the_manifest_of_the_messages_declares_what_they_hold() -> None:
    fields = "".join(path.read_text("utf-8") for path in (WORKSPACE / "smvae_msgs/msg").glob("*"))
    assert declared("smvae_msgs") - {"rosidl_default_runtime"} == set(
        re.findall(r"^(\w+)/", fields, re.M)
    )


def test_a_package_carries_every_data_file_of_ours() -> None:
    """setup.py names them by pattern; a file that no pattern finds is missing on a robot."""
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    (patterns,) = re.findall(r"package_data=(\{.+?\n    \})", setup, flags=re.S)
    folders = {
        "smvae_core": ROOT,
        "smvae_datasets": ROOT / "datasets",
        "smvae_training": ROOT / "training",
    }
    for package, names in ast.literal_eval(patterns).items():
        here = folders[package] / package
        files = {p for p in here.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
        assert files == {path for name in names for path in here.glob(name)}


def test_every_dependency_has_a_licence_that_is_allowed() -> None:
    packages = licences.closure(["smvae"])
    assert {"numpy", "onnxruntime", "torch", "mujoco", "rosbags", "pyarrow"} <= set(packages)
    assert licences.refused(packages) == []


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("License-Expression: GPL-3.0-only", "GPL-3.0-only"),
        ("License-Expression: MIT AND LGPL-2.1-or-later", "LGPL-2.1-or-later"),
        ("License: Proprietary", "Proprietary"),
        (
            "License-Expression: GPL-2.0\nClassifier: License :: OSI Approved :: MIT License",
            "GPL-2.0",
        ),
        ("Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)", "GPLv3"),
        ("Summary: says nothing", "nothing"),
    ],
)
def test_a_dependency_of_another_licence_is_refused(told: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "METADATA").write_text(f"Name: odd\nVersion: 1.0\n{told}\n", encoding="utf-8")
    (line,) = licences.refused({"odd": Distribution.at(tmp_path)})
    assert line.startswith("odd 1.0: ")
    assert why in line


@pytest.mark.parametrize(
    "told",
    [
        "License-Expression: MIT AND (Apache-2.0 OR BSD-3-Clause)",
        "License: Apache License, Version 2.0",
        "License: BSD-3\nClassifier: License :: OSI Approved :: BSD License",
        "License: " + "a whole text " * 20 + "\nClassifier: License :: OSI Approved :: MIT License",
    ],
)
def test_the_spellings_of_before_are_understood(told: str, tmp_path: Path) -> None:
    (tmp_path / "METADATA").write_text(f"Name: odd\nVersion: 1.0\n{told}\n", encoding="utf-8")
    assert licences.refused({"odd": Distribution.at(tmp_path)}) == []


DOCKERFILES = sorted((ROOT / "docker").glob("Dockerfile.*"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_a_dockerfile_copies_what_is_there_for_its_distribution(path: Path) -> None:
    distribution = path.suffix[1:]
    lines = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    assert [w[1] for w in words if w[0] == "FROM"] == [f"ros:{distribution}-ros-base"] * 2
    copied = [w[1] for w in words if w[0] == "COPY" and not w[1].startswith("--")]
    assert all((ROOT / source).exists() for source in copied)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert not {"smvae_core", "datasets", "training", "ros2_ws", "docker"} & set(ignored)
    assert [w for w in words if w[0] == "USER"][-1] == ["USER", "1100"]
    assert not {"jazzy", "lyrical"} - {distribution} & set(re.findall(r"\w+", " ".join(lines)))


def test_there_is_a_dockerfile_for_each_distribution_in_long_support() -> None:
    assert [path.suffix for path in DOCKERFILES] == [".jazzy", ".lyrical"]


@pytest.mark.parametrize("changed", ["setup.py", "constraints.txt", "smvae_core/__init__.py"])
def test_make_sets_up_again_when_what_is_installed_changed(tmp_path: Path, changed: str) -> None:
    """The version stands in smvae_core/__init__.py; pip writes it into the metadata."""
    if shutil.which("make") is None:
        pytest.skip("no make here")
    shutil.copy(ROOT / "Makefile", tmp_path)
    needs = ("setup.py", "constraints.txt", "requirements-jazzy-wheels.txt", "scripts/setup.sh")
    for name in (*needs, "smvae_core/__init__.py", ".venv/.setup-done"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    # the prerequisites are older than what was made of them
    for name in (*needs, "smvae_core/__init__.py"):
        os.utime(tmp_path / name, (1, 1))
    ready = ["make", "-q", "-C", str(tmp_path), "setup"]
    assert subprocess.run(ready, check=False).returncode == 0
    os.utime(tmp_path / changed)
    os.utime(tmp_path / ".venv/.setup-done", (2, 2))
    assert subprocess.run(ready, check=False).returncode == 1
