"""What becomes of one message in the conversions, held against what it means."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.messages.corpus import Sample
from smvae_core.fusion.engine import bad_stamp
from smvae_core.messages import REASONS, ConversionError, stamp_ns

#: For what a stamp is refused, before its message is read.
OF_STAMPS = ("zero stamp", "future stamp")
#: What the node's clock says, and how far ahead of it a stamp may be: stamps as `build` makes
#: them are of its past.
CLOCK_NS, MAX_FUTURE_S = 2_000_000_000, 0.5


class Disagreement(AssertionError):
    """The conversions and the second reading do not agree on a message."""


def outcome(sample: Sample) -> str:
    """Judge a message's stamp, then read it; return what became of it, see `reading`."""
    fault = stamp_fault(sample.message)
    found = bad_stamp(stamp_ns(sample.message, arrival_ns=CLOCK_NS), CLOCK_NS, MAX_FUTURE_S)
    if found != fault:
        raise Disagreement(f"expected '{fault}', got '{found}': {told(sample)}")
    return found or reading(sample)


def reading(sample: Sample) -> str:
    """Convert one message and return 'converted', or the reason for which it was refused.

    Raises:
        Disagreement: If the array is not the one that is meant, the reason is not a fault of the
            message, or anything else is raised; with the message in words.
    """
    meaning = sample.meaning()
    convert = sample.modality.converter(sample.message_type)
    expected = ", ".join(sorted(meaning.reasons)) or "an array"
    try:
        got = convert.to_array(sample.modality, sample.message, sample.options)
        sample.modality.plausibility(got)
    except ConversionError as err:
        if err.reason in REASONS and err.reason in meaning.reasons:
            return err.reason
        raise Disagreement(f"expected {expected}, got '{err}': {told(sample)}") from err
    except Exception as err:  # whatever it is, a robot must not meet it
        raise Disagreement(f"expected {expected}, got {err!r}: {told(sample)}") from err
    if meaning.array is None:
        raise Disagreement(f"expected refusal ({expected}), got an array: {told(sample)}")
    if not same(got, meaning.array, meaning.tolerance):
        raise Disagreement(f"another array than is meant: {told(sample)}")
    return "converted"


def stamp_fault(message: Any) -> str:
    """Return what is wrong with a message's stamp: the second reading of it."""
    if not hasattr(message, "header"):
        return ""
    seconds = message.header.stamp.sec + message.header.stamp.nanosec / 10**9
    if seconds <= 0:
        return "zero stamp"
    return "future stamp" if seconds > CLOCK_NS / 10**9 + MAX_FUTURE_S else ""


def same(got: Any, meant: Any, tolerance: float) -> bool:
    """Return whether arrays agree in shape, type and values, NaN being NaN."""
    if got.shape != meant.shape or got.dtype != meant.dtype:
        return False
    if tolerance:
        return bool(np.abs(got.astype(float) - meant.astype(float)).max() <= tolerance)
    return np.array_equal(got, meant, equal_nan=got.dtype.kind == "f")


def told(sample: Sample) -> str:
    """Return a sample in words that it can be made again from."""
    return f"{sample.label}, {sample.options}, {sample.message}"
