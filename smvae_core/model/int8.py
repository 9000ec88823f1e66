"""Linear layers of image embedding networks in 8 bits, for CPUs that multiply bytes.

Weights become int8, one scale for each output; what is multiplied with them is made uint8 by the
range that each sample has, so nothing is calibrated. Inputs and outputs of the graph stay float32,
and a runtime needs to know nothing of it. Why not convolutions too, or other networks:
docs/decisions/precision.md.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smvae_core.bundle import Bundle, Manifest


def eight_bit_roles(manifest: Manifest) -> dict[str, str]:
    """Return the roles of the graphs that gain, by modality."""
    return {m.name: f"embed/{m.name}" for m in manifest.modalities if m.is_image}


def eight_bit_graphs(bundle: Bundle) -> dict[str, bytes]:
    """Return the graphs of a bundle's image embedding networks with linear layers in 8 bits."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    found: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as scratch, without_advice():
        source, out = Path(scratch) / "source.onnx", Path(scratch) / "out.onnx"
        for role in eight_bit_roles(bundle.manifest).values():
            source.write_bytes(bundle.read_graph(role))
            quantize_dynamic(
                source,
                out,
                op_types_to_quantize=["Gemm", "MatMul"],
                per_channel=True,
                weight_type=QuantType.QInt8,
            )
            found[role] = out.read_bytes()
    return found


@contextmanager
def without_advice() -> Iterator[None]:
    """Keep what onnxruntime's quantiser says to its users on the root logger out of ours."""
    before = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.root.setLevel(before)
