"""Play pairs of attempts, with help and without, and write what came of them.

    python -m smvae_training.evaluate.insertions BUNDLE OUT --attempts 20

Writes OUT/insertions.json, a video and a contact sheet of some attempts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from smvae_training import foreground


def main(arguments: list[str] | None = None) -> int:
    """Play what is asked for; 2 with a line when that cannot be done, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="insertions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, help="exported model that tells where the hole is")
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--attempts", type=int, default=20, help="pairs of attempts")
    parser.add_argument("--seed", type=int, default=1000, help="cells, starts and operators")
    parser.add_argument("--workers", type=int, default=2, help="processes")

    def work() -> int:
        given = parser.parse_args(arguments)
        if min(given.attempts, given.workers) < 1:
            parser.error("--attempts and --workers must be at least 1")
        from smvae_training.evaluate.insertions.pairs import insertions

        given.out.mkdir(parents=True, exist_ok=True)
        insertions(given.bundle, given.out, given.attempts, given.seed, given.workers)
        return 0

    return foreground.run(parser.prog, work)


if __name__ == "__main__":
    sys.exit(main())
