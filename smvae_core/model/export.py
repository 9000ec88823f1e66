"""Model -> bundle: one ONNX graph per network, checked against torch over all subsets."""

import copy
import math
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import smvae_core
from smvae_core.bundle import READ, RECALL, TARGETS, Manifest, write_bundle
from smvae_core.errors import BundleError
from smvae_core.estimate_calibration import EstimateCalibration
from smvae_core.estimates import bundle_decoder
from smvae_core.modality import Modality, subset_name
from smvae_core.model.distributions import likelihood_mean
from smvae_core.model.memory.export import (
    Recalling,
    contexts,
    filter_parameters,
    memory_inputs,
)
from smvae_core.model.networks import NoisyDecoder
from smvae_core.model.pooling import SetFeature
from smvae_core.model.set_encoder import SetEncoder, marginals
from smvae_core.model.smvae import SMVAE
from smvae_core.model.targets import EveryTarget
from smvae_core.novelty.scale import Novelty
from smvae_core.novelty.suspicion import Suspicion
from smvae_core.preprocessing import Statistics, normalise, prepare
from smvae_core.readout import Readout
from smvae_core.robot import Robot
from smvae_core.runtime import Runtime
from smvae_core.subsets import evaluated_subsets

#: Largest accepted |torch - onnxruntime| / (1 + |torch|), over posteriors and decoders.
PARITY_TOLERANCE = 1e-4


def export_bundle(
    model: SMVAE,
    statistics: Mapping[str, Statistics],
    out: Path | str,
    *,
    name: str = "smvae",
    training: Mapping[str, Any] | None = None,
    novelty: Novelty | None = None,
    readout: Readout | None = None,
    robot: Robot | None = None,
    estimates: EstimateCalibration | None = None,
    suspicion: Suspicion | None = None,
) -> Path:
    """Write the bundle of a model, after checking that onnxruntime gives torch's numbers.

    Args:
        model: Trained model; a copy of it is exported, in evaluation mode and float32.
        statistics: Per modality, from the training data.
        out: Folder of the bundle; an older bundle there is replaced.
        name: Name shown by the node.
        training: Where the weights come from, JSON.
        novelty: Calibrated scale of the novelty score.
        readout: Linear readout of the latent.
        robot: Declaration of the robot whose sensors they are; a node starts by it.
        estimates: Calibration of what the model says of its targets.
        suspicion: Calibrated scales and limits of suspects.

    Raises:
        BundleError: If the graphs differ from torch by more than the tolerance.
        ConfigError: If the robot declares a sensor as something else than the model's, or
            (UnknownModality) not at all.
    """
    out = Path(out)
    if robot is not None:
        robot.require(model.config.modalities)
    model = copy.deepcopy(model).eval().float().cpu()
    manifest = Manifest(
        name=name,
        modalities=model.config.modalities,
        statistics={n: statistics[n] for n in model.names},
        latent_dim=model.config.latent_dim,
        embedding_dim=model.config.embedding_dim,
        graphs={},
        noise_scale=model.noise_scale(),
        decoded_noise=model.decoded_noise(),
        covariance=model.config.covariance,
        version=smvae_core.__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        training=dict(training or {}),
        novelty=novelty,
        robot=robot,
        targets=model.config.targets,
        suspicion=suspicion,
    )
    with tempfile.TemporaryDirectory() as scratch:
        graphs = _write_graphs(model, Path(scratch))
        parameters = filter_parameters(model)
        trial = write_bundle(Path(scratch) / "trial", manifest, graphs, memory=parameters)
        parity = check_parity(model, Runtime(trial))
        if not parity["max_difference"] <= PARITY_TOLERANCE:
            raise BundleError(
                out,
                f"onnxruntime differs from torch by {parity['max_difference']:.1e} (inf: one of "
                f"them is not finite) at {parity['worst']}, more than {PARITY_TOLERANCE:.0e}; "
                "nothing was written",
            )
        write_bundle(
            out,
            replace(manifest, parity=parity),
            graphs,
            readout=readout,
            memory=parameters,
            estimates=estimates,
        )
    return out


def _write_graphs(model: SMVAE, folder: Path) -> dict[str, Path]:
    """Export every network with static batch 1, which is what a robot runs.

    Three graphs take any number instead: with a memory the embedding networks take samples. The
    first part of the set encoder, which reads each modality alone, takes modalities. Its second
    part, which gives posteriors, takes subsets.
    """
    graphs = _sensor_graphs(model, folder) | _set_encoder_graphs(model, folder)
    if model.memory is not None:
        recalling, given = (
            Recalling(model.memory, model.set_encoder),
            memory_inputs(model, model.memory),
        )
        graphs[RECALL] = _export(
            recalling,
            tuple(given.values()),
            folder / "recall.onnx",
            list(given),
            ["mean", "log_var"],
        )
    if model.config.targets:
        graphs[TARGETS] = _export(
            EveryTarget(model.targets),
            (torch.zeros(2, model.config.latent_dim),),
            folder / "targets.onnx",
            ["z"],
            ["mean", "log_var"],
            {name: {0: "latents"} for name in ("z", "mean", "log_var")},
        )
    return graphs


def _sensor_graphs(model: SMVAE, folder: Path) -> dict[str, Path]:
    """Export each sensor's embedding network and decoder."""
    graphs: dict[str, Path] = {}
    config = model.config
    for modality in config.modalities:
        x = torch.zeros(1, *modality.shape)
        z = torch.zeros(1, config.latent_dim)
        embed, decode = f"embed/{modality.name}", f"decode/{modality.name}"
        embedding = model.embeddings[modality.name]
        decoder = _Reconstruction(model.decoders[modality.name], modality)
        together = {name: {0: "samples"} for name in ("x", "e")} if model.memory else None
        graphs[embed] = _export(
            embedding, (x,), folder / f"e{len(graphs)}.onnx", ["x"], ["e"], together
        )
        graphs[decode] = _export(decoder, (z,), folder / f"d{len(graphs)}.onnx", ["z"], ["mean"])
    return graphs


