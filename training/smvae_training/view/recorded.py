"""A folder of `smvae episodes` without a model, as glances: each kept sample at its own stamp."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from operator import itemgetter
from typing import Any

from numpy.typing import NDArray

from smvae_core.fusion.rules import FusionState
from smvae_core.view.glance import SensorGlance
from smvae_datasets.recordings.declared import Declared
from smvae_datasets.recordings.episode_files import NONE, EpisodeFiles
from smvae_datasets.recordings.folder import Episode
from smvae_datasets.recordings.steps import play_steps
from smvae_training.view.following import Following

Event = tuple[int, Callable[[], dict[str, Any]]]
"""Stamp, and what makes the rest of the glance."""


def show_episode(
    episode: Episode,
    declared: Declared,
    following: Following,
    advance: Callable[[int], None],
) -> None:
    """Show the samples of an episode, and what each step holds, in the order of their stamps.

    Args:
        episode: One of a folder.
        declared: Its robot.
        following: Takes the glances.
        advance: Called with the number of steps done since.

    Raises:
        DataSetError: If its files cannot be read.
    """
    with EpisodeFiles(episode.files) as files:
        events = sorted(_events(files, episode, declared), key=itemgetter(0))
        following.begin(events[0][0])
        for stamp_ns, made in events:
            following.show(stamp_ns, chapter=episode.name, **(found := made()))
            advance("sensors" in found)


def _events(files: EpisodeFiles, episode: Episode, declared: Declared) -> Iterator[Event]:
    """Yield what there is to see; images are read when they are shown."""
    stamps = {}
    for modality in declared.robot.modalities:
        name, place = modality.name, f"sensors/{modality.name}"
        stamps[name] = files.array(f"{place}/stamp_ns")
        values = None if modality.is_image else files.array(f"{place}/values")
        for row, stamp_ns in enumerate(stamps[name].tolist()):

            def sample(name: str = name, row: int = row, values: Any = values) -> dict[str, Any]:
                value = files.image(name, row) if values is None else values[row]
                return {"recorded": {name: value}}

            yield stamp_ns, sample
    for target in declared.robot.targets:
        if files.has_target(target.name):
            place = f"targets/{target.name}"
            values = files.array(f"{place}/values")
            for row, stamp_ns in enumerate(files.array(f"{place}/stamp_ns").tolist()):
                yield stamp_ns, partial(dict, targets={target.name: values[row]})
    if episode.has_steps:
        references, chosen = files.array("steps/reference_ns"), files.array("steps/sample")
    else:
        references, chosen = play_steps(files, declared)
    for reference_ns, row in zip(references.tolist(), chosen.tolist(), strict=True):

        def step(reference_ns: int = reference_ns, row: list[int] = row) -> dict[str, Any]:
            numbers = zip(stamps, row, strict=True)
            return {"sensors": {n: _glance(stamps[n], k, reference_ns) for n, k in numbers}}

        yield reference_ns, step


def _glance(stamps: NDArray[Any], number: int, reference_ns: int) -> SensorGlance:
    if number == NONE:
        return SensorGlance(state=FusionState.ABSENT, reason="the step does not hold it")
    age_s = (reference_ns - int(stamps[number])) * 1e-9
    return SensorGlance(state=FusionState.FUSED, age_s=age_s)
