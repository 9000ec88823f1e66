"""`smvae export --int8`: linear layers of image embeddings in 8 bits, if held-out records allow."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from smvae_core.bundle import Bundle, with_graphs
from smvae_core.errors import ConfigError
from smvae_core.model.int8 import eight_bit_graphs, eight_bit_roles
from smvae_core.runtime import Runtime
from smvae_datasets.dataset import Dataset, holding
from smvae_training.run import Run

logger = logging.getLogger(__name__)

#: Held-out squared errors may grow by this factor at most.
LARGEST_ERROR = 1.01
#: Posterior means may move so many of their own standard deviations, root mean square.
LARGEST_SHIFT = 0.2
#: Held-out records that both are measured on.
RECORDS = 100


@dataclass(frozen=True)
class Change:
    """What another form of a model changes on held-out records that observe one subset."""

    shift: float
    """Root mean square over latent dimensions of (mean - exact mean) / exact deviation."""
    error: dict[str, float]
    """By modality: squared error of what is decoded, as a share of the exact form's."""


def in_eight_bits(run: Run, bundle: Bundle, data: Dataset) -> Bundle:
    """Rewrite a bundle with linear layers of image embeddings in 8 bits; log what that changes.

    Args:
        run: Of the model.
        bundle: Its bundle in float32; stays as it is where this raises.
        data: What the run was trained on.

    Raises:
        ConfigError: If the model has no image, or held-out records tell that it changes too much.
    """
    images = tuple(eight_bit_roles(bundle.manifest))
    if not images:
        raise ConfigError("int8: the model has no image, and other networks gain nothing")
    graphs = eight_bit_graphs(bundle)
    found: dict[str, Change] = {}
    with tempfile.TemporaryDirectory() as scratch:
        trial = with_graphs(bundle, Path(scratch) / "trial", graphs, {})
        for subset in dict.fromkeys([*((name,) for name in images), bundle.manifest.names]):
            found["+".join(subset)] = change(run, data, bundle, trial, subset)
    for label, each in found.items():
        worst = max(each.error.values())
        logger.info(
            "int8, from %s: held-out errors grow to %.4f of float32's at most, posterior means "
            "move %.3f standard deviations",
            label,
            worst,
            each.shift,
        )
        if not (worst <= LARGEST_ERROR and each.shift <= LARGEST_SHIFT):
            raise ConfigError(
                f"int8: from {label} held-out errors grow to {worst:.4f} of float32's and "
                f"posterior means move {each.shift:.3f} standard deviations, more than "
                f"{LARGEST_ERROR:g} and {LARGEST_SHIFT:g}; the bundle stays in float32"
            )
    changes = {label: asdict(each) for label, each in found.items()}
    return with_graphs(bundle, bundle.path, graphs, {"int8": changes})


def change(
    run: Run, data: Dataset, exact: Bundle, other: Bundle, subset: tuple[str, ...]
) -> Change:
    """Return what another form of a bundle changes where `subset` is observed; see `Change`.

    Raises:
        ConfigError: If no held-out record holds the subset.
    """
    names = exact.manifest.names
    held = holding(data, run.split(data).held_out, subset)
    if not len(held):
        raise ConfigError(f"no held-out record holds {'+'.join(subset)}, to measure changes on")
    rows = held[np.linspace(0, len(held) - 1, min(RECORDS, len(held))).astype(np.int64)]
    runtimes = Runtime(exact), Runtime(other)
    squared, moved = np.zeros((2, len(names))), []
    for row in rows.tolist():
        found = []
        for which, runtime in enumerate(runtimes):
            for name in subset:
                runtime.observe(name, data.arrays[name][row], prepared=True)
            found.append(runtime.posterior(subset))
            for place in np.flatnonzero(data.recorded[row]).tolist():
                name = names[place]
                x = runtime.network_input(name, data.arrays[name][row], prepared=True)
                error = runtime.decode(name, found[-1].mean) - x
                squared[which, place] += float((error**2).sum())
        moved.append((found[1].mean - found[0].mean) ** 2 / found[0].variance)
    shares = {n: float(b / a) for n, a, b in zip(names, *squared, strict=True) if a > 0}
    return Change(float(np.sqrt(np.mean(moved))), shares)
