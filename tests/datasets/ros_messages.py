"""Messages of any type, with zeros where nothing is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

#: rosbags' words for what a member is.
_BASE, _NAME, _ARRAY, _SEQUENCE = 1, 2, 3, 4


def filled(store: Any, message_type: str, values: Mapping[str, Any]) -> Any:
    """Return a message of a typestore; a mapping among the values fills a message below."""
    members = {
        name: _member(store, form, values.get(name))
        for name, form in store.fielddefs[message_type][1]
    }
    return store.types[message_type](**members)


def _member(store: Any, form: Any, value: Any) -> Any:
    kind, said = int(form[0]), form[1]
    if kind == _NAME:
        made = value is not None and not isinstance(value, Mapping)
        return value if made else filled(store, said, value or {})
    if kind == _BASE:
        if value is not None:
            return value
        return "" if said[0] == "string" else False if said[0] == "bool" else 0
    element, size = said
    if int(element[0]) == _NAME:
        return [_member(store, element, each) for each in value or ()]
    if element[1][0] == "string":
        return list(value or ())
    count = size if kind == _ARRAY else 0
    dtype = {"float64": "f8", "float32": "f4"}.get(element[1][0], element[1][0])
    return np.zeros(count, dtype) if value is None else np.asarray(value, dtype)
