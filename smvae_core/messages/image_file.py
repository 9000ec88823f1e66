"""JPEG and PNG data: what the file says of itself is checked first, then OpenCV decodes it.

OpenCV fills what a truncated JPEG lacks with grey and says nothing, and takes a header's word for
the size of the image to allocate. So ends, checksums and sizes are looked at here; bytes behind the
end are ignored. A JPEG carries no checksum: flipped bits between its markers give another picture
that nobody can tell.
"""

from __future__ import annotations

import re
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from smvae_core.messages.base import ConversionError
from smvae_core.messages.decoder_words import quiet

#: Larger images than this are refused before memory is asked for (8192 x 8192).
MAX_PIXELS = 2**26

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_START = b"\x89PNG\r\n\x1a\n"
#: A marker in a JPEG: neither a stuffed zero nor a restart, which belong to the pixels.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
#: Markers without a length behind them: TEM and a second start.
_ALONE = (0x01, JPEG_START[1])
#: Start-of-frame markers, which hold the size: C0 to CF without DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def decode(name: str, data: NDArray[np.uint8], codec: str) -> NDArray[Any]:
    """Return a file's pixels as OpenCV stores them: (H, W) or BGR(A) (H, W, 3 or 4), 8 or 16 bits.

    The orientation that a JPEG's EXIF may ask for is not applied: pixels stay the camera's.

    Args:
        name: Modality, for the error.
        data: (N,) bytes of the file, and what a camera left behind it.
        codec: 'jpeg' or 'png', as the message's format says.

    Raises:
        ConversionError: 'format' if the data are of another codec, 'decode' if they are damaged or
            truncated, 'size' if the image has no pixels or too many.
    """
    raw = data.tobytes()
    start = JPEG_START if codec == "jpeg" else PNG_START
    if not raw.startswith(start):
        damaged = len(raw) < len(start) and start.startswith(raw)
        got = f"{len(raw)} bytes that start with {raw[:8].hex(' ') or 'nothing'}"
        reason = "decode" if damaged else "format"
        raise ConversionError(name, reason, expected=f"a {codec} file", got=got)
    width, height, end = _jpeg_size(name, raw) if codec == "jpeg" else _png_size(name, raw)
    if not 0 < width * height <= MAX_PIXELS:
        raise ConversionError(
            name, "size", expected=f"1 to {MAX_PIXELS} pixels", got=f"{width} x {height}"
        )
    try:
        with quiet(name):
            image = cv2.imdecode(data[:end], cv2.IMREAD_UNCHANGED)
    except cv2.error as err:
        raise _broken(name, codec, str(err).strip().splitlines()[-1]) from err
    if image is None:
        raise _broken(name, codec, "data that OpenCV cannot decode")
    if image.shape[:2] != (height, width) or image.dtype not in (np.uint8, np.uint16):
        raise _broken(name, codec, f"{image.shape} {image.dtype} behind a {width} x {height} head")
    return image


def encode_png(image: NDArray[Any]) -> bytes:
    """Return (H, W) or BGR (H, W, 3), 8 or 16 bits, as a PNG."""
    return bytes(cv2.imencode(".png", np.ascontiguousarray(image))[1])


def _broken(name: str, codec: str, got: str) -> ConversionError:
    return ConversionError(name, "decode", expected=f"a whole {codec} file", got=got)


def _jpeg_size(name: str, raw: bytes) -> tuple[int, int, int]:
    """Return width, height and length of a JPEG up to its end marker.

    Whatever cameras leave behind it is not looked at, nor what stands between two segments: a
    decoder skips both.
    """
    at, size = len(JPEG_START), (0, 0)
    while found := _MARKER.search(raw, at):
        at, marker = found.end(), raw[found.end() - 1]
        if marker == JPEG_END[1] and size != (0, 0):
            return *size, at
        if marker in (JPEG_END[1], *_ALONE):
            continue
        if marker in _FRAMES and at + 7 <= len(raw):
            size = (int.from_bytes(raw[at + 5 : at + 7], "big"),
                    int.from_bytes(raw[at + 3 : at + 5], "big"))  # fmt: skip
        at += int.from_bytes(raw[at : at + 2], "big")
    lack = "an end marker" if size != (0, 0) else "a frame header"
    raise _broken(name, "jpeg", f"{len(raw)} bytes without {lack}")


def _png_size(name: str, raw: bytes) -> tuple[int, int, int]:
    """Return width, height and length of a PNG whose chunks are there and have their checksum."""
    at, size = len(PNG_START), (0, 0)
    while at + 12 <= len(raw):
        length = int.from_bytes(raw[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(raw):
            break
        kind = raw[at + 4 : at + 8]
        if zlib.crc32(raw[at + 4 : end]) != int.from_bytes(raw[end : end + 4], "big"):
            raise _broken(name, "png", f"a wrong checksum in {kind!r}")
        if at == len(PNG_START):
            if kind != b"IHDR" or length != 13:
                break
            head = raw[at + 8 : end]
            size = (int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big"))
        elif kind == b"IEND":
            return *size, end + 4
        at = end + 4
    raise _broken(name, "png", f"{len(raw)} bytes without an end chunk")
