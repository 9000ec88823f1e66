"""What tests against another project's packages gave, written to a file that a script asks for."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def results_fixture(variable: str, key: str, packages: tuple[str, ...]) -> Any:
    """Return the fixture `results`: a dict that tests of a session fill.

    Args:
        variable: Of the environment: names the JSON file; without it nothing is written.
        key: Under which the file holds the dict.
        packages: Whose versions stand beside it.
    """

    @pytest.fixture(scope="session")
    def results() -> Iterator[dict[str, Any]]:
        found: dict[str, Any] = {}
        yield found
        path = os.environ.get(variable)
        if path and found:
            versions = {name: importlib.metadata.version(name) for name in packages}
            about = {"python": platform.python_version(), "versions": versions}
            Path(path).write_text(json.dumps(about | {key: found}, indent=1) + "\n")

    return results
