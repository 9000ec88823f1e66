"""What becomes of one message in the conversions, held against what it means."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.messages.corpus import Sample
from smvae_core.conversions import REASONS, ConversionError, converter, plausibility, stamp_ns


class Disagreement(AssertionError):
    """The conversions and the second reading do not agree on a message."""


def outcome(sample: Sample) -> str:
    """Convert one message and return 'converted', or the reason for which it was refused.

    Raises:
        Disagreement: If the array is not the one that is meant, the reason is not a fault of the
            message, or anything else is raised; with the message in words.
    """
    meaning = sample.meaning()
    convert = converter(sample.modality.kind, sample.message_type)
    expected = ", ".join(sorted(meaning.reasons)) or "an array"
    try:
        got = convert.to_array(sample.modality, sample.message, sample.options)
        plausibility(sample.modality, got)
        stamp_ns(sample.message, arrival_ns=0)
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
