"""The `smvae` command: one table of subcommands, each imported only when it is called.

A subcommand is a function `(arguments, prog) -> exit status`; add one by a line in `COMMANDS`.
Here, and only here, logging is configured and errors become one line and an exit status.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from smvae_core import __version__
from smvae_core.errors import ConfigError, did_you_mean
from smvae_training import foreground
from smvae_training.foreground import BAD_INPUT, UNREAD
from smvae_training.threads import wait_briefly


@dataclass(frozen=True)
class Command:
    """One subcommand."""

    target: str
    """'module:function', imported when called."""
    summary: str

    def load(self) -> Callable[[list[str], str], int]:
        module, _, function = self.target.partition(":")
        loaded: Callable[[list[str], str], int] = getattr(importlib.import_module(module), function)
        return loaded


_DATA, _MODEL = "smvae_training.commands.data", "smvae_training.commands.model"

COMMANDS: dict[str, Command] = {
    "simulate": Command(f"{_DATA}:simulate", "record episodes of the simulated robot"),
    "download": Command(f"{_DATA}:download", "fetch Vision&Touch, MNIST or Fashion-MNIST"),
    "robot": Command("smvae_training.commands.robot:robot", "declare a robot from a recording"),
    "episodes": Command(
        "smvae_training.commands.episodes:episodes", "convert a robot's recordings to episodes"
    ),
    "inspect": Command(f"{_DATA}:inspect", "say what an episode folder holds, and what is wrong"),
    "train": Command(f"{_MODEL}:train", "train a model on episodes or an image set"),
    "evaluate": Command(
        "smvae_training.commands.evaluate:evaluate", "score a run on held-out data, write a report"
    ),
    "evaluate-bag": Command(
        "smvae_training.commands.evaluate_bag:evaluate_bag",
        "replay a recorded bag through a bundle",
    ),
    "compare": Command(
        "smvae_training.commands.compare:compare", "compare evaluated runs on the same records"
    ),
    "audit": Command(
        "smvae_training.commands.audit:audit",
        "check the latents of a recording against its samples",
    ),
    "view": Command("smvae_training.commands.view:view", "see moment by moment what a model sees"),
    "figures": Command(
        "smvae_training.commands.figures:figures", "draw the paper's figures from a run"
    ),
    "export": Command(f"{_MODEL}:export", "write the bundle that a robot loads"),
    "readout": Command(
        "smvae_training.commands.readout:readout", "fit the targets of the data to the latent"
    ),
}

EXAMPLE = """from nothing to a bundle:
  smvae simulate episodes --episodes 20
  smvae train --preset demo --data episodes --out run
  smvae evaluate run --data episodes
  smvae export run bundle"""


def help_text() -> str:
    """Return what `smvae --help` prints."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {c.summary}" for name, c in COMMANDS.items())
    return (
        "usage: smvae [-v] [--cache DIR] COMMAND ...\n\n"
        "Set Multimodal VAE: perception that keeps working when sensors don't.\n\n"
        f"commands:\n{listed}\n\n{EXAMPLE}\n\n"
        "`smvae COMMAND --help` explains one command; -v shows more of what happens.\n"
        "`smvae --version` says which this is.\n"
        "--cache DIR (or SMVAE_CACHE) keeps the prepared sets of data that are read-only."
    )


def main(argv: list[str] | None = None) -> int:
    """Run `smvae` and return its exit status; that nobody reads on (`| head`) is no error."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path may have what a C locale cannot print
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            status = _main(argv)
        finally:  # older parsers leave by SystemExit after help that is not written yet
            sys.stdout.flush()
    except BrokenPipeError:
        _leave_stdout()
        return UNREAD
    except OSError as err:  # a full disk behind `>`
        _leave_stdout()
        print(f"smvae: error: {foreground.of_the_system(err)}", file=sys.stderr)
        return BAD_INPUT
    return status


def _leave_stdout() -> None:
    """Let Python find nothing to write when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _main(argv: list[str] | None) -> int:
    """Run one subcommand and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verbose = bool(arguments) and arguments[0] in ("-v", "--verbose")
    arguments = arguments[1:] if verbose else arguments
    if len(arguments) > 1 and arguments[0] == "--cache":
        os.environ["SMVAE_CACHE"] = os.path.abspath(arguments[1])
        arguments = arguments[2:]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0 if arguments else BAD_INPUT
    if arguments == ["--version"]:
        print(f"smvae {__version__}")
        return 0
    name, *rest = arguments
    configure_logging(verbose)
    wait_briefly()
    prog = f"smvae {name}"

    def work() -> int:
        if name not in COMMANDS:
            known = ", ".join(COMMANDS)
            raise ConfigError(f"no such command; have {known}.{did_you_mean(name, COMMANDS)}")
        return COMMANDS[name].load()(rest, prog)

    return foreground.run(prog, work)


def configure_logging(verbose: bool) -> None:
    """Log our own messages to stderr; of libraries only warnings, unless verbose."""
    logging.basicConfig(format="%(message)s", level=logging.INFO if verbose else logging.WARNING)
    for package in ("smvae_core", "smvae_datasets", "smvae_training"):
        logging.getLogger(package).setLevel(logging.INFO)


def quiet_lightning() -> None:
    """Give Lightning our handler and level; call after its import, which sets both."""
    lightning = logging.getLogger("pytorch_lightning")
    lightning.handlers.clear()
    lightning.propagate = True
    lightning.setLevel(logging.getLogger().level)


if __name__ == "__main__":
    sys.exit(main())
