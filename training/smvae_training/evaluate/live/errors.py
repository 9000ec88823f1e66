"""What can be wrong with a recorded live run."""

from __future__ import annotations

from pathlib import Path

from smvae_core.errors import SMVAEError


class LiveRunError(SMVAEError, ValueError):
    """A bag that cannot be evaluated."""

    def __init__(self, path: Path | str, what: str) -> None:
        super().__init__(f"bag {path}: {what}")
