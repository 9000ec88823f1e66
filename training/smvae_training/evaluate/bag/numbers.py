"""What summary.json says of a bag: counts, states, errors, uncertainty.

N latents, M modality.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.fusion.rules import OF_OTHERS, FusionState, ModalityStatus
from smvae_core.modality import Modality, subset_name
from smvae_core.novelty.scale import Novelty
from smvae_core.settings import Settings
from smvae_training.evaluate.bag.inputs import Input
from smvae_training.evaluate.bag.scores import error_names

Columns = Mapping[str, NDArray[Any]]
#: A sensor that sends and is in fewer of the latents is worth a warning [share].
_RARELY = 0.1


def latent_numbers(columns: Columns, names: Sequence[str]) -> dict[str, Any]:
    """Return how many latents there were, how often, and from which subsets."""
    received = columns["received_ns"]
    gaps_s = np.diff(received) * 1e-9
    span_s = float(received[-1] - received[0]) * 1e-9
    fused = columns["state"] == int(FusionState.FUSED)
    subsets = Counter(subset_name(tuple(np.array(names)[row])) for row in fused)
    return {
        "count": len(received),
        "rate_hz": (len(received) - 1) / span_s if span_s > 0 else float("nan"),
        "longest_gap_s": float(gaps_s.max()) if gaps_s.size else float("nan"),
        "epochs": len(np.unique(columns["epoch"])),
        "fused": dict(subsets.most_common()),
    }


def novelty_shares(columns: Columns, novelty: Novelty | None) -> dict[str, Any]:
    """Return the shares of latents above the novelty's thresholds; nothing where it has none."""
    scores = columns["novelty"][np.isfinite(columns["novelty"])]
    if novelty is None or not scores.size:
        return {}
    limits = {"novel_warn": novelty.warn, "novel_error": novelty.error}
    return {name: float((scores > limit).mean()) for name, limit in limits.items()}


def modality_numbers(
    columns: Columns,
    modalities: Sequence[Modality],
    statuses: Mapping[str, ModalityStatus],
    counts: Mapping[str, Mapping[str, int]],
) -> dict[str, dict[str, Any]]:
    """Return of each modality: messages, rejects by reason, period, share of each state.

    Args:
        columns: One row per latent.
        modalities: Of the model.
        statuses: At the bag's end.
        counts: Of the modalities that the bag has: `messages`, and those that were `unreadable`
            when predictions were to be compared with them (of a dropped one nobody else tries).
    """
    found = {}
    for index, modality in enumerate(modalities):
        states, status = columns["state"][:, index], statuses[modality.name]
        found[modality.name] = {
            **{"messages": 0, "unreadable": 0},
            **counts.get(modality.name, {}),
            "rejected": status.rejected,
            "reasons": dict(sorted(status.reject_reasons.items())),
            "period_s": status.period_s,
            "states": {
                state.name.lower(): float((states == int(state)).mean()) for state in FusionState
            },
        }
    return found


def losses(
    inputs: Collection[Input],
    settings: Settings,
    statuses: Mapping[str, ModalityStatus],
    fused: Mapping[str, float],
) -> list[str]:
    """Return a line for each modality in whose data something is wrong; dropped ones have none.

    Its topic is missing, messages were refused, its clock differs, or it was never or rarely fused.

    Args:
        inputs: That the bag has.
        settings: Of the node.
        statuses: At the bag's end.
        fused: Share of the latents that each modality is in.
    """
    messages = {i.modality.name: i.messages for i in inputs}
    found = []
    for name, status in statuses.items():
        if name in settings.dropped:
            continue
        if name not in messages:
            found.append(f"{name}: the bag has nothing on {settings.topics[name]}")
        elif status.rejected - (passed_over(status) if status.received else 0):
            reasons = ", ".join(f"{n} x {reason}" for reason, n in status.reject_reasons.items())
            lost = f"{status.rejected} of {messages[name]} messages rejected"
            found.append(f"{name}: {lost} ({reasons}); the first: {status.first_rejection}")
        if status.suggested_offset_s:
            found.append(f"{name}: {status.reason}")
        elif status.received and not fused[name]:
            found.append(f"{name}: never fused: {status.reason or 'suspect in every latent'}")
        elif status.received and fused[name] < _RARELY:
            why = f"; at the end: {status.reason}" if status.reason else ""
            found.append(f"{name}: fused in {fused[name]:.1%} of the latents{why}")
    return found


def passed_over(status: ModalityStatus) -> int:
    """Return how many messages were of other parts of the robot: no loss, if others came."""
    return status.reject_reasons.get(OF_OTHERS, 0)


def error_numbers(columns: Columns, modalities: Sequence[Modality]) -> dict[str, dict[str, Any]]:
    """Return mean, median and 95th percentile of each error over the latents that have it."""
    names = [name for m in modalities for name in error_names(m)]
    return {name: spread(columns[name]) for name in names}


def suspect_numbers(
    columns: Columns, names: Sequence[str], charges: Mapping[str, Mapping[str, int]], begin_ns: int
) -> dict[str, dict[str, Any]]:
    """Return of each sensor in how many latents it is suspect, since when, why, and how nearly.

    Nothing where the bundle is calibrated for neither. See `suspects` and `odd_ones_out`
    of `smvae_core.novelty`.
    """
    if "suspect" not in columns:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(names):
        suspect, suspicion = columns["suspect"][:, number], columns["suspicion"][:, number]
        rows = np.flatnonzero(suspect)
        known = suspicion[np.isfinite(suspicion)]
        found[name] = {
            "latents": len(rows),
            "first_s": float((columns["received_ns"][rows[0]] - begin_ns) * 1e-9)
            if len(rows)
            else None,
            "most_suspicion": float(known.max()) if len(known) else None,
            "reasons": dict(charges.get(name, {})),
        }
    return found


def uncertainty_numbers(columns: Columns) -> dict[str, dict[str, Any]]:
    """Return the same of the posterior's standard deviation, its KL and the novelty score."""
    return {
        "mean_std": spread(np.exp(0.5 * columns["log_var"]).mean(axis=1)),
        "kl_nats": spread(columns["kl"]),
        "novelty": spread(columns["novelty"]),
    }


def spread(values: NDArray[Any]) -> dict[str, Any]:
    """Return count, mean, median and 95th percentile of the finite values."""
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    if not finite.size:
        return {"count": 0, "mean": float("nan"), "median": float("nan"), "p95": float("nan")}
    median, p95 = np.percentile(finite, (50, 95))
    return {
        "count": int(finite.size),
        "mean": float(finite.mean()),
        "median": float(median),
        "p95": float(p95),
    }
