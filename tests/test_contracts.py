"""What the documents promise about the code, held by reading both."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from smvae_core import kinds

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = {
    ".venv",
    ".venv-peers",
    ".venv-cv-bridge",
    ".venv-oldest",
    ".venv-lerobot",
    ".venv-ray",
    ".venv-gpu",
    ".venv-pythons",
    ".venv-view",
    ".venv-door",
    ".venv-docs",
    ".venv-release",
}
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
PACKAGES = ("smvae_core", "smvae_datasets", "smvae_training")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_a_document_names_exists(document: str):
    """A backticked word with a slash, or with a known suffix, is a path or a file's name."""
    text = re.sub(r"```.*?```", "", (ROOT / document).read_text(encoding="utf-8"), flags=re.S)
    made = ("runs/", ".venv")
    named = re.findall(r"`([\w./-]+)`", text) + re.findall(r"\]\(([\w./-]+)\)", text)
    paths = [n for n in named if re.search(r"\.(py|md|sh|png|yaml|xml)$|^[a-z_0-9]+/.*$", n)]
    tracked = {p.name for p in ROOT.rglob("*.py") if not ENVIRONMENTS & {*p.parts}}
    topics = ("rgb/image", "depth/image")
    missing = [
        p
        for p in paths
        if not (ROOT / p).exists()
        and not (ROOT / "smvae_core" / p).exists()
        and Path(p).name not in tracked
        and not p.startswith(made)
        and p not in topics
    ]
    assert paths, "the pattern finds no path any more"
    assert not missing, f"{document} names what does not exist: {missing}"


@pytest.mark.parametrize("folder", ["datasets", "training", "launch"])
def test_folders_that_others_import_by_name_are_no_packages(folder: str):
    """HuggingFace's `datasets` and ROS's `launch` must win the import."""
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_importable(package: str):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        loaded = importlib.import_module(module.name)
        for name in getattr(loaded, "__all__", ()):
            assert hasattr(loaded, name), f"{module.name}.__all__ lists {name}"


@pytest.mark.parametrize(
    "module",
    [
        "smvae_core.runtime",
        "smvae_core.fusion.collector",
        "smvae_core.messages",
        "smvae_datasets.simulation.robot",
    ],
)
def test_the_robots_modules_work_with_torch_made_unimportable(module: str):
    code = f"import sys; sys.modules['torch'] = None; import {module}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)


def test_numpy_is_told_nothing_that_its_oldest_version_stores_as_an_array():
    """`np.savez(file, allow_pickle=False)` of numpy 1.26 writes an array of that name."""
    folders = ("smvae_core", "datasets", "training", "benchmarks", "ros2_ws/src", "scripts")
    code = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    calls = [
        (path.name, node.lineno, {k.arg for k in node.keywords})
        for path in code
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and "np.savez" in ast.unparse(node.func)
    ]
    assert calls
    assert not [call for call in calls if "allow_pickle" in call[2]]


#: Where code may know kinds and sensors by name.
KNOWING = (
    *("smvae_core/kinds", "smvae_core/model/networks", "smvae_core/presets.py"),
    *("training/smvae_training/presets.py", "datasets", "ros2_ws/src/smvae_tools", "benchmarks"),
)
SENSOR_NAMES = {"rgb", "depth", "force", "wrench"}  # "action" is a setting of episodes too


def named(source: str, names: set[str]) -> list[str]:
    """Return where code compares with one of the names, or looks it up."""
    found = []
    for node in ast.walk(ast.parse(source)):
        tried: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            tried = [node.left, *node.comparators]
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            tried = [node.slice]
        elif isinstance(node, ast.MatchValue):
            tried = [node.value]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            tried = list(node.args) if node.func.attr in ("get", "index", "kind") else []
        texts = [
            inner.value
            for each in tried
            for inner in (each.elts if isinstance(each, ast.Tuple | ast.List | ast.Set) else [each])
            if isinstance(inner, ast.Constant)
        ]
        found += [f"line {node.lineno}: '{text}'" for text in texts if text in names]
    return found


def test_no_code_outside_the_kinds_knows_a_kind_or_a_sensor_by_name():
    names = {kind.name for kind in kinds.kinds()} - {"label"} | SENSOR_NAMES | {"force_window"}
    folders = ("smvae_core", "training", "ros2_ws/src/smvae_ros", "launch", "scripts")
    files = [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if "test" not in path.parts
        and not any(path.is_relative_to(ROOT / known) for known in KNOWING)
    ]
    assert len(files) > 100
    found = {
        str(path.relative_to(ROOT)): where
        for path in files
        if (where := named(path.read_text(encoding="utf-8"), names))
    }
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        "m.kind == 'signal'",
        "m.name in ('rgb', 'x')",
        "TABLE['depth_image']",
        "topics.get('force')",
        "match m.kind:\n    case 'scan': pass",
    ],
)
def test_the_search_for_names_finds_each_way_of_asking(source: str):
    assert named(source, SENSOR_NAMES | {"signal", "depth_image", "scan"})


def test_only_the_declaration_and_its_users_by_name_know_the_modalities():
    """Neither messages, nor parameters, nor the node's code name a modality."""
    names = re.compile(r"\b(rgb|depth|wrench|action)\b", re.I)
    for message in (ROOT / "ros2_ws/src/smvae_msgs/msg").glob("*.msg"):
        fields = [line.partition("#")[0] for line in message.read_text().splitlines()]
        assert not [f for f in fields if names.search(f)], message.name


@pytest.mark.parametrize(
    ("package", "barred"),
    [
        ("ros2_ws/src/smvae_ros", {"smvae_tools", "smvae_datasets", "smvae_training"}),
        ("ros2_ws/src/smvae_tools/smvae_tools", {"smvae_training", "tests", "benchmarks"}),
        ("smvae_core", {"smvae_ros", "smvae_tools"}),
        ("datasets", {"smvae_ros", "smvae_tools"}),
        ("training", {"smvae_ros", "smvae_tools"}),
    ],
)
def test_imports_point_one_way_through_the_workspace(package: str, barred: set[str]):
    """launch/ -> smvae_tools -> smvae_ros -> smvae_core, so that a robot needs no tools."""
    files = [p for p in (ROOT / package).rglob("*.py") if "test" not in p.parts]
    assert files
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = {
            name.split(".")[0]
            for node in ast.walk(tree)
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [str(node.module)]
                if isinstance(node, ast.ImportFrom) and not node.level
                else []
            )
        }
        assert not found & barred, f"{path.relative_to(ROOT)} imports {found & barred}"
