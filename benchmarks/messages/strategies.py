"""Messages that Hypothesis builds field by field: sizes, steps, encodings, numbers, stamps, bytes.

Nothing holds fields together but that they mostly match, so that faults meet in one message; where
`corpus` damages a message, these never were one.
"""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from benchmarks.messages import build, corpus, files
from benchmarks.messages.corpus import ACTION, DEPTH, FORCE, RGB, Sample
from smvae_core.messages import ConversionOptions
from smvae_core.modality import Modality

small = st.integers(0, 7)
sides = st.one_of(st.integers(1, 7), st.integers(1, 7), small)
wide = st.one_of(small, st.integers(0, 2**32 - 1))
flags = st.integers(0, 255)
seldom = st.sampled_from([False, False, False, True])
floats = st.floats(width=64)
#: Seconds and nanoseconds on the wire: usual, zero, before 1970, far ahead.
seconds = st.one_of(st.just(1), st.just(0), st.integers(-(2**31), 2**31 - 1))
nanoseconds = st.one_of(st.just(2), st.just(0), st.integers(0, 2**32 - 1))


def mostly(value: Any, others: Any) -> Any:
    """Return a strategy of a value, and of others now and then."""
    return seldom.flatmap(lambda other: others if other else st.just(value))


@st.composite
def stamped(draw: Any, message: SimpleNamespace) -> SimpleNamespace:
    """Give a message another stamp now and then."""
    if hasattr(message, "header") and draw(st.integers(0, 4)) == 0:
        stamp = message.header.stamp
        stamp.sec, stamp.nanosec = draw(seconds), draw(nanoseconds)
    return message


def of(modality: Modality, message_type: str, messages: Any, **options: Any) -> Any:
    """Return a strategy of samples from one of messages; `options` are strategies too."""
    chosen = st.builds(ConversionOptions, **options)
    return st.builds(Sample, st.just(modality), st.just(message_type), messages, chosen)


@st.composite
def image_messages(draw: Any, encodings: tuple[str, ...], bytes_of: tuple[int, ...]) -> Any:
    """Images whose sizes mostly match, and sometimes do not."""
    encoding = draw(st.sampled_from(encodings if draw(st.booleans()) else corpus.WORDS))
    width, height, bytes_of = draw(sides), draw(sides), draw(st.sampled_from(bytes_of))
    step = draw(mostly(width * bytes_of, st.one_of(st.integers(0, 60), wide)))
    size = draw(mostly(min(step * height, 500), st.integers(0, 500)))
    message = build.image(np.zeros((1, 1, 3), np.uint8), encoding)
    vars(message).update(
        width=draw(mostly(width, wide)),
        height=height,
        step=step,
        is_bigendian=draw(flags),
        data=draw(st.binary(min_size=size, max_size=size)),
    )
    return message


@st.composite
def compressed_messages(draw: Any, formats: tuple[str, ...], headed: bool) -> Any:
    """Files that are whole, cut, flipped or not files at all, behind headers of any content."""
    shape = draw(st.sampled_from([(1, 1), (3, 4), (4, 3, 3), (2, 5, 4)]))
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    if headed:  # depth
        shape, dtype = draw(mostly((3, 4), st.just(shape))), draw(mostly(np.uint16, st.just(dtype)))
    pixels = np.random.default_rng(draw(small)).integers(0, 2**16, shape).astype(dtype)
    data = draw(
        st.sampled_from([files.write_png(pixels), build.write_jpeg(np.zeros((4, 4), "u1"))])
    )
    if draw(seldom):
        data = data[: draw(st.integers(0, len(data)))] + draw(st.binary(max_size=9))
    if draw(seldom) and data:
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + bytes([draw(flags)]) + data[place + 1 :]
    if headed != draw(seldom):
        a, b = draw(st.tuples(st.floats(width=32), st.floats(width=32)) | st.just((100.0, 0.5)))
        data = struct.pack("<iff", draw(st.integers(-1, 1)), a, b) + data
    return build.compressed(data, draw(st.sampled_from(formats + corpus.FORMATS)))


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
    width, height, offset = draw(sides), draw(sides), draw(st.integers(0, 16))
    point_step = offset + draw(mostly(4, st.integers(0, 8)))
    row_step = draw(mostly(width * point_step, st.one_of(st.integers(0, 200), wide)))
    size = draw(mostly(min(row_step * height, 1200), st.integers(0, 1200)))
    message = build.cloud(np.zeros((2, 2), np.float32))
    vars(message).update(
        width=width,
        height=height,
        point_step=point_step,
        row_step=row_step,
        fields=[
            build.point_field("z", offset, 7),
            *(draw(st.lists(fields, max_size=2)) if draw(seldom) else []),
        ],
        is_bigendian=draw(st.booleans()),
        data=draw(st.binary(min_size=size, max_size=size)),
    )
    return message


numbers = st.lists(floats, min_size=6, max_size=6)


@st.composite
def joint_states(draw: Any) -> Any:
    """Joints in any order, mostly all of them, mostly with a velocity each."""
    names = draw(st.permutations([*corpus.JOINTS, "gripper"]))
    if draw(seldom):
        names = draw(st.lists(st.sampled_from([*corpus.JOINTS, "gripper", ""]), max_size=6))
    count = draw(st.integers(0, 6)) if draw(seldom) else len(names)
    return build.joint_state(names, draw(st.lists(floats, min_size=count, max_size=count)))


multi_arrays = st.builds(
    build.multi_array,
    st.one_of(
        st.lists(st.floats(-1000.0, 1000.0, width=32), min_size=4, max_size=4),
        st.lists(st.floats(width=32), max_size=7),
    ),
    st.one_of(st.just([]), st.lists(wide, max_size=3)),
    st.one_of(st.just(0), small, wide),
)
scales = st.sampled_from([0.0, 0.001])
arm = st.just(corpus.JOINTS)
color_images = image_messages(corpus.COLOR_ENCODINGS, (1, 2, 3, 4, 6, 8))
depth_images = image_messages(corpus.DEPTH_ENCODINGS, (2, 4))
color_files = compressed_messages(("png", "bgr8; png compressed", "jpeg"), headed=False)
depth_files = compressed_messages(
    ("16UC1; compressedDepth", "32FC1; compressedDepth png"), headed=True
)

#: What results are counted by -> strategy of samples; every message type of every modality.
BUILT: dict[str, Any] = {
    f"{modality.name} {message_type}": of(
        modality, message_type, messages.flatmap(stamped), **options
    )
    for modality, message_type, messages, options in (
        (RGB, "sensor_msgs/msg/Image", color_images, {}),
        (RGB, "sensor_msgs/msg/CompressedImage", color_files, {}),
        (DEPTH, "sensor_msgs/msg/Image", depth_images, {"depth_scale": scales}),
        (DEPTH, "sensor_msgs/msg/CompressedImage", depth_files, {"depth_scale": scales}),
        (DEPTH, "sensor_msgs/msg/PointCloud2", clouds(), {"depth_scale": scales}),
        (FORCE, "geometry_msgs/msg/WrenchStamped", numbers.map(build.wrench), {}),
        (ACTION, "geometry_msgs/msg/TwistStamped", numbers.map(build.twist), {}),
        (ACTION, "sensor_msgs/msg/JointState", joint_states(), {"joint_names": arm}),
        (ACTION, "std_msgs/msg/Float32MultiArray", multi_arrays, {}),
    )
}
