"""Quick layers compute what torch's do: values, gradients, and nothing when not training."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback
from torch import Tensor, nn

from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.frequencies import frequency_bases
from smvae_training.layers import Convolution, Deconvolution, quicken
from tests.training.short_runs import WithSteps, run

#: By name: a layer, and the image that it takes. Three of them are convolved by frequencies.
LAYERS = {
    "conv 8 x 8": (nn.Conv2d(64, 80, 4), (3, 64, 8, 8)),
    "conv 7 x 6": (nn.Conv2d(64, 80, 3, bias=False), (3, 64, 7, 6)),
    "conv, stride 2": (nn.Conv2d(64, 80, 4, 2, 1), (3, 64, 8, 8)),
    "deconv 5 x 5": (nn.ConvTranspose2d(80, 64, 4), (3, 80, 5, 5)),
    "deconv, few channels": (nn.ConvTranspose2d(8, 3, 4, 2, 1), (3, 8, 6, 5)),
    "deconv, many channels": (nn.ConvTranspose2d(8, 12, 4, 2, 1), (3, 8, 6, 5)),
    "deconv, other kernel": (nn.ConvTranspose2d(8, 3, 3, 2, 1, 1), (3, 8, 6, 5)),
}
BY_FREQUENCIES = ("conv 8 x 8", "conv 7 x 6", "deconv 5 x 5")


def numbers(layer: nn.Module, x: Tensor, bf16: bool = False) -> list[Tensor]:
    """Return a layer's output, and the gradients of its image and its parameters."""
    layer.zero_grad()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        y = layer(x)
    weights = torch.linspace(-1.0, 1.0, y.numel(), dtype=x.dtype).reshape(y.shape).sin()
    (y * weights).sum().backward()
    found = [y.detach(), x.grad, *(p.grad for p in layer.parameters())]
    return [each.double() for each in found if each is not None]


def pair(name: str) -> tuple[nn.Module, nn.Module, Tensor]:
    layer, shape = LAYERS[name]
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    quick = copy.deepcopy(layer)
    quicken(quick)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return layer, quick, x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", LAYERS)
def test_values_and_gradients_are_those_of_torch(name: str) -> None:
    layer, quick, x = pair(name)
    assert type(quick) in (Convolution, Deconvolution)
    for a, b in zip(numbers(layer, x), numbers(quick, x), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_in_bf16_they_are_about_as_near_to_the_truth_as_those_of_torch(name: str) -> None:
    layer, quick, x = pair(name)
    truth = numbers(copy.deepcopy(layer).double(), x.double())
    lower, found = numbers(layer, x, bf16=True), numbers(quick, x, bf16=True)
    assert torch.equal(lower[0], found[0]) == (name not in BY_FREQUENCIES)
    for right, a, b in zip(truth, lower, found, strict=True):
        assert (b - right).norm() < 2.5 * (a - right).norm() + 1e-6 * right.norm()
        assert (b - right).norm() < 0.01 * right.norm()


def test_outside_of_training_they_are_those_of_torch() -> None:
    for name in LAYERS:
        layer, quick, x = pair(name)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(layer.eval()(x), quick.eval()(x))
        assert list(quick.state_dict()) == list(layer.state_dict())


@pytest.mark.parametrize("size", [(8, 8), (7, 6), (5, 4)])
def test_a_convolution_is_a_product_in_the_bases_of_frequencies(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, *size, generator=generator, dtype=torch.float64)
    weight = torch.randn(1, 1, 4, 3, generator=generator, dtype=torch.float64)
    small, taps, large = (basis.double() for basis in frequency_bases(*size, 4, 3))
    found = ((large @ x.flatten()) * (taps @ weight.flatten())) @ small
    torch.testing.assert_close(found, nn.functional.conv2d(x, weight).flatten(), rtol=0, atol=1e-5)


def test_small_maps_of_the_image_networks_take_94_products_in_place_of_400() -> None:
    assert [tuple(b.shape) for b in frequency_bases(8, 8, 4, 4)] == [(94, 25), (94, 16), (94, 64)]


def test_a_training_on_a_cpu_has_quick_layers(
    episodes: PreparedEpisodes, with_steps: WithSteps, tmp_path: Path
) -> None:
    kinds: set[type] = set()

    class Look(Callback):
        def on_train_start(self, trainer: Any, module: Any) -> None:
            kinds.update(type(layer) for layer in module.model.modules())

    run(with_steps(1), episodes, tmp_path / "run", callbacks=[Look()])
    assert {Convolution, Deconvolution} <= kinds
    assert not {nn.Conv2d, nn.ConvTranspose2d} & kinds
