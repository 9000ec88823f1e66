"""Dataclasses -> command lines, by tyro; how our own types are spelled there."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from types import NoneType
from typing import Any, TypeVar, cast, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from smvae_core.errors import ConfigError, did_you_mean
from smvae_core.modality import Modality, find
from smvae_core.presets import CELEBA, FASHION, MNIST, vision_tasks, vision_touch

#: Declared sets of modalities, by name; each takes the side of its images.
MODALITY_SETS: dict[str, Callable[[int], tuple[Modality, ...]]] = {
    "vision_touch": vision_touch,
    "vision_tasks": vision_tasks,
}
#: Spelled where no image of a set is chosen: the others are the same at every side.
ANY_SIDE = 64
#: Sets of one size, by name alone.
FIXED_SETS = {"mnist": MNIST, "fashion": FASHION, "celeba": CELEBA}

T = TypeVar("T")


def parse_modalities(text: str) -> tuple[Modality, ...]:
    """Return the modalities of 'NAME:SIDE', some of them ('vision_touch:64:rgb+force'), or 'mnist'.

    Raises:
        ConfigError: If the name, the side or one of those chosen is unknown.
    """
    if text in FIXED_SETS:
        return FIXED_SETS[text]
    name, _, rest = text.partition(":")
    side, _, chosen = rest.partition(":")
    if name in FIXED_SETS:
        raise ConfigError(f"modalities: '{name}' has one size and comes whole, got '{text}'")
    if name not in MODALITY_SETS:
        known = [*MODALITY_SETS, *FIXED_SETS]
        raise ConfigError(
            f"unknown modalities '{name}': have {', '.join(known)}.{did_you_mean(name, known)}"
        )
    if not side.isdigit():
        raise ConfigError(f"modalities: expected NAME:SIDE such as '{name}:64', got '{text}'")
    declared = MODALITY_SETS[name](int(side))
    if text.count(":") < 2:
        return declared
    return tuple(find(declared, word) for word in chosen.split("+"))


def spell_modalities(modalities: tuple[Modality, ...]) -> str:
    """Return what `parse_modalities` reads, or the modalities' names where they are of no set."""
    for name, fixed in FIXED_SETS.items():
        if fixed == modalities:
            return name
    names = "+".join(m.name for m in modalities)
    sides = {m.shape[-1] for m in modalities if m.is_image} or {ANY_SIDE}
    for name, declare in MODALITY_SETS.items():
        for side in sides:
            declared = declare(side)
            if declared == modalities:
                return f"{name}:{side}"
            if set(modalities) <= set(declared):
                return f"{name}:{side}:{names}"
    return names


REGISTRY = ConstructorRegistry()


@REGISTRY.primitive_rule
def _modalities_rule(
    info: PrimitiveTypeInfo,
) -> PrimitiveConstructorSpec[tuple[Modality, ...]] | None:
    # of a default of two tyro makes tuple[Modality, Modality]
    if get_origin(info.type) is not tuple or get_args(info.type)[0] is not Modality:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME:SIDE[:SOME+OF+THEM]",
        instance_from_str=lambda words: parse_modalities(words[0]),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [spell_modalities(value)],
    )


@REGISTRY.primitive_rule
def _memory_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    kinds = get_args(info.type)
    if {getattr(kind, "__name__", "") for kind in kinds} != {"MemoryConfig", "NoneType"}:
        return None
    (memory,) = (kind for kind in kinds if kind is not NoneType)  # its module imports torch
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="SECONDS",
        instance_from_str=lambda words: memory(horizon_s=s) if (s := float(words[0])) else None,
        is_instance=lambda value: value is None or isinstance(value, memory),
        str_from_instance=lambda value: [f"{value.horizon_s:g}" if value else "0"],
    )


def parse(target: Callable[..., T], arguments: list[str], prog: str, **options: Any) -> T:
    """Return `target` built from the command line; help leaves as tyro does.

    Raises:
        UsageError: If an argument is missing, unknown, or cannot be read.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), thinned():
            parsed: T = tyro.cli(target, args=arguments, prog=prog, registry=REGISTRY, **options)
    except SystemExit:
        if not said.getvalue():  # help was asked for
            raise
    else:
        sys.stderr.write(said.getvalue())
        return parsed
    said = io.StringIO()
    with _wide_terminal(), contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):
        tyro.cli(target, args=arguments, prog=prog, registry=REGISTRY, **options)
    raise UsageError(said.getvalue(), prog)


class _Thinned:
    """A stream that gets no spaces at the end of a line, and no second empty line in a row."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        bare = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
        self._stream.write(re.sub(r"\n{3,}", "\n\n", bare))
        return len(text)


@contextlib.contextmanager
def thinned() -> Iterator[None]:
    """Print help with one empty line where tyro has two: before what begins with no letter.

    And without the spaces that stand for tyro's boxes where standard output is not UTF-8.
    """
    with contextlib.redirect_stdout(cast(io.TextIOBase, _Thinned(sys.stdout))):
        yield


class UsageError(ConfigError):
    """A command line that cannot be read, in one line."""

    def __init__(self, frame: str, prog: str) -> None:
        """Take what is wrong out of the frame that tyro draws around it."""
        super().__init__(f"{_unframed(frame)}; see `{prog} --help`")


@contextlib.contextmanager
def _wide_terminal() -> Iterator[None]:
    """Let tyro break no line: it would break a path in two."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100000"
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


#: Of tyro's frame: colours, sides (blank where stdout is not UTF-8), a line across.
_COLOUR, _SIDES = re.compile(r"\x1b\[[0-9;]*m"), re.compile(r"^[│ ] | *[│ ]$")
_ACROSS = re.compile(r"[─-]{9,}")
#: How far tyro indents what it says of an argument; the argument itself less.
_ABOUT_ARGUMENT = " " * 8


def _unframed(frame: str) -> str:
    """Return what is wrong, and of which arguments, without the pointer to the help."""
    parts: list[list[str]] = [[]]
    for framed in _COLOUR.sub("", frame).splitlines()[1:-1]:  # between the first line and the last
        line = _SIDES.sub("", framed)
        if _ACROSS.fullmatch(line.strip()):
            parts.append([])
        else:
            parts[-1].append(line)
    told = [_told(part) for part in parts if part and not part[0].startswith("For full helptext")]
    return "; ".join(told)


def _told(part: list[str]) -> str:
    """Return a part of the frame in one line, such as 'Missing from smvae simulate: PATH'."""
    head, *rest = (line.rstrip(" .") for line in part)
    head = re.sub(r"^Error parsing config[.\w]*: (?=--)", "", head)  # the option is named
    if head == "Argument helptext:":
        return f"expected {rest[0].strip()}"
    arguments: list[str] = []
    for line in rest:
        if not line.startswith(_ABOUT_ARGUMENT):
            arguments.append(line.strip())
        elif head.startswith("Missing") and not arguments[-1].endswith(")"):
            arguments[-1] += f" ({line.strip().removesuffix(' (required)').rstrip('.')})"
    return " ".join([head, ", ".join(arguments)]).strip()


def peek(arguments: list[str], flag: str) -> str | None:
    """Return the value of a flag before everything is parsed; the last one counts."""
    value = None
    for index, word in enumerate(arguments):
        if word == flag and index + 1 < len(arguments):
            value = arguments[index + 1]
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
    return value
