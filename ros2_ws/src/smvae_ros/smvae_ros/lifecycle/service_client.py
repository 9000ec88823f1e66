"""Services whose answers arrive: DDS connects requests and answers apart, and loses some.

A client may see the server before the server sees where to answer: a request sent in between is
carried out and its answer lost. A killed server takes no leave: for some seconds its services still
seem to be there, and a request sent then is lost without a word. What is idempotent is asked again
until an answer comes (`ask`). For what must be carried out once (`connect`), an idempotent request
through a client made later tells when the server knows both, since endpoints are announced in
order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rcl_interfaces.srv import ListParameters
from rclpy.node import Node

Wait = Callable[[Callable[[], bool], float], bool]

#: A lost answer is noticed after this long.
RETRY_S = 0.25


def within(wait: Wait, timeout_s: float, late: Callable[[], Exception]) -> Wait:
    """Return `wait` as it is for so long from now; after that it raises what `late` gives."""
    end_s = time.monotonic() + timeout_s

    def limited(ready: Callable[[], bool], seconds: float) -> bool:
        if time.monotonic() > end_s:
            raise late()
        return wait(ready, seconds)

    return limited


def ask(client: Any, request: Any, wait: Wait) -> Any:
    """Return the answer to an idempotent request, which is sent again until one comes.

    Args:
        client: Of the service, which need not be there yet.
        request: May reach the server many times.
        wait: (condition, seconds) -> whether it came true, turning the executor meanwhile; what it
            raises ends the matter.
    """
    asked: list[Any] = []
    try:
        while True:
            asked.append(client.call_async(request))
            if wait(lambda: any(future.done() for future in asked), RETRY_S):
                return next(future.result() for future in asked if future.done())
    finally:
        for future in asked:
            client.remove_pending_request(future)


def connect(
    node: Node,
    service_type: Any,
    name: str,
    wait: Wait,
    timeout_s: float,
) -> Any:
    """Return a client that requests and answers both reach; the caller destroys it.

    Args:
        node: Whose client it is.
        service_type: Type of the service.
        name: `<node that offers it>/<service>`, absolute.
        wait: (condition, seconds) -> whether it came true, turning the executor meanwhile.
        timeout_s: When to give up.

    Raises:
        TimeoutError: If the server does not answer in time.
    """
    error = TimeoutError(f"waited {timeout_s:g} s for service {name}, which did not come")
    wait = within(wait, timeout_s, lambda: error)
    client = node.create_client(service_type, name)
    probe = node.create_client(ListParameters, f"{name.rpartition('/')[0]}/list_parameters")
    try:
        while not wait(lambda: client.service_is_ready() and probe.service_is_ready(), RETRY_S):
            pass
        ask(probe, ListParameters.Request(prefixes=["-"]), wait)
    except BaseException:
        node.destroy_client(client)
        raise
    finally:
        node.destroy_client(probe)
    return client
