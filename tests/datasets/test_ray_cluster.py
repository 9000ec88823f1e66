"""Without Ray, who asks for it is told what to install; `tests/ray` runs on it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from smvae_core.errors import MissingDependency
from smvae_datasets.ray_cluster import LOCAL, cluster

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is not None, reason="Ray is installed: tests/ray has the rest"
)


def test_without_ray_it_is_named_with_its_extra() -> None:
    with (
        pytest.raises(MissingDependency, match=r"ray is not installed: pip install 'smvae\[ray\]'"),
        cluster(LOCAL),
    ):
        pass


def test_the_closed_loop_says_so_in_one_line(tmp_path: object) -> None:
    command = [sys.executable, "-m", "benchmarks.closed_loop", "ceiling", "--attempts", "1"]
    done = subprocess.run(
        [*command, "--ray", "--out", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "closed_loop: ray is not installed: pip install 'smvae[ray]'\n"
