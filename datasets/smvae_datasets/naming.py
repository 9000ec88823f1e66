"""Names of sensors, from what their topics or columns are called: short, and alike for alike."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from smvae_core.modality import LONGEST_NAME

#: Letters of a name, beside the number that may follow it.
_LONGEST = LONGEST_NAME - len("_9999")
#: Of a name that would begin with a digit.
_PREFIX = "sensor_"


def cleaned(parts: Collection[str]) -> list[str]:
    """Return parts of a topic or column as parts of a name; those of which nothing is left go."""
    found = [re.sub(r"[^a-z0-9_]+", "_", part.lower()).strip("_") for part in parts]
    return [part for part in found if part]


def joined(parts: Sequence[str]) -> str:
    """Return a name that robot.yaml takes: of a long one the end, with room for a number."""
    name = "_".join(parts)
    for longest in (_LONGEST, _LONGEST - len(_PREFIX)):
        name = name[-longest:].lstrip("_") or "sensor"
        if re.match(r"[a-z]", name):
            return name
    return f"{_PREFIX}{name}"


class Candidates(NamedTuple):
    """Names that a topic or column may have."""

    good: Sequence[str]
    """At least one, the one that is liked best first."""
    poor: Sequence[str] = ()
    """Further ones, that are taken only where no good one of anybody tells them apart."""


def distinct(candidates: Mapping[str, Candidates]) -> dict[str, str]:
    """Return a name of each, all different.

    Where several would have the same name, all of these take their next one: of /left/wrench and
    /right/wrench none is 'wrench'. Those that have no further one are numbered.
    """
    every = {key: [*names.good, *names.poor] for key, names in candidates.items()}
    at = dict.fromkeys(every, 0)
    while True:
        by_name: dict[str, list[str]] = {}
        for key, names in every.items():
            by_name.setdefault(names[at[key]], []).append(key)
        same = [key for keys in by_name.values() if len(keys) > 1 for key in keys]
        longer = [key for key in same if at[key] + 1 < len(candidates[key].good)]
        longer = longer or [key for key in same if at[key] + 1 < len(every[key])]
        if not longer:
            break
        for key in longer:
            at[key] += 1
    named: dict[str, str] = {}
    for name, keys in by_name.items():
        number = 0
        for key in keys:
            named[key] = name
            while len(keys) > 1 and (named[key] == name or named[key] in by_name):
                number += 1
                named[key] = f"{name}_{number}"
    return {key: named[key] for key in every}
