"""Runs README's Python on the bundle of the tests, with what is installed and nothing else.

Prints one line of JSON: versions, what came out, seconds.
Usage: python -I quick_start.py REPOSITORY
"""

from __future__ import annotations

import importlib.util
import json
import platform
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

root = Path(sys.argv[1])
text = (root / "README.md").read_text(encoding="utf-8")
(block,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S)
bundle = root / "tests/frozen/bundle"
names = {
    "window": np.zeros((32, 6), np.float32),
    "displacement": np.zeros(4, np.float32),
}
began = time.process_time()
exec(block.replace('"bundle"', repr(str(bundle))), names)

import smvae_core  # noqa: E402

where = Path(smvae_core.__file__)
if where.is_relative_to(root / "smvae_core"):
    sys.exit(f"smvae_core came from the repository, not from the wheel: {where}")
if importlib.util.find_spec("torch"):
    sys.exit("torch is installed, which README's Python should not need")
if not names["posterior"].finite or names["image"].dtype != np.uint8:
    sys.exit(f"no latent and image came out: {names['posterior']}, {names['image'].dtype}")
print(
    json.dumps(
        {
            "python": platform.python_version(),
            **{name: version(name) for name in ("smvae", "numpy", "opencv-python", "onnxruntime")},
            "image": list(names["image"].shape),
            "cpu_s": round(time.process_time() - began, 2),
        }
    )
)
