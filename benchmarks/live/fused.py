"""The graph to compare with: every modality and the set encoder in one, run for each message.

    python -m benchmarks.live.fused GRAPH BUNDLE

Plain rclpy. Each message is converted as the node does it, and written where the graph reads it,
with buffers bound once; then all of the graph runs, and a LatentState is published on
/fused/MODALITY. No rules of who belongs to a moment, no novelty, no diagnostics. Obeys 'on' and
'off' as the echo does.
"""

from __future__ import annotations

import sys
from array import array
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from smvae_msgs.msg import LatentState

from benchmarks.live.echo import Obedient, serve
from benchmarks.reliability.sensors import CLASSES, TOPICS
from benchmarks.runtime_speed.onnx_players import BoundGraph
from smvae_core.bundle import Bundle
from smvae_core.errors import SampleError
from smvae_core.messages import ConversionOptions, stamp_ns
from smvae_core.modality import Modality
from smvae_core.preprocessing import normalise, prepare


class Fused(Obedient):
    """Answers every message with a latent of the newest sample of each sensor."""

    def __init__(self, node: Any, graph: Path, bundle: Bundle) -> None:
        modalities = bundle.manifest.modalities
        self._graph = BoundGraph(graph, modalities, bundle.manifest.latent_dim)
        self._graph.present[:] = False
        self._statistics = bundle.manifest.statistics
        self._index = {m.name: i for i, m in enumerate(modalities)}
        self._readings: deque[tuple[int, Any]] = deque(maxlen=64)
        publish = {
            m.name: node.create_publisher(LatentState, f"/fused/{m.name}", 10) for m in modalities
        }
        heard = [
            (CLASSES[m.name], TOPICS[m.name], self._answer(m, publish[m.name])) for m in modalities
        ]
        super().__init__(node, heard)

    def _answer(self, modality: Modality, publisher: Any) -> Any:
        convert, options = modality.converter().to_array, ConversionOptions()
        is_window = modality.family.is_window

        def send(message: Any) -> None:
            sample = convert(modality, message, options)
            if is_window:
                self._readings.append((stamp_ns(message), sample))
                stamps = np.array([s for s, _ in self._readings], np.int64)
                try:
                    values = [r for _, r in self._readings]
                    sample = modality.family.assemble(modality, stamps, values, 3)
                except SampleError:  # the first ones make no window yet
                    return
            ready = normalise(modality, self._statistics[modality.name], prepare(modality, sample))
            self._graph.inputs[modality.name][0] = ready
            self._graph.present[0, self._index[modality.name]] = True
            self._graph.run()
            mean, log_var = self._graph.outputs
            answer = LatentState(
                valid=True,
                mean=array("f", mean.tobytes()),
                variance=array("f", np.exp(log_var).tobytes()),
            )
            answer.header = message.header
            publisher.publish(answer)

        return send


def main() -> int:
    """Answer until standard input ends."""
    graph, bundle = Path(sys.argv[1]), Bundle.load(sys.argv[2])
    rclpy.init()
    node = rclpy.create_node("fused")
    return serve(node, Fused(node, graph, bundle))


if __name__ == "__main__":
    sys.exit(main())
