"""An image-set run and its data -> results.json and report.html.

N items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from smvae_core.subsets import evaluated_subsets
from smvae_datasets.dataset import Dataset
from smvae_training.evaluate.images.errors import subset_errors
from smvae_training.evaluate.images.items import Items, read_items
from smvae_training.evaluate.images.settings import ImageEvaluateConfig
from smvae_training.evaluate.likelihood.calibration import Calibration, CalibrationConfig, calibrate
from smvae_training.evaluate.likelihood.checks import sanity_checks, subset_checks
from smvae_training.evaluate.likelihood.coherence import (
    ClassifierConfig,
    measure_coherence,
    train_classifier,
)
from smvae_training.evaluate.likelihood.entropy import posterior_entropies
from smvae_training.evaluate.likelihood.estimate import EstimateConfig, estimate
from smvae_training.evaluate.likelihood.method import Method, SMVAEMethod
from smvae_training.evaluate.likelihood.sampling import SamplingConfig
from smvae_training.evaluate.likelihood.subsets import SubsetConfig, subset_likelihoods
from smvae_training.evaluate.measures import in_levels, is_described_image, is_exclusive
from smvae_training.evaluate.progress import Stages, Watched
from smvae_training.evaluate.records import spread
from smvae_training.evaluate.results import REPORT, RESULTS, about_run, write_json
from smvae_training.run import Run, RunPaths

T = TypeVar("T")

#: Side and channels of what the classifier reads.
CLASSIFIED = (1, 28, 28)
LEVELS = "levels between 0 and 1"
#: Training images whose mean is the baseline of errors.
MEAN_RECORDS = 5000


def evaluate_image_run(
    run: Run,
    records: Dataset,
    out: Path | None = None,
    config: ImageEvaluateConfig | None = None,
) -> dict[str, Any]:
    """Score a run on its held-out images; write results.json and a self-contained report.html.

    An image with a label or attributes gets likelihoods, accuracy and coherence; other sets of
    modalities get the likelihoods and errors of subsets.

    Args:
        run: A run whose data are no episodes.
        records: What it was trained on; the run's own split decides who is held out.
        out: Where to write; `run/evaluation` by default.
        config: How much is scored.

    Returns:
        What results.json holds.

    Raises:
        RunError: If these are other data.
        SanityError: If likelihoods contradict each other.
    """
    from smvae_training.evaluate.images.sections import write_report

    evaluation = ImageEvaluation(run, records, config or ImageEvaluateConfig())
    results = evaluation.results()
    folder = out or RunPaths(run.path).evaluation
    folder.mkdir(parents=True, exist_ok=True)
    with evaluation.stages.stage("pictures"):
        write_report(folder / REPORT, evaluation, results)
    write_json(folder / RESULTS, results)
    return results


class ImageEvaluation:
    """All scores of one run on one image set."""

    def __init__(self, run: Run, records: Dataset, config: ImageEvaluateConfig) -> None:
        """Choose the items."""
        self.run, self.records, self.config = run, records, config
        self.modalities = run.model_config.modalities
        self.names = run.model.names
        self.stages = Stages()
        self.split = run.split(records)
        self.items = self._read(config.likelihood_items(self.modalities))
        self.quick = self._read(config.many_items(self.modalities))
        self.calibration: Calibration | None = None
        self.on_gpu = torch.cuda.is_available()
        self.device = "cuda" if self.on_gpu else "cpu"

    def _read(self, count: int) -> Items:
        index = spread(self.split.held_out, count)
        return read_items(self.modalities, self.run.statistics, self.records, index)

    @property
    def is_described_image(self) -> bool:
        """Whether an image and its label or attributes are scored, rather than subsets."""
        return is_described_image(self.modalities)

    def results(self) -> dict[str, Any]:
        """Return everything that results.json holds; the model ends on the CPU again.

        Raises:
            SanityError: If likelihoods contradict each other.
        """
        self.method = SMVAEMethod(self.run.model.to(self.device))
        try:
            scores = self._described() if self.is_described_image else self._subsets()
            scores["entropy"] = self._entropy()
        finally:
            self.run.model.cpu()
        return {
            **about_run(self.run),
            "data": self._data(),
            "settings": asdict(self.config),
            **scores,
            "checks_passed": all(c["passed"] for c in scores["checks"]),
            "seconds": self.stages.seconds | {"total": sum(self.stages.seconds.values())},
        }

    def _watch(
        self,
        stage: str,
        latents: int,
        measure: Callable[[Method], T],
        counts: Literal["decoded", "encoded"] = "decoded",
    ) -> T:
        """Measure the method, showing how many of so many latents are done."""
        with self.stages.stage(stage, latents) as advance:
            return measure(Watched(self.method, advance, counts))

    def _data(self) -> dict[str, Any]:
        settings, records = self.run.config.data, self.records
        origin = getattr(records, "origin", "")
        return {
            "name": getattr(records, "name", settings.source),
            **({"origin": origin} if origin else {}),
            "published_files": getattr(records, "published", None),
            "pixels": "binarised" if settings.binarised else LEVELS,
            "fingerprint": self.run.record.data_fingerprint,
            "records": len(records),
            "train_records": len(self.split.train),
            "validation_records": len(self.split.validation),
            "held_out_records": len(self.split.held_out),
            "leaks": self.split.leaks,
            "likelihood_items": len(self.items),
            "quick_items": len(self.quick),
        }

    def _described(self) -> dict[str, Any]:
        """Return likelihoods, checks, accuracy and coherence of an image and what describes it."""
        config, count = self.config, len(self.items)
        chosen = EstimateConfig(
            samples=config.samples,
            prior_samples=config.prior_samples,
            seed=config.seed,
            chunk=self._chunk(2000),
        )
        found = self._watch(
            "likelihoods",
            2 * count * config.samples + config.prior_samples,
            lambda method: estimate(method, self.items.inputs, chosen, device=self.device),
        )
        return {
            "likelihoods": found.to_json() | {"ceiling": self._ceiling()},
            "checks": sanity_checks(found, require=True),
            "calibration": self._calibration(),
            "coherence": self._coherence(),
        }

    def _ceiling(self) -> dict[str, float]:
        """Return the mean log p(image) that perfect pixels would have; 0 of binarised ones.

        sum x log x + (1 - x) log(1 - x), which no Bernoulli likelihood of levels x can exceed.
        """
        x = self.items.inputs[self.names[0]].double()
        best = (torch.xlogy(x, x) + torch.xlogy(1.0 - x, 1.0 - x)).flatten(1).sum(1)
        return {"mean": float(best.mean())}

    def _calibration(self) -> dict[str, Any]:
        config = CalibrationConfig(
            samples=self.config.label_samples, seed=self.config.seed, chunk=self._chunk(2000)
        )
        self.calibration = self._watch(
            "labels",
            len(self.quick) * config.samples,
            lambda method: calibrate(method, self.quick.inputs, config, device=self.device),
        )
        return self.calibration.to_json()

    def _coherence(self) -> dict[str, Any]:
        image, label = self.modalities
        if image.shape != CLASSIFIED or not is_exclusive(label):
            return {"missing": "needs 28 x 28 grey images with a label for its classifier"}
        parts = self.split
        unseen = parts.validation if len(parts.validation) else parts.held_out

        def pairs(index: np.ndarray) -> tuple[Tensor, Tensor]:
            read = read_items(self.modalities, self.run.statistics, self.records, index)
            return read.inputs[image.name], read.inputs[label.name].argmax(1)

        with self.stages.stage("classifier"):
            classifier = train_classifier(
                *pairs(parts.train),
                *pairs(unseen),
                ClassifierConfig(epochs=self.config.classifier_epochs, seed=self.config.seed),
                device=self.device,
            )
        with self.stages.stage("coherence"):
            found = measure_coherence(
                self.method,
                classifier,
                samples=self.config.coherence_samples,
                seed=self.config.seed,
                chunk=self._chunk(2000),
                device=self.device,
            )
        judged = "validation" if len(parts.validation) else "held-out"
        return found.to_json() | {"classifier_tested_on": f"{len(unseen)} {judged} images"}

    def _subsets(self) -> dict[str, Any]:
        """Return likelihoods and errors of the chosen subsets of more than two modalities."""
        config = self.config
        subsets = config.chosen_subsets(self.names)
        chosen = SubsetConfig(
            samples=config.subset_samples, items=None, seed=config.seed, chunk=self._chunk(128)
        )
        found = self._watch(
            "likelihoods",
            len(self.items) * len(subsets) * chosen.samples,
            lambda method: subset_likelihoods(
                method, self.items.inputs, chosen, subsets=subsets, device=self.device
            ),
        )
        train = spread(self.split.train, MEAN_RECORDS)
        means = {
            m.name: self.records.arrays[m.name][train].mean(axis=0, dtype=np.float64) / 255.0
            for m in self.modalities
            if in_levels(m)
        }
        errors = self._watch(
            "errors",
            len(self.quick) * len(subsets),
            lambda method: subset_errors(method, self.quick, subsets, means, self.device),
            "encoded",
        )
        return {
            "likelihoods": found.to_json(),
            "checks": subset_checks(found, self.modalities, require=True),
            "errors": errors,
        }

    def _entropy(self) -> dict[str, Any]:
        config = SamplingConfig(seed=self.config.seed)
        found = self._watch(
            "entropies",
            len(self.quick) * len(evaluated_subsets(self.names)),
            lambda method: posterior_entropies(
                method, self.quick.inputs, config, device=self.device
            ),
            "encoded",
        )
        return found.to_json()

    def _chunk(self, on_cpu: int) -> int:
        """Return how many latents are decoded at once."""
        return 50 * on_cpu if self.on_gpu else on_cpu
