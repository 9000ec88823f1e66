"""Contenders on onnxruntime: our runtime, and one graph of all modalities; without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runtime_speed.operations import Operation, subset_labels, timed
from benchmarks.turns.serve import memory_mb
from smvae_core.bundle import Bundle
from smvae_core.modality import Modality
from smvae_core.preprocessing import normalise, prepare
from smvae_core.runtime import Runtime


class OurRuntime:
    """A bundle by our runtime, one thread."""

    def __init__(self, bundle: str) -> None:
        before = memory_mb("VmRSS")
        self.runtime = Runtime(bundle)
        self.runtime.warm_up()
        self.samples = {
            m.name: prepare(m, m.example_sample(seed=1)) for m in self.runtime.modalities
        }
        names = self.runtime.manifest.names
        latent = np.zeros(self.runtime.manifest.latent_dim, np.float32)
        self.operations: dict[str, Operation] = {}
        for name in names:
            self.operations[f"embed/{name}"] = partial(self._observe, (name,))
            self.operations[f"decode/{name}"] = partial(self.runtime.decode, name, latent)
        for subset, label in subset_labels(names).items():
            self.operations[label] = partial(self._update, subset, subset)
        self._observe(names)
        self.operations["pool"] = partial(self.runtime.posterior, names)
        self.operations["newest force, the rest as before"] = partial(
            self._update, ("force",), names
        )
        self.about = {
            "version": self.runtime.version,
            "loaded_mb": memory_mb("VmRSS") - before,
            "bytes": sum(g.bytes for g in self.runtime.manifest.graphs.values()),
        }

    def _observe(self, names: tuple[str, ...]) -> None:
        for name in names:
            self.runtime.observe(name, self.samples[name], prepared=True)

    def _update(self, new: tuple[str, ...], subset: tuple[str, ...]) -> None:
        self._observe(new)
        self.runtime.posterior(subset)

    def turn(self) -> dict[str, Any]:
        self._observe(self.runtime.manifest.names)
        return timed(self.operations)


class BoundGraph:
    """One graph of all modalities and the set encoder, buffers bound once; one thread."""

    def __init__(self, graph: Path, modalities: Sequence[Modality], latent_dim: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(graph), options, ["CPUExecutionProvider"])
        self.inputs = {m.name: np.zeros((1, *m.shape), np.float32) for m in modalities}
        self.present = np.ones((1, len(modalities)), np.bool_)
        self.outputs = [np.zeros((1, latent_dim), np.float32) for _ in range(2)]
        self._binding = self._session.io_binding()
        for name, values in {**self.inputs, "present": self.present}.items():
            self._binding.bind_cpu_input(name, values)
        for name, values in zip(("mean", "log_var"), self.outputs, strict=True):
            self._binding.bind_output(name, "cpu", 0, np.float32, values.shape, values.ctypes.data)

    def run(self) -> None:
        """Run on what `inputs` and `present` hold, into `outputs`."""
        self._session.run_with_iobinding(self._binding)


class FusedGraph:
    """All modalities and the set encoder in one graph; one thread."""

    def __init__(self, graph: str, bundle: str) -> None:
        import onnxruntime

        before = memory_mb("VmRSS")
        self.manifest = Bundle.load(bundle).manifest
        modalities = self.manifest.modalities
        self.graph = BoundGraph(Path(graph), modalities, self.manifest.latent_dim)
        self.samples = {m.name: prepare(m, m.example_sample(seed=1)) for m in modalities}
        names = self.manifest.names
        self.operations: dict[str, Operation] = {
            label: partial(self._update, subset, subset)
            for subset, label in subset_labels(names).items()
        }
        self.operations["newest force, the rest as before"] = partial(
            self._update, ("force",), names
        )
        self.about = {
            "version": f"onnxruntime {onnxruntime.__version__}",
            "loaded_mb": memory_mb("VmRSS") - before,
            "bytes": Path(graph).stat().st_size,
        }

    def _update(self, new: tuple[str, ...], subset: tuple[str, ...]) -> None:
        """Fill in what is new, and run everything: a graph has no embeddings of before."""
        for modality in self.manifest.modalities:
            if modality.name in new:
                statistics = self.manifest.statistics[modality.name]
                sample = normalise(modality, statistics, self.samples[modality.name])
                self.graph.inputs[modality.name][0] = sample
        self.graph.present[0] = [m.name in subset for m in self.manifest.modalities]
        self.graph.run()

    def turn(self) -> dict[str, Any]:
        return timed(self.operations)


class ColdStart:
    """A turn is a new process that loads a model; `code` prints phases as JSON."""

    def __init__(self, code: str, arguments: list[str]) -> None:
        self.command = [sys.executable, "-c", code, *arguments]
        self.about: dict[str, Any] = {}

    def turn(self) -> dict[str, Any]:
        said = subprocess.run(
            self.command, capture_output=True, check=True, text=True, env={**os.environ}
        )
        return dict(json.loads(said.stdout.splitlines()[-1]))


def phases(imported_s: float, loaded_s: float) -> str:
    """Return what a cold process prints; times are of `time.perf_counter`, CPU of the process."""
    return json.dumps(
        {"import_s": imported_s, "load_s": loaded_s, "process_s": time.process_time()}
    )
