"""The same model in other forms: one fused graph, 8 bits in part and everywhere, half precision."""

from __future__ import annotations

import copy
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from smvae_core.bundle import Bundle, with_graphs
from smvae_core.model.int8 import eight_bit_graphs, eight_bit_roles, without_advice
from smvae_core.model.set_encoder import marginals
from smvae_core.model.smvae import SMVAE
from smvae_core.preprocessing import normalise
from smvae_datasets.dataset import Dataset, holding
from smvae_training.run import Run

#: Training records that ranges of activations are taken from.
CALIBRATION = 256


class _Fused(nn.Module):
    """Every embedding network and the set encoder; absent modalities are embedded too."""

    def __init__(self, model: SMVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, *given: Tensor) -> tuple[Tensor, Tensor]:
        model, present = self.model, given[-1]
        found = [model.embeddings[n](x) for n, x in zip(model.names, given, strict=False)]
        encoder = model.set_encoder
        return marginals(encoder.combine(encoder.read(torch.stack(found, dim=1), None), present))


def write_fused(model: SMVAE, path: Path) -> Path:
    """Write one graph of all modalities (1, *shape) and `present` (1, M) -> mean, log variance."""
    model = copy.deepcopy(model).eval().float()
    given = [torch.zeros(1, *m.shape) for m in model.config.modalities]
    present = torch.ones(1, len(model.names), dtype=torch.bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own future
        torch.onnx.export(
            _Fused(model),
            (*given, present),
            str(path),
            input_names=[*model.names, "present"],
            output_names=["mean", "log_var"],
            dynamo=False,
            opset_version=17,
        )
    return path


def write_int8(bundle: Bundle, out: Path) -> Bundle:
    """Write a bundle as `smvae export --int8` does, whatever it changes."""
    return with_graphs(bundle, out, eight_bit_graphs(bundle), {})


class _Samples:
    """Gives onnxruntime's calibration one sample at a time."""

    def __init__(self, inputs: list[NDArray[np.float32]]) -> None:
        self._left = iter(inputs)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        x = next(self._left, None)
        return None if x is None else {"x": x[None]}


def write_int8_everywhere(bundle: Bundle, run: Run, data: Dataset, out: Path) -> Bundle:
    """Write a bundle whose image embedding networks compute all layers in 8 bits.

    Ranges of activations are taken from training records.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    train, graphs = run.split(data).train, {}
    with tempfile.TemporaryDirectory() as scratch, without_advice():
        source, ready, quantised = (Path(scratch) / f"{n}.onnx" for n in "abc")
        for name, role in eight_bit_roles(bundle.manifest).items():
            modality = next(m for m in data.sensors if m.name == name)
            held = holding(data, train, [name])
            rows = held[np.linspace(0, len(held) - 1, CALIBRATION).astype(np.int64)]
            prepared = data.arrays[name][rows]
            inputs = [normalise(modality, run.statistics[name], x) for x in prepared]
            source.write_bytes(bundle.read_graph(role))
            quant_pre_process(source, ready, skip_symbolic_shape=True)
            quantize_static(
                ready,
                quantised,
                _Samples(inputs),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            graphs[role] = quantised.read_bytes()
    return with_graphs(bundle, out, graphs, {})


def write_fp16(bundle: Bundle, out: Path) -> Bundle:
    """Write a bundle whose graphs compute in half precision; inputs and outputs stay float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    graphs: dict[str, bytes] = {}
    for role in bundle.manifest.graphs:
        model = onnx.load_from_string(bundle.read_graph(role))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weights that half precision takes for 0
            half = convert_float_to_float16(model, keep_io_types=True)
        graphs[role] = half.SerializeToString()
    return with_graphs(bundle, out, graphs, {})
