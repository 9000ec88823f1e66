"""Bring a node up from a launch file, at every start of its process and only while that lives.

launch_ros's own ChangeState sends one request to whoever seems to be there, which after a respawn
is the process that died: the node would stay unconfigured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rclpy.node import Node

from smvae_ros.lifecycle.start import bring_up

#: Between two looks at whether an answer came.
_LOOK_S = 0.02


class Autostart:
    """Handlers of a launch file for one process; each is called with the launch context."""

    def __init__(self, name: Callable[[], str], node: Callable[[Any], Node]) -> None:
        """Take what is known only once the process runs.

        Args:
            name: Gives the lifecycle node's full name.
            node: Launch context -> node whose clients are used, spun by launch.
        """
        self._name = name
        self._node = node
        self._lives = 0
        """Starts and ends of the process so far: a change ends the work for an earlier life."""

    def started(self, context: Any) -> None:
        """Configure and activate, beside everything else that launch does."""
        self._lives += 1
        life = self._lives

        def wait(condition: Callable[[], bool], seconds: float) -> bool:
            end_s = time.monotonic() + seconds
            while not condition():
                if context.is_shutdown or self._lives != life:  # launch or the process ends
                    raise InterruptedError
                if time.monotonic() > end_s:
                    return False
                time.sleep(_LOOK_S)
            return True

        def work() -> None:
            with suppress(InterruptedError):
                bring_up(self._node(context), self._name(), wait)

        future = context.asyncio_loop.run_in_executor(None, work)
        context.add_completion_future(future)

    def ended(self, context: Any) -> None:
        """Stop asking a process that is gone; without this launch would never end."""
        del context
        self._lives += 1
