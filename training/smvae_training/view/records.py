"""The records of a data set as glances, seen through a bundle."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.fusion.rules import FusionState
from smvae_core.preprocessing import prepare, raw_sample
from smvae_core.runtime import Runtime
from smvae_core.view.glance import Glance, Latent, SensorGlance, TargetNames
from smvae_datasets.dataset import Dataset

#: Time between two records where a data set has none, and between two groups.
STEP_NS, PAUSE_NS = 100_000_000, 1_000_000_000


def target_names(data: Dataset) -> dict[str, TargetNames]:
    """Return how the recorded targets of a data set are labelled."""
    return {name: TargetNames(fields=t.names, unit=t.unit) for name, t in data.targets.items()}


def record_glances(
    data: Dataset,
    rows: NDArray[np.int64],
    runtime: Runtime,
    dropped: Collection[str] = (),
) -> Iterator[Glance]:
    """Yield a glance for each record, one group after the other.

    Args:
        data: Holds the sensors of the bundle.
        rows: Which records, group by group, in order of time.
        runtime: Of the bundle.
        dropped: Sensors that are not observed, and still compared with.
    """
    times_ns = timeline(data, rows)
    columns = {m.name: i for i, m in enumerate(data.sensors)}
    for row, time_ns in zip(rows.tolist(), times_ns.tolist(), strict=True):
        held = {
            m.name: raw_sample(m, np.asarray(data.arrays[m.name][row]))
            for m in runtime.modalities
            if data.recorded[row, columns[m.name]]
        }
        observed = [name for name in held if name not in dropped]
        latent, predicted = _perceive(runtime, held, observed)
        yield Glance(
            stamp_ns=time_ns,
            recorded=held,
            predicted=predicted,
            latent=latent,
            sensors={m.name: _sensor(m.name, held, dropped) for m in runtime.modalities},
            targets={name: t.values[row] for name, t in data.targets.items() if t.known[row]},
            chapter=data.group_names[data.group[row]],
        )


def timeline(data: Dataset, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a time of each record: groups follow each other, with a pause between them."""
    stamps, group = np.asarray(data.stamp_ns)[rows], np.asarray(data.group)[rows]
    found, start = np.zeros(len(rows), np.int64), 0
    firsts = np.flatnonzero(np.diff(group, prepend=-1))
    for first, last in zip(firsts, [*firsts[1:], len(rows)], strict=True):
        times = stamps[first:last]
        if not (np.diff(times) > 0).all():
            times = STEP_NS * np.arange(last - first)
        found[first:last] = start + times - times[0]
        start = int(found[last - 1]) + PAUSE_NS
    return found


def _perceive(
    runtime: Runtime, held: dict[str, NDArray[Any]], observed: list[str]
) -> tuple[Latent | None, dict[str, NDArray[Any]]]:
    if not observed:
        return None, {}
    for name in observed:
        runtime.observe(name, prepare(runtime.modality(name).uncut, held[name]), prepared=True)
    posterior = runtime.posterior(observed)
    report = runtime.novelty_report(observed, posterior)
    predicted = {
        m.name: runtime.reconstruct(m.name, posterior.mean, report.decoded.get(m.name))
        for m in runtime.modalities
    }
    latent = Latent(
        mean=posterior.mean,
        variance=posterior.variance,
        kl=posterior.kl,
        novelty=report.score,
    )
    return latent, predicted


def _sensor(name: str, held: Collection[str], dropped: Collection[str]) -> SensorGlance:
    if name in dropped:
        return SensorGlance(state=FusionState.DISABLED, reason="left out by --drop")
    if name not in held:
        return SensorGlance(state=FusionState.ABSENT, reason="the record does not hold it")
    return SensorGlance(state=FusionState.FUSED, age_s=0.0)
