"""`python -m benchmarks.reliability`: see `measure`."""

import sys

from benchmarks.command import main_with_ros

if __name__ == "__main__":
    sys.exit(main_with_ros("benchmarks.reliability"))
