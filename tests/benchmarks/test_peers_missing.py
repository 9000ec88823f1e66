"""What is said where the peers cannot be had; runs in every environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers import build
from smvae_core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def test_an_unknown_peer_is_named_with_those_there_are():
    with pytest.raises(
        ConfigError, match=r"unknown peer 'mopo': have mvae, .* Did you mean 'mopoe'"
    ):
        build("mopo")


def test_without_multivae_one_line_says_how_to_get_it():
    code = (
        "import sys; sys.modules['multivae'] = None; import benchmarks.peers as p; p.build('mvae')"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    last = found.stderr.strip().splitlines()[-1]
    assert "PeersMissing: the benchmarks' peers need MultiVae" in last
    assert "scripts/setup_peers.sh" in last


def test_the_requirements_pin_multivae():
    lines = (ROOT / "benchmarks/requirements-peers.txt").read_text(encoding="utf-8").splitlines()
    assert "multivae==1.0.3" in lines
