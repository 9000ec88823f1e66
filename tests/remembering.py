"""A small untrained model with a memory of which every term of time counts, and a desk for it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from smvae_core.estimate_calibration import EstimateCalibration
from smvae_core.fusion.collector import Collector
from smvae_core.fusion.rules import FusionRule
from smvae_core.fusion.source import Source
from smvae_core.kinds import Converter
from smvae_core.model.config import MemoryConfig, ModelConfig
from smvae_core.model.export import export_bundle
from smvae_core.model.smvae import SMVAE
from smvae_core.novelty.scale import Novelty
from smvae_core.perceiver import Perceived, Perceiver
from smvae_core.preprocessing import measure_statistics, prepare
from smvae_core.presets import vision_touch
from smvae_core.runtime import Runtime
from smvae_core.target import DecodedTarget

MODALITIES = vision_touch(32)
NAMES = tuple(m.name for m in MODALITIES)
AS_IT_IS = Source(converter=Converter("", lambda modality, value, options: value, lambda *_: None))
T0 = 10**15
SPOT = DecodedTarget(name="spot", mean=(0.0, 1.0), deviation=(1.0, 2.0), unit="m")
#: Second moments of the model's latents.
SPREAD = torch.linspace(0.5, 4.0, 8)


def remembering_model(targets: tuple[DecodedTarget, ...] = (), bend: int = 0) -> SMVAE:
    """Return the model; what starts at zero does not, and a second matters."""
    torch.manual_seed(0)
    config = ModelConfig(
        modalities=MODALITIES,
        latent_dim=8,
        embedding_dim=32,
        base_channels=4,
        pooling="evidence",
        memory=MemoryConfig(width=4, bend=bend),
        targets=targets,
    )
    model = SMVAE(config)
    assert model.memory is not None
    with torch.no_grad():
        for parameter in (*model.memory.parameters(), *model.set_encoder.parameters()):
            parameter.add_(0.15 * torch.randn_like(parameter))
        model.memory.log_drift_s.sub_(2.0)
        assert model.set_encoder.evidence is not None
        model.set_encoder.evidence.widen(SPREAD)
    return model.eval()


def remembering_bundle(
    out: Path,
    novelty: Novelty | None = None,
    estimates: EstimateCalibration | None = None,
    bend: int = 0,
) -> Path:
    """Export it; with a calibration its latent tells the target `SPOT`."""
    statistics = {
        m.name: measure_statistics(m, np.stack([prepare(m, m.example_sample(s)) for s in range(4)]))
        for m in MODALITIES
    }
    model = remembering_model((SPOT,) if estimates is not None else (), bend)
    return export_bundle(
        model, statistics, out, name="remembers", novelty=novelty, estimates=estimates
    )


class Desk:
    """A collector that is fed samples as they are, and a perceiver that looks at it."""

    def __init__(self, runtime: Runtime, memory_s: float = 5.0, **rules: FusionRule) -> None:
        self.runtime, self.perceiver = runtime, Perceiver(runtime)
        self.sources = dict.fromkeys(NAMES, AS_IT_IS)
        strict = FusionRule(max_skew_s=0.1, max_age_s=0.15)
        self.collector = Collector(MODALITIES, dict.fromkeys(NAMES, strict) | rules)
        self.configure(memory_s)
        self.now_s, self.epoch = 0.0, 1

    def configure(self, memory_s: float, ahead_s: float = 0.0) -> None:
        self.perceiver.configure(self.sources, memory_s, ahead_s)
        self.collector.set_late(self.runtime.late_s(memory_s))

    def add(self, name: str, ago_s: float = 0.0) -> None:
        """Store one sample, taken some time ago; of a window all its readings."""
        modality = next(m for m in MODALITIES if m.name == name)
        at_s = self.now_s - ago_s
        sample = modality.example_sample(abs(round(at_s * 1000)))
        stamp = T0 + round(at_s * 1e9)
        if not modality.family.is_window:
            self.collector.add(name, stamp, sample, self.now_s)
            return
        for index, reading in enumerate(sample):
            before = len(sample) - 1 - index
            self.collector.add(name, stamp - before * 1_000_000, reading, self.now_s)

    def look(self) -> Perceived | None:
        observation = self.collector.observe(self.now_s + 0.001)  # later than what came
        self.collector.tell(observation)
        return self.perceiver.perceive(
            self.epoch,
            observation,
            lambda name, stamp, *why: self.collector.drop(name, stamp, self.now_s, *why),
            lambda reference_ns: self.collector.observe(self.now_s, reference_ns),
        )

    def see(self, *names: str, after_s: float = 0.05) -> Perceived:
        """Let time pass, store one sample of each, of one moment, and perceive it."""
        self.now_s += after_s
        for name in names:
            self.add(name)
        found = self.look()
        assert found is not None
        return found

    def instant(self, perceived: Perceived) -> Any:
        """Return the posterior of what is fused alone."""
        return self.runtime.posterior(perceived.observation.subset)
