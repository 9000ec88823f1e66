"""What the code that runs on a robot never has: pickle, eval, network, working folder.

Read from the source, over every module of `smvae_ros`, of `smvae_tools` and of `smvae_core` without
its model, which no robot imports, and its viewer, which looks for a Python in the present folder.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for package in (
        "ros2_ws/src/smvae_ros/smvae_ros",
        "ros2_ws/src/smvae_tools/smvae_tools",
        "smvae_core",
    )
    for path in (ROOT / package).rglob("*.py")
    if not {ROOT / "smvae_core/model", ROOT / "smvae_core/view"} & {*path.parents}
)
PICKLE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
NETWORK = {
    *("socket", "ssl", "http", "urllib", "urllib3", "ftplib", "smtplib", "xmlrpc", "telnetlib"),
    *("requests", "httpx", "aiohttp", "websocket", "websockets", "grpc", "huggingface_hub"),
}
#: A module of a network package that only reads text.
TEXT = {"urllib.parse"}
CODE = {"eval", "exec", "compile", "__import__"}
#: Calls that load code, run a shell, or depend on where the process was started.
CALLS = {
    *("os.system", "os.popen", "os.getcwd", "os.chdir", "Path.cwd", "pathlib.Path.cwd"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.load"),
}


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module not in TEXT:
            yield str(node.module).split(".")[0]


def offences(source: str) -> list[str]:
    """Return what a source does that it may not, one line each."""
    tree = ast.parse(source)
    found = [f"imports {m}" for m in imports(tree) if m in PICKLE | NETWORK]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in CODE | CALLS:
            found.append(f"line {node.lineno}: {called}()")
        for keyword in node.keywords:
            given = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            if keyword.arg in ("shell", "allow_pickle") and given:
                found.append(f"line {node.lineno}: {keyword.arg}=True")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_no_pickle_no_eval_no_network_no_working_folder(path: Path) -> None:
    assert not offences(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from urllib.request import urlopen",
        "from urllib import request",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "eval('1')",
        "import subprocess\nsubprocess.run('x', shell=True)",
        "from pathlib import Path\nPath.cwd()",
        "def f():\n    import socket",
    ],
)
def test_the_search_finds_each_kind_of_offence(source: str) -> None:
    assert offences(source)
