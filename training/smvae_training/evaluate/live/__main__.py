"""Write the summary.json and report.html of a demo folder again.

python -m smvae_training.evaluate.live runs/demo
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from smvae_training import foreground


def main(arguments: list[str] | None = None) -> int:
    """Write them; 2 with a line when something is missing, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="demo report", description="Write the demo's summary.json and report.html."
    )
    parser.add_argument("root", type=Path, help="e.g. runs/demo")

    def work() -> int:
        root = parser.parse_args(arguments).root
        from smvae_training.evaluate.live.demo_report import DemoPaths, write_demo_report

        write_demo_report(DemoPaths(root))
        return 0

    return foreground.run(parser.prog, work)


if __name__ == "__main__":
    sys.exit(main())
