"""Configure and activate a node that was just started, be it again after it was killed.

The killed process's services may seem to be there still (`service_client` tells). So a state is
asked for until an answer comes, and a transition that leaves no trace is asked for again.
"""

from __future__ import annotations

from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node

from smvae_ros.lifecycle.service_client import Wait, ask

#: A transition without an answer: time to look whether it was begun.
LOST_S = 1.0
#: Transition, the state that it starts from, the state that it leads to.
_WAY = (
    (Transition.TRANSITION_CONFIGURE, "unconfigured", "inactive"),
    (Transition.TRANSITION_ACTIVATE, "inactive", "active"),
)


def bring_up(node: Node, name: str, wait: Wait) -> bool:
    """Configure and activate a lifecycle node, as far as it is not; return whether it is active.

    False: a transition failed, for which the node's log has the reason, or somebody else leads it
    elsewhere. It waits for a node that is not there yet, for as long as `wait` lets it.

    Args:
        node: Whose clients are used; somebody spins it.
        name: The lifecycle node's full name, e.g. '/smvae'.
        wait: (condition, seconds) -> whether it came true, spinning meanwhile where nobody else
            does; what it raises ends the matter.
    """
    # the state's service is made after the transitions', and endpoints are announced in order: who
    # answers the one has the other
    change = node.create_client(ChangeState, f"{name}/change_state")
    look = node.create_client(GetState, f"{name}/get_state")
    try:
        return all(_change(change, look, step, wait) for step in _WAY)
    finally:
        node.destroy_client(change)
        node.destroy_client(look)


def _change(change: Any, look: Any, step: tuple[int, str, str], wait: Wait) -> bool:
    transition, before, after = step
    while (state := _state(look, wait)) == before:
        request = ChangeState.Request(transition=Transition(id=transition))
        answer = change.call_async(request)
        while not wait(answer.done, LOST_S):
            if (state := _state(look, wait)) != before:
                break  # begun and over: the answer is here, or was lost
            if answer.done():
                break
            change.remove_pending_request(answer)
            answer = change.call_async(request)
        if answer.done():
            return bool(answer.result().success)
        change.remove_pending_request(answer)
    return state in (after, "active")


def _state(client: Any, wait: Wait) -> str:
    """Return the node's state, asked for until it answers; it does not while in a transition."""
    return str(ask(client, GetState.Request(), wait).current_state.label)
