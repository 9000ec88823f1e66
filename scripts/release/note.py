"""Writes what the trials of the wheel gave.

Usage: python scripts/release/note.py RESULT WHEEL PIP_REPORT_OF_3.14 LINE_OF_JSON...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

result, wheel, report, *told = sys.argv[1:]
planned = json.loads(Path(report).read_text(encoding="utf-8"))["install"]
packages = {one["metadata"]["name"]: one["metadata"]["version"] for one in planned}
if "smvae" not in packages or not all(
    one["download_info"]["url"].endswith(".whl") for one in planned
):
    sys.exit(f"Python 3.14 would not get wheels alone: {packages}")
found = {
    "wheel": Path(wheel).name,
    "bytes": Path(wheel).stat().st_size,
    "readme_quick_start": [json.loads(line) for line in told],
    "resolved_for_3.14": packages,
}
Path(result).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
print(f"{result}: {len(told)} Pythons ran README's Python; 3.14 has wheels of {len(packages)}")
