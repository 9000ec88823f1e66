"""A bag and its bundle -> numbers of every subset, and the checks that the live run must pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.modality import subset_name
from smvae_core.runtime import Runtime
from smvae_core.subsets import evaluated_subsets
from smvae_training.audit.audit import percentiles
from smvae_training.audit.reproduce import TOLERANCE, Checked
from smvae_training.evaluate.live.bag import Latent, LiveRun, read_bag
from smvae_training.evaluate.live.fusion import (
    MARGIN_S,
    NONE,
    FusionCheck,
    check_fusion,
    exceptions,
    settled,
)
from smvae_training.evaluate.live.images import ImageErrors, image_errors
from smvae_training.evaluate.live.replay import reproducer
from smvae_training.evaluate.measures import images

#: What the live run must reach.
FUSED_SHARE, EQUAL_SHARE, IMAGE_MARGIN = 0.99, 0.99, 0.10
#: What it may leave out at most: the sensors of the simulated robot are on or off, never wrong.
LEFT_OUT_SHARE = 0.01
#: Value of LatentState.NO_INPUT.
NO_INPUT = 3
#: At most this many exceptions are listed; their number is always given.
LISTED = 200


@dataclass(kw_only=True)
class LiveEvaluation:
    """All that was found out about a live run."""

    run: LiveRun
    fusion: list[FusionCheck]
    replayed: list[Checked]
    images: dict[str, dict[str, ImageErrors]]
    """subset -> modality -> errors."""

    @property
    def start_ns(self) -> int:
        return self.run.marks[0].done_ns

    def of_window(self, name: str) -> list[FusionCheck]:
        return [c for c in self.fusion if c.window.name == name]

    def of_fused(self, subset: Sequence[str]) -> list[Checked]:
        """Return the replayed latents that fused exactly this subset."""
        wanted = frozenset(subset)
        return [r for r in self.replayed if r.latent.fused == wanted]


def evaluate_live(
    bag: Path, bundle: Path, mean_images: Mapping[str, NDArray[np.float32]] | None = None
) -> LiveEvaluation:
    """Evaluate a recorded live run.

    Args:
        bag: Folder written by the recorder.
        bundle: That the node ran.
        mean_images: Modality -> (1, *shape), the training mean images in SI units.

    Raises:
        LiveRunError: If the bag cannot be evaluated, or another bundle made its latents.
        BundleError: If the bundle cannot be used.
    """
    from smvae_training.evaluate.live.bag import LiveRunError

    runtime = Runtime(bundle)
    run = read_bag(bag, runtime.modalities)
    if run.model and run.model["sha256"] != runtime.bundle.sha256:
        raise LiveRunError(
            bag,
            f"its latents come from bundle {run.model['sha256'][:12]}, "
            f"{bundle} is {runtime.bundle.sha256[:12]}",
        )
    pairs = settled(run)
    replay = reproducer(run, runtime)
    wanted = {(latent.epoch, latent.sequence) for latent, _ in pairs}
    # with a memory each rests on those before it, also on those of a switch
    made = run.latents if runtime.recall is not None else [latent for latent, _ in pairs]
    checked = [replay.check(latent) for latent in made if latent.valid]
    replayed = [c for c in checked if (c.latent.epoch, c.latent.sequence) in wanted]
    means = dict(mean_images or {})
    fusion = check_fusion(run, pairs)
    found = LiveEvaluation(run=run, fusion=fusion, replayed=replayed, images={})
    for subset in evaluated_subsets(run.names):
        found.images[subset_name(subset)] = {
            m.name: image_errors(run, runtime, m, found.of_fused(subset), means)
            for m in images(run.modalities)
        }
    return found


def subset_numbers(found: LiveEvaluation, subset: tuple[str, ...]) -> dict[str, Any]:
    """Return what summary.json says of one subset, live."""
    name = subset_name(subset)
    checks = found.of_window(name)
    replayed = found.of_fused(subset)
    differences = [r.mean_difference for r in replayed if r.complete]
    return {
        "latents": len(checks),
        "fused_equals_published": _share([c.right for c in checks]),
        "exceptions": sum(not c.right for c in checks),
        "stamp_to_received_ms": percentiles(c.latent.stamp_to_received_ms for c in checks),
        "equal_to_offline": _share([r.equal for r in replayed]),
        "largest_difference": float(np.max(differences)) if differences else float("nan"),
        "images": {m: errors.to_json() for m, errors in found.images[name].items()},
    }


def none_numbers(found: LiveEvaluation) -> dict[str, Any]:
    """Return what summary.json says of the time when every sensor was off."""
    latents = [c.latent for c in found.of_window(NONE)]
    stamps = [latent.stamp_ns for latent in latents]
    span_s = (max(stamps) - min(stamps)) * 1e-9 if len(stamps) > 1 else 0.0
    return {
        "messages": len(latents),
        "rate_hz": (len(latents) - 1) / span_s if span_s else float("nan"),
        "valid": sum(latent.valid for latent in latents),
        "no_input": sum(latent.status == NO_INPUT for latent in latents),
        "empty_mean": sum(latent.mean.size == 0 for latent in latents),
    }


def _share(right: Sequence[bool]) -> float:
    return float(np.mean(right)) if right else float("nan")


def numbers(found: LiveEvaluation) -> dict[str, Any]:
    """Return the live part of summary.json."""
    run = found.run
    valid = (c.latent for c in found.fusion if c.latent.valid)
    unequal = [r for r in found.replayed if not r.equal]
    return {
        "bag": {"path": str(run.path), "messages": run.counts, "lost": run.recorder.get("lost")},
        "model": run.model,
        "seconds": (run.marks[-1].done_ns - found.start_ns) * 1e-9,
        "margin_s": MARGIN_S,
        "latents_received": len(run.latents),
        "latents_away_from_switches": len(found.fusion),
        "epochs": sorted({latent.epoch for latent in run.latents}),
        "missing_sequence_numbers": missing_sequences(run.latents),
        "fused_equals_published": _share([c.right for c in found.fusion]),
        "left_out": _left_out(found.fusion),
        "exceptions": exceptions(found.fusion, found.start_ns)[:LISTED],
        "exception_causes": _causes(found.fusion),
        "stamp_to_received_ms": percentiles(v.stamp_to_received_ms for v in valid),
        "tolerance": TOLERANCE,
        "equal_to_offline": _share([r.equal for r in found.replayed]),
        "unequal_causes": dict(Counter(_cause(r) for r in unequal)),
        "subsets": {subset_name(s): subset_numbers(found, s) for s in evaluated_subsets(run.names)},
        NONE: none_numbers(found),
    }


def _cause(unequal: Checked) -> str:
    return "; ".join(f"{n}: {why}" for n, why in unequal.missing.items()) or "unexplained"


def _left_out(fusion: Sequence[FusionCheck]) -> dict[str, Any]:
    """Return the share of latents without a suspect, and how many lack each modality."""
    doubted = [c.latent.doubted for c in fusion]
    counts = Counter(name for names in doubted for name in names)
    return {"share": _share([bool(d) for d in doubted]), "modalities": dict(counts)}


def _causes(fusion: Sequence[FusionCheck]) -> dict[str, int]:
    """Return how often each modality was wrong, and how."""
    kinds = Counter(
        f"{name}: {'missing' if name in check.truth else 'extra'}, {check.latent.states[name].name}"
        for check in fusion
        for name in check.causes
    )
    return dict(kinds.most_common())


def missing_sequences(latents: Sequence[Latent]) -> int:
    """Return how many latents were published but not recorded, by gaps in their sequence."""
    missing = 0
    for before, after in pairwise(latents):
        if before.epoch == after.epoch:
            missing += max(0, after.sequence - before.sequence - 1)
    return missing
