"""Malformed messages are converted to the array they mean, or refused for a fault they have.

Hypothesis builds them field by field, and a seeded generator damages well-formed ones; both are
held against a second reading of the formats (`benchmarks.messages`), as 100,000 more are in
`benchmarks.malformed_messages`.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.messages import build, corpus, files
from benchmarks.messages.corpus import Sample
from benchmarks.messages.outcomes import Disagreement, outcome
from smvae_core.conversions import REASONS, ConversionOptions

RGB, DEPTH, FORCE, ACTION = corpus.RGB, corpus.DEPTH, corpus.FORCE, corpus.ACTION
SEED = 20
IMAGE = "sensor_msgs/msg/Image"

#: Every example is drawn anew from one seed: the same in every run, and none is kept.
example = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

small = st.integers(0, 7)
wide = st.one_of(small, st.integers(0, 2**32 - 1))
flags = st.integers(0, 255)
floats = st.floats(width=64)


def check(modality: Any, message_type: str, message: Any, **options: Any) -> str:
    """Convert, hold the result against the second reading, and return what became of it."""
    sample = Sample(modality, message_type, message, ConversionOptions(**options))
    return outcome(sample)


@st.composite
def image_messages(draw: Any) -> Any:
    """Images whose sizes mostly match, and sometimes do not."""
    encoding = draw(st.sampled_from([*corpus.WORDS, "16UC1", "32FC1"]))
    width, height, bytes_of = draw(small), draw(small), draw(st.sampled_from([1, 2, 3, 4, 6, 8]))
    step = draw(st.one_of(st.just(width * bytes_of), st.integers(0, 60), wide))
    size = draw(st.one_of(st.just(min(step * height, 500)), st.integers(0, 500)))
    message = build.image(np.zeros((1, 1, 3), np.uint8), encoding)
    vars(message).update(
        width=draw(st.one_of(st.just(width), wide)) if draw(st.booleans()) else width,
        height=height,
        step=step,
        is_bigendian=draw(flags),
        data=draw(st.binary(min_size=size, max_size=size)),
    )
    return message


@example
@given(image_messages(), st.sampled_from([0.0, 0.001]))
def test_any_image(message: Any, scale: float) -> None:
    for modality in (RGB, DEPTH):
        check(modality, IMAGE, message, depth_scale=scale)


@st.composite
def compressed_messages(draw: Any) -> Any:
    """Files that are whole, cut, flipped or not files at all, behind headers of any content."""
    shape = draw(st.sampled_from([(1, 1), (3, 4), (4, 3, 3), (2, 5, 4)]))
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    pixels = np.random.default_rng(draw(small)).integers(0, 2**16, shape).astype(dtype)
    data = draw(
        st.sampled_from([files.write_png(pixels), build.write_jpeg(np.zeros((4, 4), "u1"))])
    )
    if draw(st.booleans()):
        data = data[: draw(st.integers(0, len(data)))] + draw(st.binary(max_size=9))
    if draw(st.booleans()) and data:
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + bytes([draw(flags)]) + data[place + 1 :]
    if draw(st.booleans()):
        kind, a, b = draw(st.integers(-1, 1)), draw(st.floats(width=32)), draw(st.floats(width=32))
        data = struct.pack("<iff", kind, a, b) + data
    return build.compressed(data, draw(st.sampled_from(corpus.FORMATS)))


@example
@given(compressed_messages())
def test_any_compressed_image(message: Any) -> None:
    for modality in (RGB, DEPTH):
        check(modality, "sensor_msgs/msg/CompressedImage", message)


fields = st.builds(
    build.point_field,
    st.sampled_from(["x", "y", "z", "z", "", "rgb"]),
    st.one_of(st.integers(0, 24), wide),
    st.one_of(st.sampled_from([7, 8]), flags),
    st.one_of(st.just(1), wide),
)


@st.composite
def clouds(draw: Any) -> Any:
    """Clouds whose steps mostly match, with fields anywhere."""
    width, height, point_step = draw(small), draw(small), draw(st.integers(0, 24))
    row_step = draw(st.one_of(st.just(width * point_step), st.integers(0, 200), wide))
    size = draw(st.one_of(st.just(min(row_step * height, 1200)), st.integers(0, 1200)))
    message = build.cloud(np.zeros((2, 2), np.float32))
    vars(message).update(
        width=width,
        height=height,
        point_step=point_step,
        row_step=row_step,
        fields=[
            build.point_field("z", draw(st.integers(0, 16)), 7),
            *draw(st.lists(fields, max_size=2)),
        ],
        is_bigendian=draw(st.booleans()),
        data=draw(st.binary(min_size=size, max_size=size)),
    )
    return message


@example
@given(clouds())
def test_any_cloud(message: Any) -> None:
    check(DEPTH, "sensor_msgs/msg/PointCloud2", message)


@example
@given(st.lists(floats, min_size=6, max_size=6))
def test_any_wrench_and_twist(values: list[float]) -> None:
    check(FORCE, "geometry_msgs/msg/WrenchStamped", build.wrench(values))
    check(ACTION, "geometry_msgs/msg/TwistStamped", build.twist(values))


@example
@given(
    st.lists(st.sampled_from([*corpus.JOINTS, "gripper", ""]), max_size=6),
    st.lists(floats, max_size=6),
)
def test_any_joint_state(names: list[str], velocity: list[float]) -> None:
    message = build.joint_state(names, velocity)
    check(ACTION, "sensor_msgs/msg/JointState", message, joint_names=corpus.JOINTS)


@example
@given(
    st.lists(st.floats(width=32), max_size=7),
    st.lists(wide, max_size=3),
    st.one_of(st.just(0), small, wide),
)
def test_any_multi_array(values: list[float], sizes: list[int], offset: int) -> None:
    message = build.multi_array(values, sizes, offset)
    check(ACTION, "std_msgs/msg/Float32MultiArray", message)


def test_damaged_messages_of_every_type_are_converted_right_or_refused_rightly() -> None:
    rng = np.random.default_rng(SEED)
    found: dict[str, set[str]] = {}
    for _ in range(1500):
        sample = corpus.draw(rng)
        found.setdefault(sample.label, set()).add(outcome(sample))
    assert len(found) == len(corpus.MAKERS)
    for label, results in found.items():
        assert "converted" in results, label
        assert len(results) > 1, label
    assert set().union(*found.values()) == {"converted", *REASONS} - {"stamp"}


def test_a_disagreement_is_noticed_and_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    message = build.image(np.arange(12, dtype=np.uint8).reshape(2, 2, 3), "rgb8")
    assert check(RGB, IMAGE, message) == "converted"
    with monkeypatch.context() as patch:
        patch.setitem(corpus.images._COLOR, "rgb8", "BGR")
        with pytest.raises(Disagreement, match="another array than is meant: rgb sensor_msgs"):
            check(RGB, IMAGE, message)
    with monkeypatch.context() as patch:
        patch.delitem(corpus.images._COLOR, "rgb8")
        with pytest.raises(Disagreement, match=r"expected refusal \(encoding\), got an array"):
            check(RGB, IMAGE, message)
    message.encoding = "nonsense"
    with monkeypatch.context() as patch:
        patch.setitem(corpus.images._COLOR, "nonsense", "RGB")
        with pytest.raises(Disagreement, match="expected an array, got 'rgb: encoding: "):
            check(RGB, IMAGE, message)
    del message.header
    message.encoding = "rgb8"
    assert check(RGB, IMAGE, message) == "converted"
