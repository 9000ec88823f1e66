"""Convolutions of small images by their frequencies: fewer products of numbers.

B batch, C and K channels, P positions of an image, T taps of a kernel, R products.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


class Bases(NamedTuple):
    """Three bases in which a convolution is a product, number by number.

    Of an image x, a kernel w and the larger image y that x and w make,

        sum_pt y[p + t] x[p] w[t] = sum_r (large y)_r (small x)_r (taps w)_r

    so each of the three is had from the other two. The products are those of the frequencies of
    the larger image, three for a complex one (Gauss). 8 x 8 pixels and 4 x 4 taps take 94, where
    the convolution takes 400.
    """

    small: Float[Tensor, "R P"]
    taps: Float[Tensor, "R T"]
    large: Float[Tensor, "R P2"]


@lru_cache(maxsize=64)
def frequency_bases(height: int, width: int, rows: int, columns: int) -> Bases:
    """Return the bases of a larger image of `height` x `width`, a kernel of `rows` x `columns`."""
    every = np.indices((height, width)).reshape(2, -1, 1, 1)
    y, x = np.indices((height, width))
    waves = np.exp(-2j * math.pi * (every[0] * y / height + every[1] * x / width))
    bases: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    for (i, j), wave in zip(np.ndindex(height, width), waves, strict=True):
        mirrored = (-i % height, -j % width)
        if mirrored < (i, j):  # the conjugate of one before
            continue
        small, taps = wave[: height - rows + 1, : width - columns + 1], wave[:rows, :columns]
        large = wave.conj() / (height * width)
        if mirrored == (i, j):
            products = [(small.real, taps.real, large.real)]
        else:
            large = 2.0 * large  # for the conjugate too
            products = [
                (small.real + small.imag, taps.real, large.real - large.imag),
                (small.real, taps.imag - taps.real, -large.imag),
                (small.imag, taps.real + taps.imag, -large.real),
            ]
        for parts in products:
            for basis, part in zip(bases, parts, strict=True):
                basis.append(part.ravel())
    return Bases(*(torch.from_numpy(np.array(basis, np.float32)) for basis in bases))


def convolve(
    image: Float[Tensor, "B C H W"], weight: Float[Tensor, "K C Y X"]
) -> Float[Tensor, "B K H2 W2"]:
    """Return the convolution of stride 1 without padding, computed in bf16."""
    size = tuple(n - k + 1 for n, k in zip(image.shape[2:], weight.shape[2:], strict=True))
    small, taps, large = frequency_bases(*image.shape[2:], *weight.shape[2:])
    return _image(_Product.apply(image, weight, large, taps, small), size)


def deconvolve(
    image: Float[Tensor, "B C H W"], weight: Float[Tensor, "C K Y X"]
) -> Float[Tensor, "B K H2 W2"]:
    """Return the transposed convolution of stride 1 without padding, computed in bf16."""
    size = tuple(n + k - 1 for n, k in zip(image.shape[2:], weight.shape[2:], strict=True))
    return _image(_Product.apply(image, weight, *frequency_bases(*size, *weight.shape[2:])), size)


def _image(positions: Float[Tensor, "B P K"], size: tuple[int, ...]) -> Float[Tensor, "B K H W"]:
    return positions.unflatten(1, size).permute(0, 3, 1, 2)


class _Product(torch.autograd.Function):
    """An image in basis `into`, times a weight in basis `taps`, back from basis `out`.

    Written out, since autograd's own gradient of a turned weight copies it.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)
    def forward(
        ctx: Any, image: Tensor, weight: Tensor, into: Tensor, taps: Tensor, out: Tensor
    ) -> Float[Tensor, "B P K"]:
        flat = weight.permute(2, 3, 0, 1).reshape(taps.shape[1], -1)
        w = (taps @ flat).view(-1, *weight.shape[:2])
        x = (into @ image.permute(0, 2, 3, 1).flatten(1, 2)).transpose(0, 1)
        ctx.turned = into.shape[1] > out.shape[1]  # a convolution's weight is (K, C)
        ctx.save_for_backward(x, w, into, taps, out)
        ctx.shapes = image.shape, weight.shape
        return out.t() @ torch.bmm(x, w.mT if ctx.turned else w).transpose(0, 1)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, gradient: Float[Tensor, "B P K"]) -> Any:
        x, w, into, taps, out = ctx.saved_tensors
        image, weight = ctx.shapes
        y = (out @ gradient).transpose(0, 1)
        of_x = torch.bmm(y, w if ctx.turned else w.mT).transpose(0, 1)
        of_image = _image(into.t() @ of_x, image[2:])
        of_w = torch.bmm(y.mT, x) if ctx.turned else torch.bmm(x.mT, y)
        of_weight = (taps.t() @ of_w.flatten(1)).view(*weight[2:], *weight[:2]).permute(2, 3, 0, 1)
        return of_image, of_weight, None, None, None
