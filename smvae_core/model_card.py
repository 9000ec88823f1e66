"""What a person should know of a bundle before a robot acts on it, from its manifest alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smvae_core.modality import Modality
from smvae_core.preprocessing import Statistics

if TYPE_CHECKING:
    from smvae_core.bundle import Manifest

CARD = "MODEL_CARD.md"
#: Where `Manifest.training` holds how far off the model was: `what` was measured, and of each
#: observed subset a text by what is drawn.
MEASURES = "measures"


def model_card(manifest: Manifest) -> str:
    """Return the card of a bundle as Markdown: sensors, data, measures, limits."""
    parts = (
        f"# {manifest.name}: model card",
        f"Written by smvae {manifest.version} on {manifest.created}, from `manifest.json`.",
        f"A Set Multimodal VAE: from any subset of {len(manifest.modalities)} sensors it infers "
        f"{manifest.latent_dim} numbers, the latent, and draws all sensors from that.",
        "## Sensors",
        _table(
            ("sensor", "kind", "network's input", "unit", "spread of what is drawn"),
            _sensors(manifest),
        ),
        "The spread is the standard deviation that training found around what is drawn. Of images "
        "it is in shares of the full range.",
        *_targets(manifest),
        "## Data",
        "\n".join(f"- {line}" for line in _data(manifest.training)),
        "## Measures",
        *_measures(manifest),
        "## Limits",
        "\n".join(f"- {line}" for line in _limits(manifest)),
    )
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _sensors(manifest: Manifest) -> Iterable[tuple[str, ...]]:
    for modality in manifest.modalities:
        spread = _spread(
            modality, manifest.statistics[modality.name], manifest.noise_scale.get(modality.name)
        )
        shape = " x ".join(map(str, modality.shape))
        yield f"`{modality.name}`", f"`{modality.kind}`", shape, modality.unit, spread


def _spread(modality: Modality, statistics: Statistics, noise: float | None) -> str:
    """Return the standard deviation of what is drawn, over channels, in the sensor's own unit."""
    if noise is None:
        return f"none: {modality.likelihood}"
    least, most = (
        f"{noise * scale:.2g}" for scale in (min(statistics.scale), max(statistics.scale))
    )
    return least if least == most else f"{least} to {most}, by channel"


def _targets(manifest: Manifest) -> list[str]:
    if not manifest.targets:
        return []
    rows = (
        (f"`{t.name}`", str(len(t.mean)), "yes or no" if t.binary else t.unit, t.frame_id or "none")
        for t in manifest.targets
    )
    rules = [f"`{t.name}` was not recorded: {t.rule}." for t in manifest.targets if t.rule]
    return ["## Targets", _table(("target", "numbers", "unit", "frame"), rows), *rules]


def _data(training: Mapping[str, Any]) -> Iterable[str]:
    trained, held_out = (training.get(f"{part}_trajectories", ()) for part in ("train", "held_out"))
    if trained:
        yield f"{len(trained)} trajectories in training, {len(held_out)} held out."
    if "step" in training:
        yield f"{training['step']} of {training['total_steps']} steps, seed {training['seed']}."
    for key, said in (
        ("data_fingerprint", "Fingerprint of the data"),
        ("weights", "SHA-256 of the weights"),
    ):
        if training.get(key):
            yield f"{said}: `{training[key]}`."
    if not training:
        yield "Nobody said where the weights come from."


def _measures(manifest: Manifest) -> Iterable[str]:
    measures = manifest.training.get(MEASURES)
    if measures:
        columns = list(dict.fromkeys(c for row in measures["subsets"].values() for c in row))
        rows = (
            (subset, *(row.get(column, "") for column in columns))
            for subset, row in measures["subsets"].items()
        )
        yield f"{measures['what']}, by what was observed:"
        yield _table(("observed", *columns), rows)
    else:
        yield "Not evaluated before it was exported: `smvae evaluate RUN`, then export again."
    if "max_difference" in manifest.parity:
        yield (
            "Over all subsets onnxruntime and torch differ by at most "
            f"{manifest.parity['max_difference']:.1g} of 1 + the value."
        )


def _limits(manifest: Manifest) -> Iterable[str]:
    yield (
        "It knows its training data. A sensor that is mounted elsewhere, another unit, light or "
        "object is new to it, and its own variance need not say so."
    )
    novelty = manifest.novelty
    if novelty is None:
        yield "Its novelty score is not calibrated: it cannot tell that it is out of its depth."
    else:
        yield (
            f"Novelty warns from {novelty.warn:g} on. From {novelty.error:g} on, do not act on a "
            "latent."
        )
    if manifest.suspicion is None:
        yield "Suspects are not calibrated: a sensor that lies is believed."
    if manifest.targets and manifest.estimates is None:
        yield "What it says of its targets is not calibrated."
    if manifest.memory is None:
        yield "It has no memory: what a lost sensor last showed counts for nothing."
    yield "What is drawn of a sensor that was not observed is a guess, and blurred."
    yield "It is no safety function. A controller checks `valid` and `status` of each latent."
