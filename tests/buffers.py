"""Whatever may hold bytes and numbers of a message, and a conversion tried with all of it."""

from __future__ import annotations

import copy
from array import array
from types import SimpleNamespace
from typing import Any

import numpy as np

from smvae_core.kinds.base import Converter
from smvae_core.messages import ConversionError

HOLDERS = {
    "array.array": lambda held: held,
    "bytes": lambda held: bytes(held) if held.typecode == "B" else held.tolist(),
    "memoryview": memoryview,
    "numpy": np.array,
    "list": array.tolist,
    "rosidl_buffer": lambda held: OutOfReach(held) if held.typecode == "B" else held,
}


class OutOfReach:
    """What Lyrical's rosidl_buffer.Buffer offers in Python: a length, and a copy of its bytes."""

    def __init__(self, held: array[int]) -> None:
        self._held = held

    def __len__(self) -> int:
        return len(self._held)

    def to_bytes(self) -> bytes:
        return self._held.tobytes()


def held_by(holder: str, value: Any) -> Any:
    """Return a copy of a message, or of a part of it, whose rows are held by one of HOLDERS."""
    if isinstance(value, SimpleNamespace):
        return SimpleNamespace(**{k: held_by(holder, v) for k, v in vars(value).items()})
    if isinstance(value, bytes):
        value = array("B", value)
    return HOLDERS[holder](value) if isinstance(value, array) else copy.copy(value)


def convert(converter: Converter, modality: Any, message: Any, options: Any) -> Any:
    """Convert a message in every buffer: all become one array, or are refused for one reason."""
    got = _outcome(converter, modality, message, options)
    for holder in HOLDERS:
        form = _outcome(converter, modality, held_by(holder, message), options)
        assert type(form) is type(got), f"{holder}: {form!r} instead of {got!r}"
        if isinstance(form, ConversionError):
            assert form.reason == got.reason, holder
        else:
            np.testing.assert_array_equal(form, got, err_msg=holder, strict=True)
    if isinstance(got, ConversionError):
        raise got
    return got


def _outcome(converter: Converter, modality: Any, message: Any, options: Any) -> Any:
    try:
        return converter.to_array(modality, message, options)
    except ConversionError as err:
        return err
