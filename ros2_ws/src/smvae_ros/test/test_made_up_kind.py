"""A kind that only this file knows: registered, trained, exported, loaded, run over DDS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process_node import InProcess
from node_harness import Client, fused
from numpy.typing import NDArray
from sensor_msgs.msg import RelativeHumidity
from torch import nn

from smvae_core.errors import SampleError
from smvae_core.kinds import Converter, Kind, register, registry
from smvae_core.messages.base import finite, read_fields
from smvae_core.modality import Modality
from smvae_core.model.config import ModelConfig
from smvae_core.model.networks import base as networks
from smvae_core.model.networks import register as register_networks
from smvae_core.parameter import Parameter
from smvae_core.runtime import Runtime
from smvae_datasets.dataset import ArrayDataset
from smvae_training.config import HardwareConfig, LogConfig, OptimizerConfig, TrainConfig
from smvae_training.exporting import export_run
from smvae_training.run import RunPaths
from smvae_training.trainer import train_on

pytestmark = pytest.mark.dds


class Smell(Kind):
    """How humid it smells: one number between 0 and 1."""

    name = "smell"
    raw_sample = "(1,) float32, 0 to 1"
    is_standardised = True
    parameters = (Parameter(name="gain", default=1.0, description="Of the nose.", live=True),)

    def example_sample(self, modality: Modality, rng: np.random.Generator) -> NDArray[Any]:
        return rng.random(1, dtype=np.float32)

    def prepare(self, modality: Modality, sample: NDArray[Any]) -> NDArray[Any]:
        if not 0.0 <= float(sample[0]) <= 1.0:
            raise SampleError(modality.name, "smell", expected="0 to 1", got=sample[0])
        return super().prepare(modality, sample)

    def converters(self, modality: Modality) -> tuple[Converter, ...]:
        return (Converter("sensor_msgs/msg/RelativeHumidity", self.read, self.write),)

    def read(self, modality: Modality, message: Any, options: Any) -> NDArray[np.float32]:
        raw = read_fields(modality, message, modality.fields) * options.own["gain"]
        return finite(modality, raw, modality.fields)

    def write(self, modality: Modality, message: Any, sample: Any, options: Any) -> None:
        message.relative_humidity = float(sample[0])


def embedding(modality: Modality, config: ModelConfig) -> nn.Module:
    return nn.Sequential(nn.Linear(1, config.embedding_dim), nn.SiLU())


def decoder(modality: Modality, config: ModelConfig) -> nn.Module:
    return nn.Linear(config.latent_dim, 1)


@pytest.fixture(scope="module")
def noses() -> Iterator[tuple[Modality, ...]]:
    """Register the kind, and forget it afterwards: other tests count the kinds."""
    register(Smell())
    register_networks("smell", embedding, decoder)
    fields = ("relative_humidity",)
    yield tuple(
        Modality(name=f"nose_{i}", kind="smell", shape=(1,), unit="1", fields=fields)
        for i in range(2)
    )
    del registry._KINDS["smell"], networks._NETWORKS["smell"]


@pytest.fixture(scope="module")
def smelling(noses: tuple[Modality, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of a model trained on two noses that smell the same, but for noise."""
    rng = np.random.default_rng(0)
    truth = rng.random((600, 1), dtype=np.float32)
    arrays = {
        m.name: np.clip(truth + rng.normal(0, 0.03, truth.shape), 0, 1).astype(np.float32)
        for m in noses
    }
    data = ArrayDataset(
        sensors=noses,
        arrays=arrays,
        group=np.repeat(np.arange(6), 100).astype(np.int32),
        group_names=tuple("abcdef"),
    )
    config = TrainConfig(
        model=ModelConfig(modalities=noses, latent_dim=2, embedding_dim=16, pooling="evidence"),
        batch_size=50,
        max_steps=300,
        optimizer=OptimizerConfig(lr=1e-2, warmup=0),
        hardware=HardwareConfig(precision="32", accelerator="cpu"),
        log=LogConfig(tensorboard=False),
    )
    folder = tmp_path_factory.mktemp("smell")
    paths = RunPaths(folder / "run")
    train_on(config, data, paths, None)
    return export_run(paths.root, folder / "bundle", name="nose")


def test_a_made_up_kind_is_trained_exported_and_run_live(
    noses: tuple[Modality, ...], smelling: Path, domain: int
) -> None:
    runtime = Runtime(smelling)
    posterior = runtime.infer({"nose_0": np.array([0.8], np.float32)})
    assert abs(float(runtime.reconstruct("nose_1", posterior.mean)[0]) - 0.8) < 0.15
    gain = {"modalities.nose_0.gain": 2.0}
    with InProcess(domain, bundle=str(smelling), **gain):
        client = Client(domain, ())
        publisher = client.node.create_publisher(RelativeHumidity, "nose_0", 5)
        try:
            client.activate()

            def latent() -> Any:
                message = RelativeHumidity()
                noses[0].converter().fill(noses[0], message, [0.4], client.now_ns(), "", None)
                publisher.publish(message)
                client.spin(0.05)
                return [m for m in client.latents if fused(m) == ("nose_0",)]

            found = client.until(latent)[0]
        finally:
            client.close()
    np.testing.assert_allclose(found.mean, posterior.mean, atol=1e-5)
    assert [s.kind for s in found.modalities] == ["smell", "smell"]