def _set_encoder_graphs(model: SMVAE, folder: Path) -> dict[str, Path]:
    """Export what the set encoder reads of each modality alone, if it does, and the rest of it."""
    graphs: dict[str, Path] = {}
    embeddings = torch.zeros(1, len(model.names), model.config.embedding_dim)
    present = torch.ones(2, len(model.names), dtype=torch.bool)
    reading, inputs = _Reading(model.set_encoder), ["embeddings"]
    read = reading(embeddings)
    if isinstance(model.set_encoder.pool, SetFeature):
        inputs = [f"reading{index}" for index in range(len(_tensors(read)))]
        graphs[READ] = _export(
            reading, (embeddings,), folder / "read.onnx", ["embeddings"], inputs,
            {name: {1: "modalities"} for name in ("embeddings", *inputs)},
        )  # fmt: skip
    graphs["set_encoder"] = _export(
        _Combining(model.set_encoder),
        (read, present),
        folder / "set_encoder.onnx",
        [*inputs, "present"],
        ["mean", "log_var"],
        {name: {0: "subsets"} for name in ("present", "mean", "log_var")},
    )
    return graphs


class _Reading(nn.Module):
    """What the set encoder reads of each modality by itself, (1, N, D) of any N."""

    def __init__(self, set_encoder: SetEncoder) -> None:
        super().__init__()
        self.set_encoder = set_encoder

    def forward(self, embeddings: Tensor) -> Any:
        return self.set_encoder.read(embeddings, None)


class _Combining(nn.Module):
    """Posteriors of subsets (R, M) of one set from its reading, in tensors (1, M, ...)."""

    def __init__(self, set_encoder: SetEncoder) -> None:
        super().__init__()
        self.set_encoder = set_encoder

    def forward(self, read: Any, present: Tensor) -> tuple[Tensor, Tensor]:
        return marginals(self.set_encoder.combine(read, present))


def _tensors(read: Any) -> list[Tensor]:
    """Return the tensors of a reading, in the order in which the exporter names them."""
    return [t for part in read for t in _tensors(part)] if isinstance(read, tuple) else [read]


class _Reconstruction(nn.Module):
    """A decoder and the mean of its likelihood: what a robot asks for."""

    def __init__(self, decoder: nn.Module, modality: Modality) -> None:
        super().__init__()
        self.decoder = decoder.decoder if isinstance(decoder, NoisyDecoder) else decoder
        self.modality = modality

    def forward(self, z: Tensor) -> Tensor:
        return likelihood_mean(self.modality, self.decoder(z))


def _export(
    module: nn.Module,
    args: tuple[Any, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own future
        torch.onnx.export(
            module,
            args,
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=dynamic,
            dynamo=False,
            opset_version=17,
        )
    return path


@torch.no_grad()
def check_parity(model: SMVAE, runtime: Runtime) -> dict[str, Any]:
    """Return the largest difference between torch and the runtime.

    It is over all subsets and decoders, those of targets too, and random contexts where there is a
    memory.

    Differences are |a - b| / (1 + |a|), so that values far from 0 count relatively. Where torch or
    the runtime gives no finite number they are infinite, even if both give the same.
    """
    samples = {m.name: m.example_sample(seed=1) for m in runtime.modalities}
    batch = {}
    for modality in runtime.modalities:
        prepared = prepare(modality, samples[modality.name])
        x = normalise(modality, runtime.manifest.statistics[modality.name], prepared)
        batch[modality.name] = torch.from_numpy(x)[None]
        runtime.observe(modality.name, samples[modality.name])
    worst, where = 0.0, ""

    def compare(expected: Tensor, got: np.ndarray, label: str) -> None:
        nonlocal worst, where
        a = expected.numpy()
        finite = np.isfinite(a).all() and np.isfinite(got).all()
        difference = float(np.max(np.abs(a - got) / (1.0 + np.abs(a)))) if finite else math.inf
        if difference > worst:
            worst, where = difference, label

    every = EveryTarget(model.targets)
    decode = bundle_decoder(runtime.bundle) if model.config.targets else None
    embeddings = model.embed(batch, torch.ones(1, len(model.names), dtype=torch.bool))
    for subset in evaluated_subsets(model.names):
        present = torch.tensor([[n in subset for n in model.names]])
        posterior = model.posterior(embeddings, present)
        got = runtime.posterior(subset)
        compare(posterior.mean[0], got.mean, f"mean of {subset_name(subset)}")
        compare(posterior.variance[0].log(), got.log_var, f"log_var of {subset_name(subset)}")
        for name, output in model.reconstruct(posterior.mean).items():
            raw = runtime.decode(name, posterior.mean[0].numpy())
            compare(output[0], raw, f"{name} from {subset_name(subset)}")
        if decode is not None:
            expected, found = every(posterior.mean), decode(posterior.mean.numpy())
            for pair in zip(expected, found, strict=True):
                compare(*pair, f"targets from {subset_name(subset)}")
    if runtime.recall is not None:
        for label, *pairs in contexts(model, runtime.recall, embeddings):
            for name, pair in zip(("mean", "log_var"), pairs, strict=True):
                compare(*pair, f"{name} of {label}")
    return {"max_difference": worst, "worst": where, "tolerance": PARITY_TOLERANCE}
