"""Contenders in torch: the model as it was trained, eager and compiled; one thread."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.runtime_speed.operations import Operation, subset_labels, timed
from benchmarks.turns.serve import memory_mb
from smvae_core.preprocessing import normalise, prepare
from smvae_training.run import load_run


class TorchModel:
    """A run's model; every part by itself, compiled where `compiled`."""

    def __init__(self, run: str, compiled: bool) -> None:
        torch.set_num_threads(1)
        before = memory_mb("VmRSS")
        loaded = load_run(Path(run))
        self.model, self.statistics = loaded.model.eval(), loaded.statistics
        self.modalities = self.model.config.modalities
        self.samples = {m.name: prepare(m, m.example_sample(seed=1)) for m in self.modalities}
        self.about: dict[str, Any] = {
            "version": f"torch {torch.__version__}",
            "loaded_mb": memory_mb("VmRSS") - before,
            "bytes": (Path(run) / "weights.safetensors").stat().st_size,
        }
        wrap = torch.compile if compiled else lambda function: function
        self.embed_one = {name: wrap(net) for name, net in self.model.embeddings.items()}
        self.decode_one = {
            name: wrap(partial(self.model.reconstruct, names=[name])) for name in self.model.names
        }
        self.pool = wrap(self.model.posterior)
        began = time.perf_counter()
        self.operations = self._operations()
        for operation in self.operations.values():
            with torch.inference_mode():
                operation()
        self.about["compile_s" if compiled else "first_runs_s"] = time.perf_counter() - began

    def _operations(self) -> dict[str, Operation]:
        names = self.model.names
        zeros = torch.zeros(1, self.model.config.embedding_dim)
        latent = torch.zeros(1, self.model.config.latent_dim)
        kept = {name: self._embed(name) for name in names}
        present = {
            subset: torch.tensor([[n in subset for n in names]]) for subset in subset_labels(names)
        }

        def update(new: tuple[str, ...], subset: tuple[str, ...], before: dict[str, Tensor]) -> Any:
            found = {**before, **{name: self._embed(name) for name in new}}
            stacked = torch.stack([found.get(name, zeros) for name in names], dim=1)
            return self.pool(stacked, present[subset])

        found: dict[str, Operation] = {}
        for name in names:
            found[f"embed/{name}"] = partial(self._embed, name)
            found[f"decode/{name}"] = partial(self.decode_one[name], latent)
        for subset, label in subset_labels(names).items():
            found[label] = partial(update, subset, subset, {})
        found["pool"] = partial(update, (), names, kept)
        found["newest force, the rest as before"] = partial(update, ("force",), names, kept)
        return found

    def _embed(self, name: str) -> Tensor:
        modality = next(m for m in self.modalities if m.name == name)
        x = normalise(modality, self.statistics[name], self.samples[name])
        with torch.inference_mode():
            return self.embed_one[name](torch.from_numpy(x)[None])

    def turn(self) -> dict[str, Any]:
        with torch.inference_mode():
            return timed(self.operations)
