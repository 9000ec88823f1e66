"""Layers that compute what torch's do in less time, for training on a CPU.

Weights, keys and shapes are those of torch's layers, so checkpoints and exports know nothing of
them. When not training they are torch's. benchmarks/NOTES.md has the figures.

B batch, C and K channels, H x W of the image that comes in.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smvae_training.frequencies import convolve, deconvolve

#: In bf16 an image up to this size is convolved by its frequencies: above, what is spared of
#: products goes into changes of basis [pixels].
MOST_PIXELS = 64
#: A layer of fewer weights in each tap is not: its bases would cost more [input times output
#: channels].
LEAST_CHANNELS = 4096
#: Up to so many channels come out phase by phase: oneDNN computes 16 in either case.
MOST_PHASED = 4


def quicken(model: nn.Module) -> None:
    """Make every plain 2d convolution of a model one of these layers, in place."""
    for layer in model.modules():
        if type(layer) is nn.Conv2d:
            layer.__class__ = Convolution
        elif type(layer) is nn.ConvTranspose2d:
            layer.__class__ = Deconvolution


class Convolution(nn.Conv2d):
    """`nn.Conv2d`, in bf16 by frequencies where the image is small."""

    def forward(self, input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K H2 W2"]:
        if not _by_frequencies(self, input.shape[2] * input.shape[3]):
            return super().forward(input)
        return _add(convolve(input, self.weight), self.bias)


class Deconvolution(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d`, in bf16 by frequencies where the image is small, see `_Deconvolve`."""

    def forward(
        self, input: Float[Tensor, "B C H W"], output_size: list[int] | None = None
    ) -> Float[Tensor, "B K H2 W2"]:
        if not self.training or self.bias is None or output_size is not None:
            return super().forward(input, output_size)
        height, width = (n + k - 1 for n, k in zip(input.shape[2:], self.kernel_size, strict=True))
        if _by_frequencies(self, height * width):
            return _add(deconvolve(input, self.weight), self.bias)
        lower = torch.is_autocast_enabled("cpu")
        kind = torch.get_autocast_dtype("cpu") if lower else input.dtype
        given = [tensor.to(kind) for tensor in (input, self.weight, self.bias)]
        sizes = (self.stride, self.padding, self.dilation, True, self.output_padding, self.groups)
        found: Tensor = _Deconvolve.apply(*given, sizes)
        return found


def _by_frequencies(layer: nn.Conv2d | nn.ConvTranspose2d, pixels: int) -> bool:
    plain = layer.stride == layer.dilation == (1, 1) and layer.padding == (0, 0)
    return (
        layer.training
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and plain
        and layer.groups == 1
        and pixels <= MOST_PIXELS
        and layer.in_channels * layer.out_channels >= LEAST_CHANNELS
    )


def _add(image: Float[Tensor, "B K H W"], bias: Tensor | None) -> Float[Tensor, "B K H W"]:
    return image if bias is None else image + bias.to(image.dtype).view(-1, 1, 1)


class _Deconvolve(torch.autograd.Function):
    """A deconvolution but for two things: few channels by phases, the bias's gradient by torch.

    oneDNN sums that gradient slowly: in bf16 it may cost more than those of weight and image.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, sizes: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.sizes = sizes
        doubling = ((2, 2), (1, 1), (1, 1), True, (0, 0), 1)
        if sizes == doubling and weight.shape[2:] == (4, 4) and len(bias) <= MOST_PHASED:
            return _by_phases(x, weight, bias)
        return torch.convolution(x, weight, bias, *sizes)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        asked = [*ctx.needs_input_grad[:2], False]
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, *ctx.sizes, asked
        )
        return of_x, of_weight, gradient.sum((0, 2, 3)), None


def _by_phases(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "C K 4 4"], bias: Float[Tensor, " K"]
) -> Float[Tensor, "B K H2 W2"]:
    """Return the deconvolution of stride 2 and padding 1.

    Pixels (2i + p, 2j + q) are a 2 x 2 convolution of the taps (3 - p, 1 - p) and (3 - q, 1 - q).
    All four phases (p, q) are the channels of one convolution.
    """
    height, width = x.shape[2:]
    phases = [(p, q) for p in (0, 1) for q in (0, 1)]
    taps = [weight[:, :, [3 - p, 1 - p]][..., [3 - q, 1 - q]] for p, q in phases]
    every = nn.functional.conv2d(x, torch.cat(taps, 1).transpose(0, 1), bias.repeat(4), padding=1)
    out = every.new_empty(len(x), len(bias), 2 * height, 2 * width)
    if every.is_contiguous(memory_format=torch.channels_last):
        out = out.contiguous(memory_format=torch.channels_last)
    for (p, q), phase in zip(phases, every.chunk(4, 1), strict=True):
        out[..., p::2, q::2] = phase[..., p : p + height, q : q + width]
    return out
