"""What rclpy's lifecycle leaves to its users: failures say why, wrong transitions are refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from lifecycle_msgs.msg import Transition as TransitionMessage
from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from smvae_core.errors import SMVAEError
from smvae_ros.infer.loading import Interrupted
from smvae_ros.report.rarely import Rarely

Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]
_PREFIX = "TRANSITION_"
_NAMES = {
    getattr(TransitionMessage, name): name.removeprefix(_PREFIX).lower()
    for name in dir(TransitionMessage)
    if name.startswith(_PREFIX) and "_ON_" not in name
}


def guarded(otherwise: TransitionCallbackReturn) -> Callable[[Transition], Transition]:
    """Log why a transition failed and answer `otherwise`; rclpy would swallow the exception.

    The reason is kept in the node's `failure`, for diagnostics.
    """

    def decorate(transition: Transition) -> Transition:
        @wraps(transition)
        def run(self: Any, state: LifecycleState) -> TransitionCallbackReturn:
            name = transition.__name__.removeprefix("on_")
            try:
                return transition(self, state)
            except Exception as err:
                expected = isinstance(err, SMVAEError)
                self.failure = str(err) if expected else f"{type(err).__name__}: {err}"
                log, text = self.get_logger(), f"{name} failed: {self.failure}"
                if isinstance(err, Interrupted):
                    log.info(text)
                else:  # rclpy lets one line of code log at one level only
                    log.error(text)
                return otherwise

        return run

    return decorate


def surviving(
    node: Any, callback: Callable[..., Any], failed: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Return a callback of the executor's that logs its errors; raised, they would end the process.

    Args:
        node: Whose log it is.
        callback: What to guard.
        failed: Gives the answer in the place of one that failed, from what went wrong and the
            callback's arguments; None = nobody waits for an answer.
    """
    rarely = Rarely()

    @wraps(callback)
    def run(*args: Any) -> Any:
        try:
            return callback(*args)
        except Exception as err:
            reason = f"{callback.__name__.strip('_')} failed: {type(err).__name__}: {err}"
            if failed is None:  # timers and the like, which come again and again
                if rarely(callback.__name__):
                    node.get_logger().error(reason)
                return None
            node.get_logger().error(reason)
            return failed(reason, *args)

    return run


def refuse_impossible(node: Any) -> None:
    """Answer a transition that the state does not have by success = false.

    rclpy's service raises instead, and the exception ends whoever spins the node: anybody could end
    it by asking for `configure` twice.
    """
    service = node._service_change_state
    change = service.callback

    def answer(request: ChangeState.Request, response: ChangeState.Response) -> Any:
        try:
            return change(request, response)
        except RuntimeError as err:  # rcl's
            asked = request.transition.label or _NAMES.get(request.transition.id, "")
            state = node._state_machine.current_state[1]
            what = asked or f"transition {request.transition.id}"
            node.get_logger().warning(f"{what} is not possible in state {state}")
            node.get_logger().debug(str(err))
            response.success = False
            return response

    service.callback = answer
