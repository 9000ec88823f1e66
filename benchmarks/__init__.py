"""Measurements of this project against its peers; see `benchmarks/RESULTS.md`.

Not part of the installed package: run from the repository's root as `python -m benchmarks...`.
"""

from importlib.util import find_spec

if find_spec("torchvision"):
    from benchmarks.paper.torchvision_shim import ensure_torchvision

    ensure_torchvision()
