"""A node that was just started is brought up, also right after another was killed in its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from smvae_ros.lifecycle.autostart import Autostart
from smvae_ros.lifecycle.start import bring_up

pytestmark = pytest.mark.dds
SHIPPED = Path(__file__).parents[1] / "config/fastdds_large_images.xml"


@pytest.mark.parametrize("profile", ["of the tests", "shipped"])
def test_it_comes_up_as_far_as_it_is_not(
    start_node: Callable[..., Any],
    client: Any,
    bundle: Path,
    profile: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if profile == "shipped":
        for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
            monkeypatch.setenv(name, str(SHIPPED))
    start_node(fresh=True, bundle=bundle)
    assert client.change(Transition.TRANSITION_CONFIGURE)
    assert bring_up(client.node, "/smvae", client.came_true)
    assert client.state() == "active"
    assert bring_up(client.node, "/smvae", client.came_true)
    assert client.state() == "active"


def test_a_node_started_where_another_was_killed_comes_up(
    start_node: Callable[..., Any], client: Any, bundle: Path
) -> None:
    """The dead process's services still seem to be there."""
    for _ in range(3):
        process = start_node(fresh=True, bundle=bundle)
        assert bring_up(client.node, "/smvae", client.came_true)
        assert client.state() == "active"
        process.process.kill()
        process.process.wait()


def test_a_transition_that_fails_is_not_tried_again(
    start_node: Callable[..., Any], client: Any
) -> None:
    process = start_node(fresh=True, bundle="/nowhere")
    assert not bring_up(client.node, "/smvae", client.came_true)
    assert client.state() == "unconfigured"
    assert process.log.read_text(encoding="utf-8").count("configure failed") == 1


@pytest.mark.parametrize("end", ["process", "launch"])
def test_an_autostart_asks_no_longer_than_its_process_and_launch_live(
    client: Any, end: str
) -> None:
    """Nobody is there: it would ask for ever, and launch would never end."""
    loop, futures = asyncio.new_event_loop(), []
    loop.set_default_executor(ThreadPoolExecutor(1))
    context = SimpleNamespace(
        is_shutdown=False, asyncio_loop=loop, add_completion_future=futures.append
    )
    autostart = Autostart(lambda: "/smvae", lambda given: client.node)
    autostart.started(context)
    try:
        time.sleep(1.0)
        (future,) = futures
        loop.run_until_complete(asyncio.sleep(0.0))
        assert not future.done()
        if end == "process":
            autostart.ended(context)
        else:
            context.is_shutdown = True
        loop.run_until_complete(asyncio.wait_for(future, 60.0))
    finally:
        context.is_shutdown = True
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
