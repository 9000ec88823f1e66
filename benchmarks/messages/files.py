"""What JPEG and PNG files mean: PNG by its specification (W3C, 2nd edition), JPEG by OpenCV."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.messages.meaning import Meaning, refused

#: Largest image that may be asked for, as the conversions document.
MAX_PIXELS = 2**26
PNG_START = b"\x89PNG\r\n\x1a\n"


def jpeg(data: Any) -> Meaning:
    """Return what OpenCV makes of a JPEG that has an end, whatever stands behind it.

    There is no checksum: a damaged one may be refused, or mean what OpenCV makes of it.
    """
    raw = bytes(data)
    if not raw.startswith(b"\xff\xd8"):
        return refused("format", "decode")
    if b"\xff\xd9" not in raw:
        return refused("decode")
    for frame in re.finditer(
        rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]...(....)", raw, re.DOTALL
    ):
        height, width = struct.unpack(">HH", frame[1])
        if height * width > MAX_PIXELS:  # or OpenCV would ask for gigabytes
            return refused("decode", "size")
    try:
        image = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        return refused("decode", "size")
    return Meaning(image if image.ndim == 2 else image[:, :, 2::-1], {"decode", "size"})


def rvl(data: Any) -> Meaning:
    """Return the (H, W) image of 16 bits that an RVL stream behind its size means.

    Read number by number, from Wilson 2017 and what compressed_depth_image_transport puts first.
    """
    raw = bytes(data)
    if len(raw) < 8:
        return refused("decode")
    width, height = struct.unpack("<II", raw[:8])
    if not 0 < width * height <= MAX_PIXELS:
        return refused("size", "decode")
    nibbles = _nibbles(raw[8:])
    pixels: list[int] = []
    before = 0
    try:
        while len(pixels) < width * height:
            zeros = _number(nibbles)
            others = _number(nibbles)
            if zeros + others == 0 or len(pixels) + zeros + others > width * height:
                return refused("decode")
            pixels += [0] * zeros
            for _ in range(others):
                told = _number(nibbles)
                before += -(told + 1) // 2 if told % 2 else told // 2
                pixels.append(before % 2**16)
    except (StopIteration, OverflowError):
        return refused("decode")
    return Meaning(np.array(pixels, np.uint16).reshape(height, width), set())


def _nibbles(raw: bytes) -> Iterator[int]:
    for at in range(0, len(raw) - 3, 4):
        yield from (int(digit, 16) for digit in raw[at : at + 4][::-1].hex())


def _number(nibbles: Iterator[int]) -> int:
    """Return the next number; OverflowError where it has more than 32 bits or 11 groups."""
    value = 0
    for group in range(11):
        nibble = next(nibbles)
        value += (nibble % 8) * 8**group
        if nibble < 8:
            if value >= 2**32:
                break
            return value
    raise OverflowError


def write_rvl(image: NDArray[np.uint16]) -> bytes:
    """Return width, height and stream of an image (H, W)."""
    numbers: list[int] = []
    left, before = [int(value) for value in image.reshape(-1)], 0
    while left:
        zeros = next((n for n, value in enumerate(left) if value), len(left))
        ends = next((n for n, value in enumerate(left[zeros:]) if not value), len(left) - zeros)
        numbers += [zeros, ends]
        for value in left[zeros : zeros + ends]:
            difference, before = value - before, value
            numbers.append(-2 * difference - 1 if difference < 0 else 2 * difference)
        left = left[zeros + ends :]
    digits = ""
    for number in numbers:
        while number >= 8:
            digits += f"{8 + number % 8:x}"
            number //= 8
        digits += f"{number:x}"
    digits += "0" * (-len(digits) % 8)
    words = (bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8))
    return struct.pack("<II", image.shape[1], image.shape[0]) + b"".join(words)


_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}


def png(data: Any) -> Meaning:
    """Return the grey (H, W) or RGB(A) (H, W, 3 or 4) image of a PNG of 8 or 16 bits a sample."""
    raw = bytes(data)
    if not raw.startswith(PNG_START):
        return refused("format", "decode")
    at = 8
    chunks: list[tuple[bytes, bytes]] = []
    while True:
        if at + 12 > len(raw):
            return refused("decode", "size")
        length = struct.unpack_from(">I", raw, at)[0]
        kind, body = raw[at + 4 : at + 8], raw[at + 8 : at + 8 + length]
        if at + 12 + length > len(raw) or (not chunks and (kind, length) != (b"IHDR", 13)):
            return refused("decode", "size")
        if zlib.crc32(kind + body) != struct.unpack_from(">I", raw, at + 8 + length)[0]:
            return refused("decode")
        chunks.append((kind, body))
        at += 12 + length
        if kind == b"IEND":
            break
    width, height, bits, kind, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    if not 0 < width * height <= MAX_PIXELS:
        return refused("size", "decode")
    if kind not in _PNG_CHANNELS or bits not in (8, 16) or rest != [0, 0, 0]:
        return refused("decode")
    try:
        pixels = _unfilter(
            zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT")),
            (height, width, _PNG_CHANNELS[kind]),
            bits // 8,
        )
    except (zlib.error, ValueError):
        return refused("decode")
    if kind == 4:  # grey with alpha
        pixels = pixels[:, :, [0, 0, 0, 1]]
    return Meaning(pixels[:, :, 0] if kind == 0 else pixels)


def _unfilter(raw: bytes, shape: tuple[int, int, int], size: int) -> NDArray[Any]:
    """Return the samples of a PNG's decompressed data, rows filtered by types 0 to 4."""
    height, width, channels = shape
    row, back = width * channels * size, channels * size
    if len(raw) < height * (row + 1):
        raise ValueError("short or wrong rows")
    above, rows = bytearray(row), []
    for y in range(height):
        start = y * (row + 1)
        kind, line = raw[start], bytearray(raw[start + 1 : start + 1 + row])
        if kind > 4:
            raise ValueError("short or wrong rows")
        for i in range(row):
            a, b = (line[i - back] if i >= back else 0), above[i]
            c = above[i - back] if i >= back else 0
            line[i] = (line[i] + (0, a, b, (a + b) // 2, _paeth(a, b, c))[kind]) % 256
        rows.append(bytes(line))
        above = line
    return np.frombuffer(b"".join(rows), f">u{size}").reshape(shape).astype(f"u{size}")


def _paeth(a: int, b: int, c: int) -> int:
    distances = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    return (a, b, c)[distances.index(min(distances))]


def write_png(image: NDArray[Any], filters: tuple[int, ...] = (0,)) -> bytes:
    """Return grey (H, W) or RGB(A) (H, W, 3 or 4) of 8 or 16 bits as a PNG.

    Args:
        image: The pixels.
        filters: Filter types 0 to 2 of the rows, taken in turn.
    """
    height, width = image.shape[:2]
    samples = image.reshape(height, width, -1)
    size, channels = image.itemsize, samples.shape[2]
    lines = samples.astype(f">u{size}").reshape(height, -1).view(np.uint8).astype(np.int64)
    above, rows = np.zeros_like(lines[0]), b""
    for y, line in enumerate(lines):
        kind = filters[y % len(filters)]
        left = np.concatenate([np.zeros(channels * size, np.int64), line])[: len(line)]
        rows += bytes([kind]) + ((line - (0, left, above)[kind]) % 256).astype(np.uint8).tobytes()
        above = line
    head = struct.pack(">IIBBBBB", width, height, 8 * size, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows))
    return PNG_START + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return one chunk of a PNG: length, kind, body, checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
