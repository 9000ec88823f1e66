"""The errors a user meets: each message says name, expected, got, and what would be right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path


class SMVAEError(Exception):
    """Root of all errors raised on purpose; the command line prints them in one line."""


def nearest(got: str, known: Iterable[str]) -> str:
    """Return the nearest known name, or an empty string if none is near."""
    match = get_close_matches(got, list(known), n=1)
    return match[0] if match else ""


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest known name, or an empty string."""
    name = nearest(got, known)
    return f" Did you mean '{name}'?" if name else ""


def option(name: str) -> str:
    """Return how a setting is spelled as an option: '--data.held-out' of 'data.held_out'."""
    return f"--{name.replace('_', '-')}"


def one_line(err: BaseException) -> str:
    """Return an error in one line, with its kind where its text alone says nothing."""
    text = " ".join(str(err).split()).rstrip(".")
    return text if len(text) > 20 else f"{type(err).__name__} {text}".rstrip()


class UnknownModality(SMVAEError, ValueError):
    """A modality name that the model does not have."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = list(known)
        listed = ", ".join(f"'{n}'" for n in names)
        super().__init__(
            f"unknown modality '{name}': this model has {listed}.{did_you_mean(name, names)}"
        )


class EmptySubset(SMVAEError, ValueError):
    """A posterior was asked for no observed modality."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(
            "no observed modality: a posterior needs at least one"
            + (f" ({detail})" if detail else "")
        )


class SampleError(SMVAEError, ValueError):
    """A sensor sample that is not what its modality declares; counted by its `reason`."""

    def __init__(
        self, modality: str, what: str, *, expected: object, got: object, reason: str = "value"
    ) -> None:
        self.reason = reason
        super().__init__(f"{modality}: {what}: expected {expected}, got {got}")


class Unforeseen(SampleError):
    """A message that failed without saying why: a fault of ours, not to be hidden."""

    def __init__(self, modality: str, err: Exception) -> None:
        """Name the error, which is also the reason that is counted."""
        reason = f"unforeseen {type(err).__name__}"
        expected = "a sample or a reason"
        super().__init__(modality, "message", expected=expected, got=repr(err), reason=reason)


@contextmanager
def refusing(modality: str) -> Iterator[None]:
    """Let whatever fails in the body refuse the one message that is read there.

    No message may stop who reads it; an error that says why it refuses passes as it is.

    Raises:
        Unforeseen: In the place of an error that is not ours.
    """
    try:
        yield
    except SMVAEError:
        raise
    except Exception as err:
        raise Unforeseen(modality, err) from err


class BundleError(SMVAEError, ValueError):
    """A bundle that is missing, incomplete, tampered with, or newer than this code."""

    def __init__(self, path: Path | str, what: str) -> None:
        super().__init__(f"bundle {path}: {what}")


class EpisodeError(SMVAEError, ValueError):
    """An episode file that cannot be used; names file, field, step, expected and got."""

    def __init__(
        self,
        path: Path | str,
        what: str,
        *,
        field: str | None = None,
        step: int | None = None,
        expected: object | None = None,
        got: object | None = None,
    ) -> None:
        where = f"{path}"
        if field is not None:
            where += f", field '{field}'"
        if step is not None:
            where += f", step {step}"
        tail = f": expected {expected}, got {got}" if expected is not None else ""
        super().__init__(f"{where}: {what}{tail}")


class MissingDependency(SMVAEError, ImportError):
    """An optional package that this job needs is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'smvae[{extra}]'")


class ConfigError(SMVAEError, ValueError):
    """A setting that cannot be used, or contradicts another."""
