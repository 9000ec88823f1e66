"""Real messages: rclpy's through the wire's own serialisation, and those that rosbags reads back.

Both give the arrays that the plain objects of the other tests give.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from benchmarks.messages import corpus
from benchmarks.messages.wire import message_class, to_ros
from smvae_core.messages import ConversionError, ConversionOptions, stamp_ns

pytest.importorskip("rclpy.serialization", reason="no ROS 2 in this environment")
pytest.importorskip("rosbags.typesys")
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

ALL = range(len(corpus.MAKERS))


def name(index: int) -> str:
    """Return an index of MAKERS in words."""
    return f"{corpus.MAKERS[index][0].name}-{corpus.MAKERS[index][1].rsplit('/', 1)[1]}"


def read_by_rosbags(store: Any, wire: bytes, message_type: str) -> Any:
    """Return a serialised message as rosbags reads it.

    rmw_serialize reserves the alignment of empty sequences of doubles without using it, which no
    published message has behind it; rosbags wants the exact length.
    """
    for unused in (0, 4, 8):
        with suppress(SerdeError):
            return store.deserialize_cdr(wire[: len(wire) - unused], message_type)
    return store.deserialize_cdr(wire[:-12], message_type)


def result(sample: corpus.Sample, message: Any) -> Any:
    """Return the array of a message, or the reason for its refusal."""
    convert = sample.modality.converter(sample.message_type).to_array
    try:
        return convert(sample.modality, message, sample.options)
    except ConversionError as err:
        return err.reason


@pytest.mark.parametrize("index", ALL, ids=name)
def test_messages_of_rclpy_and_of_rosbags_convert_alike(index: int) -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    modality, message_type, make = corpus.MAKERS[index]
    rng = np.random.default_rng(index)
    converted = 0
    for attempt in range(40):
        options = ConversionOptions(joint_names=corpus.JOINTS if attempt % 2 else ())
        sample = corpus.Sample(modality, message_type, make(rng, options), options)
        if attempt >= 20:
            corpus.damage(rng, sample.message)
        cls = message_class(message_type)
        wire = serialize_message(to_ros(sample.message, cls))
        expected = result(sample, sample.message)
        for message in (
            deserialize_message(wire, cls),
            read_by_rosbags(store, wire, message_type),
        ):
            got = result(sample, message)
            assert type(got) is type(expected)
            np.testing.assert_array_equal(got, expected)
            assert stamp_ns(message, 7) == stamp_ns(sample.message, 7)
        converted += not isinstance(expected, str)
    assert converted >= 20


@pytest.mark.parametrize("index", [i for i in ALL if "Cloud" not in corpus.MAKERS[i][1]], ids=name)
def test_what_is_written_into_an_rclpy_message_is_read_again(index: int) -> None:
    modality, message_type, _ = corpus.MAKERS[index]
    chosen = modality.converter(message_type)
    sample = modality.example_sample()
    if modality.family.is_window:
        sample = sample[-1]
    options = ConversionOptions()
    message = chosen.fill(
        modality, message_class(message_type)(), sample, 9_000_000_001, "tool0", options
    )
    assert isinstance(message, message_class(message_type))
    assert stamp_ns(message, 9_000_000_001) == 9_000_000_001
    got = chosen.to_array(modality, message, options)
    np.testing.assert_allclose(got, sample, rtol=1e-6, atol=1e-4 if modality is corpus.DEPTH else 0)
