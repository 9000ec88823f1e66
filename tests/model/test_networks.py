"""Shapes of Tables 8 and 9, all image sides, and causality of the force network."""

from __future__ import annotations

import pytest
import torch

from smvae_core.errors import ConfigError
from smvae_core.modality import all_subsets
from smvae_core.model import SMVAE, ModelConfig
from smvae_core.model.networks.attributes import RowNorm
from smvae_core.model.networks.image import ImageEmbedding
from smvae_core.model.networks.signal import CausalConv1d, SignalEmbedding
from smvae_core.presets import CELEBA, VISION_TOUCH, vision_touch
from tests.model.conftest import example_batch, presence, small_config


def test_the_robot_model_has_the_papers_feature_sizes():
    config = ModelConfig()
    rgb, _, force, _ = VISION_TOUCH
    image = torch.nn.Sequential(*list(ImageEmbedding(rgb, config))[:-3])
    assert image(torch.zeros(2, *rgb.shape)).shape == (2, 256, 5, 5)
    causal = torch.nn.Sequential(*list(SignalEmbedding(force, config))[:-2])
    assert causal(torch.zeros(2, *force.shape)).shape == (2, 128, 2)


@pytest.mark.parametrize("side", [32, 64, 128])
@pytest.mark.parametrize("subset", all_subsets(("rgb", "force", "action")), ids="+".join)
def test_every_subset_and_side_gives_every_modality(side: int, subset: tuple[str, ...]):
    torch.manual_seed(0)
    model = SMVAE(small_config(modalities=vision_touch(side))).eval()
    posterior = model.encode(example_batch(model, 2), presence(model, 2, *subset))
    assert posterior.mean.shape == posterior.log_var.shape == (2, 8)
    for modality in model.config.modalities:
        output = model.decode(posterior.mean, [modality.name])[modality.name]
        assert output.shape == (2, *modality.shape)
        assert torch.isfinite(output).all()


def test_causal_convolution_reads_no_future_and_every_reading():
    conv = CausalConv1d(1, 1)
    x = torch.zeros(1, 1, 32, requires_grad=True)
    for t, out in enumerate(conv(x)[0, 0]):
        (grad,) = torch.autograd.grad(out, x, retain_graph=True)
        assert set(grad[0, 0].nonzero().flatten().tolist()) == {2 * t, 2 * t + 1}


def test_decoder_outputs_are_linear_so_that_black_can_be_drawn():
    model = SMVAE(small_config())
    for decoder in model.decoders.values():
        assert not isinstance(list(decoder)[-1], torch.nn.SiLU | torch.nn.Sigmoid)


def test_one_batch_can_be_overfitted():
    """The model can learn at all: mean squared error of the mean image falls tenfold."""
    torch.manual_seed(0)
    from smvae_core.model import ObjectiveConfig, elbo

    model = SMVAE(small_config(latent_dim=16, embedding_dim=64, base_channels=8))
    batch, full = example_batch(model, 4), presence(model, 4, *model.names)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        elbo(model, batch, full, full, 0.0, ObjectiveConfig()).loss.backward()
        optimiser.step()
    z = model.encode(batch, full).mean
    error = (model.decode(z, ["action"])["action"] - batch["action"]).square().mean()
    assert error < 0.1 * batch["action"].var()
    rgb_error = (model.decode(z, ["rgb"])["rgb"] - batch["rgb"]).square().mean()
    assert rgb_error < 0.75 * batch["rgb"].var()


def test_config_survives_json():
    config = small_config(scale_by_head=False)
    assert ModelConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 5}, "no multiple of --model.num-heads"),
        ({"latent_dim": 0}, "latent-dim must be at least 1"),
        ({"modalities": ()}, "at least one modality"),
        ({"modalities": (VISION_TOUCH[0],) * 2}, "names must differ"),
        ({"initial_noise": 0.0}, "must be positive"),
        ({"log_precision_limit": -1.0}, "or 0 for no limit"),
        ({"log_precision_limit": float("inf")}, "or 0 for no limit"),
    ],
)
def test_a_model_that_cannot_be_is_refused(changes: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        small_config(**changes)


def test_a_modality_that_one_record_of_a_batch_has_can_be_trained():
    """It is normalised by the running statistics, and leaves them as they are."""
    torch.manual_seed(0)
    model = SMVAE(small_config(modalities=CELEBA)).train()
    (name,) = (m.name for m in CELEBA if not m.is_image)
    batch, present = example_batch(model, 4), presence(model, 4, *model.names)
    for _ in range(3):
        model.encode(batch, present)  # statistics that are not the first ones
    before = {k: v.clone() for k, v in model.embeddings[name].named_buffers()}
    present[1:, model.names.index(name)] = False
    embedded = model.embed(batch, present)[0, model.names.index(name)]
    embedded.sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in model.embeddings[name].named_buffers())
    assert model.embeddings[name][0].weight.grad.abs().sum() > 0
    evaluated = model.eval().embed(batch, present)[0, model.names.index(name)]
    torch.testing.assert_close(embedded, evaluated)


def test_two_rows_and_more_are_plain_batch_normalisation():
    ours, plain = RowNorm(3).train(), torch.nn.BatchNorm1d(3).train()
    assert ours.state_dict().keys() == plain.state_dict().keys()
    for rows in (2, 5):
        x = torch.randn(rows, 3)
        assert torch.equal(ours(x), plain(x))
    assert all(torch.equal(v, plain.state_dict()[k]) for k, v in ours.state_dict().items())
