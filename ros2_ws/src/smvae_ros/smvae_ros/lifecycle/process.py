"""A node as a process: spin until SIGINT or SIGTERM, then take it down in order and exit 0."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from smvae_core.errors import ConfigError, SMVAEError, one_line
from smvae_ros.lifecycle.entry import SIGNALS

#: What refuses a command line: we, or rclpy where a value or a name is of its own concern.
REFUSALS = (SMVAEError, ParameterException, NameValidationException)

_received: list[int] = []


def stop_requested() -> bool:
    """Return whether this process was told to end; long work asks between its steps."""
    return bool(_received)


def run(
    make_node: Callable[[], Any], args: list[str] | None = None, *, grace_s: float | None = None
) -> int:
    """Run one node in this process and return the exit code.

    rclpy's own handlers would shut the context down under a node that is still active, so we take
    the signals, let the node shut down through its lifecycle, and only then end ROS.

    Args:
        make_node: Makes the node once ROS is up.
        args: Command line; None = this process's.
        grace_s: The process is gone this long after a signal, orderly or not; None = it may take
            its time, as a recorder must that has a file to finish.
    """
    _take_signals(grace_s)
    try:
        refuse_arguments(args)
        _begin_ros(args)
        node = make_node()
    except REFUSALS as err:
        print(f"error: {_said(err)}", file=sys.stderr)
        _end_ros()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not stop_requested():
            executor.spin_once(timeout_sec=0.1)
    finally:
        _shut_down(node)
        executor.remove_node(node)
        node.destroy_node()
        executor.shutdown()
        _end_ros()
    return 0


@contextmanager
def until_stopped(args: Sequence[str]) -> Iterator[threading.Event]:
    """Start ROS for a program that is no single node, yield what SIGINT and SIGTERM set, end ROS.

    Args:
        args: Command line.

    Raises:
        ConfigError: If ROS does not take its own part of it.
    """
    stop = threading.Event()
    # whoever waits for this event holds its lock: a handler that set it could wait for ever
    deaf = _hear(lambda _: stop.set())
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
    try:
        _begin_ros(list(args))
        yield stop
    finally:
        _end_ros()
        deaf()


def status_of(program: str, work: Callable[[], object]) -> int:
    """Do the work of a program; return its exit status: 1, and a line that says why, if it fails.

    Args:
        program: Its name, which begins the line on standard error.
        work: What it does. Only `REFUSALS` are failures of the user's making.
    """
    try:
        work()
    except REFUSALS as err:
        print(f"{program}: {_said(err)}", file=sys.stderr)
        return 1
    return 0


def _said(err: Exception) -> str:
    return str(err) if isinstance(err, SMVAEError) else one_line(err)


def refuse_arguments(args: Sequence[str] | None) -> None:
    """Refuse what a program that has no arguments of its own is given beside ROS's.

    Args:
        args: Command line; None = this process's.

    Raises:
        ConfigError: If there is any, such as a parameter without `-p`: ROS passes over it, or takes
            it for a remapping.
    """
    of_ros = False
    for word in sys.argv[1:] if args is None else args:
        if word == "--ros-args" or (of_ros and word == "--"):
            of_ros = word == "--ros-args"
        elif not of_ros:
            raise ConfigError(
                f"unknown argument '{word}': parameters are given as --ros-args -p NAME:=VALUE, "
                "remappings as --ros-args -r NAME:=NAME"
            )


def _begin_ros(args: list[str] | None) -> None:
    """Start ROS without handlers of its own.

    Raises:
        ConfigError: If ROS does not take its own arguments, e.g. a parameter file.
    """
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as err:  # what rcl raises
        raise ConfigError(f"ROS does not start: {one_line(err)}") from err


def _end_ros() -> None:
    """End ROS, and hear no signal any more.

    Launch repeats the signal; one that met the interpreter's end would look like a crash.
    """
    rclpy.try_shutdown()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _shut_down(node: Any) -> None:
    """Take a lifecycle node through its shutdown transition; one that is finalized stays so."""
    if not hasattr(node, "trigger_shutdown"):
        return
    try:
        node.trigger_shutdown()
    except RuntimeError as err:  # what rcl raises where the state machine has no such transition
        node.get_logger().debug(f"no shutdown transition: {err}")


def _take_signals(grace_s: float | None) -> None:
    """Note SIGINT and SIGTERM from here on, and start the guard of `grace_s`."""
    for number in SIGNALS:
        signal.signal(number, lambda received, _: _received.append(received))
    if grace_s is not None:
        _hear(lambda number: _end_after(grace_s, number))


def _hear(act: Callable[[int], None]) -> Callable[[], None]:
    """Call `act` with the first signal, in a thread of its own; return what ends that.

    Python runs signal handlers in the main thread between two bytecodes: a call that lasts, such as
    loading a large network, or waiting when another thread was given the signal, holds them back.
    The interpreter writes to this pipe at once, and a network is loaded and run with the
    interpreter's lock released, so that this thread runs.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    hearing = threading.Thread(
        target=lambda: act(os.read(reading, 1)[0]), name="signals", daemon=True
    )
    hearing.start()

    def end() -> None:
        signal.set_wakeup_fd(-1)
        os.write(writing, b"\0")  # the thread reads on where no signal came
        hearing.join()
        os.close(reading)
        os.close(writing)

    return end


def _end_after(grace_s: float, number: int) -> None:
    """End the process `grace_s` after its first signal, whatever the main thread does."""
    time.sleep(grace_s)
    name = signal.Signals(number).name
    os.write(2, f"still busy {grace_s:g} s after {name}: ending at once\n".encode())
    os._exit(0)
