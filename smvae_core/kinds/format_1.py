"""Declarations of bundles and runs of format 1, from before kinds had options."""

from __future__ import annotations

from typing import Any

#: What a declaration without options was before kinds had any.
FORMAT_1: dict[str, dict[str, Any]] = {
    "color_image": {"options": {"fit": "stretch"}},
    "grey_image": {"options": {"fit": "stretch"}},
    "depth_image": {"options": {"fit": "stretch", "range_m": [1e-7, 2.0]}},
    "force_window": {
        "kind": "signal",
        "options": {"rate_hz": 1000.0, "below": "wrench"},
        "topic": "wrench",
    },
    "vector": {"kind": "command"},
}
