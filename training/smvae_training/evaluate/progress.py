"""A bar on a terminal, a log line per stage anywhere else, for evaluations of minutes.

N latents, Z latent.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, get_num_threads

from smvae_core.modality import Modality
from smvae_training.evaluate.likelihood.method import Method
from smvae_training.evaluate.likelihood.mixture import Mixture
from smvae_training.threads import CoreShare

logger = logging.getLogger(__name__)

Advance = Callable[[int], None]


class Stages:
    """The stages of one evaluation, and the seconds that each took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._share = CoreShare(get_num_threads())

    @contextmanager
    def stage(self, name: str, total: int = 0) -> Iterator[Advance]:
        """Show one stage; call what this yields with the amount of work that was done.

        Args:
            name: Key in `seconds`, with underscores.
            total: Amount of work; 0 if unknown.
        """
        started = time.perf_counter()
        text = name.replace("_", " ")
        columns = (TextColumn("{task.description:<16}"), BarColumn(), TimeElapsedColumn())
        shown = Progress(
            *columns,
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        with shown:
            task = shown.add_task(text, total=total or None)

            def advance(amount: int) -> None:
                shown.advance(task, amount)
                self._share.look()

            yield advance
            shown.update(task, total=max(total, 1), completed=max(total, 1))
        self.seconds[name] = time.perf_counter() - started
        if shown.disable:
            logger.info("%s: %.0f s", text, self.seconds[name])


class Watched:
    """A method that tells how much of it was used."""

    def __init__(
        self, method: Method, advance: Advance, counts: Literal["decoded", "encoded"] = "decoded"
    ) -> None:
        """Pass everything on to `method`.

        Args:
            method: Does the work.
            advance: Called with the number of latents decoded, or of items encoded.
            counts: Which of the two.
        """
        self._method, self._advance, self._counts = method, advance, counts
        self.name: str = method.name
        self.modalities: tuple[Modality, ...] = method.modalities
        self.names: tuple[str, ...] = method.names

    def proposal(self, batch: Mapping[str, Tensor], subset: Sequence[str]) -> Mixture:
        """Return the method's posterior.

        Raises:
            CannotEncode: If the method has none.
        """
        found = self._method.proposal(batch, subset)
        if self._counts == "encoded":
            self._advance(found.items)
        return found

    def decode(self, z: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        if self._counts == "decoded":
            self._advance(len(z))
        return self._method.decode(z, names)

    def log_likelihood(self, name: str, x: Tensor, output: Tensor) -> Tensor:
        return self._method.log_likelihood(name, x, output)

    def noise_scale(self) -> dict[str, float]:
        return self._method.noise_scale()
