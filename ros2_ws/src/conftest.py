"""Fixtures of the tests of node and tools, and the count of those that really ran over DDS."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SOURCES = Path(__file__).parent
#: Harnesses of both packages are importable from either's tests.
sys.path[:0] = [str(SOURCES / package / "test") for package in ("smvae_ros", "smvae_tools")]
#: What Fast DDS is given, under both names, unless a profile of the user's own is set.
PROFILE = SOURCES / "smvae_ros/config/fastdds_large_images.xml"
PROFILE_NAMES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
#: Fast DDS announces a participant for half a second, and then every 3 s. Whoever misses the first
#: announcements waits for the next, and that was most of the time of a test that starts a node.
ANNOUNCEMENTS = """
        <builtin>
          <discovery_config>
            <initialAnnouncements>
              <count>50</count>
              <period><nanosec>100000000</nanosec></period>
            </initialAnnouncements>
          </discovery_config>
        </builtin>"""

#: What all tests of this folder are to pytest-xdist: one piece.
OURS = "ros2_ws"
#: Files elsewhere that take 8 s or more, the longest first; others follow by their number of tests.
LONG = (
    "tests/training/test_cli.py",
    "tests/training/test_os_errors.py",
    "tests/benchmarks/test_many_machines.py",
    "tests/model/test_covariance.py",
    "tests/training/test_insertions.py",
    "tests/training/test_bag_evaluation_losses.py",
    "tests/training/test_bag_evaluation.py",
    "tests/benchmarks/test_linear_gaussian.py",
    "tests/benchmarks/test_closed_loop.py",
    "tests/training/test_own_robot_page.py",
    "tests/training/test_self_supervised.py",
    "tests/benchmarks/test_gpu.py",
    "tests/datasets/test_recordings.py",
    "tests/training/test_declared_bundles.py",
    "tests/training/test_many_sensors.py",
    "tests/benchmarks/test_job.py",
    "tests/datasets/test_recording_faults.py",
    "tests/benchmarks/test_sixteen_sensors.py",
    "tests/training/test_checkpoints.py",
    "tests/benchmarks/test_moving_picture.py",
    "tests/training/test_audit.py",
    "tests/training/test_eight_bits.py",
)

#: Set by `make test`: a run in which no DDS test passed fails.
REQUIRE = os.environ.get("SMVAE_REQUIRE_DDS") == "1"
WHY_SKIPPED = "needs rclpy and smvae_msgs: scripts/build_workspace.sh, then . scripts/ros_env.sh"

#: In the environment of every process that this run starts, its workers' (pytest-xdist) included.
MARK = "SMVAE_TEST_RUN"

#: Python's own helper of this very process, which ends with it.
OF_PYTHON = b"multiprocessing.resource_tracker"

_passed: list[str] = []
_left: list[str] = []


def _has_ros() -> bool:
    try:
        import rclpy  # noqa: F401
        import smvae_msgs.msg  # noqa: F401
    except ImportError:
        return False
    return True


HAS_ROS = _has_ros()
collect_ignore_glob = [] if HAS_ROS else ["*/test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    if not _is_worker(config):
        os.environ[MARK] = str(os.getpid())
        _announce_more_often(config)
    config.addinivalue_line("markers", "dds: runs a node over real DDS; counted in the summary")


def _announce_more_often(config: pytest.Config) -> None:
    """Let every process of this run, its workers' too, use our profile with `ANNOUNCEMENTS`."""
    if any(Path(os.environ.get(name, PROFILE)).name != PROFILE.name for name in PROFILE_NAMES):
        return
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    quick = Path(folder.name, PROFILE.name)
    head, start, rest = PROFILE.read_text(encoding="utf-8").partition("<rtps>")
    assert start, f"{PROFILE} has no <rtps>"
    quick.write_text(f"{head}{start}{ANNOUNCEMENTS}{rest}", encoding="utf-8")
    os.environ.update(dict.fromkeys(PROFILE_NAMES, str(quick)))


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give all tests of this folder to one worker: beside each other two of them would disturb.

    They watch the clock, start processes, and share what DDS keeps once per machine. They come
    first, then the files that take long, and the short ones last: all workers end together.
    """
    if config.getvalue("dist") != "loadfile":
        return None
    if gone := [name for name in LONG if not (config.rootpath / name).is_file()]:
        raise pytest.UsageError(f"LONG of {__file__} names what is not there: {', '.join(gone)}")
    from xdist.scheduler import LoadFileScheduling

    class OneAtATime(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return OURS if nodeid.startswith(f"{OURS}/") else super()._split_scope(nodeid)

        def _assign_work_unit(self, node: Any) -> None:
            known = (scope for scope in (OURS, *LONG) if scope in self.workqueue)
            if (scope := next(known, None)) is not None:
                self.workqueue.move_to_end(scope, last=False)
            super()._assign_work_unit(node)

    return OneAtATime(config, log)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for a node runs over DDS."""
    for item in items:
        if {"client", "start_node"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("dds")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed and "dds" in report.keywords:
        _passed.append(report.nodeid)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    text = f"{len(_passed)} tests ran over DDS" if HAS_ROS else f"no DDS tests: {WHY_SKIPPED}"
    terminalreporter.write_line(f"ros2_ws: {text}")
    for process in _left:
        terminalreporter.write_line(f"ros2_ws: LEFT RUNNING by a test: {process}")


@pytest.hookimpl(trylast=True)  # the workers have ended by then
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run without DDS tests where they must run, and one that leaves a process behind."""
    if (harness := sys.modules.get("robot_harness")) is not None:
        while harness.nurseries:
            harness.nurseries.pop().close()
    if _is_worker(session.config):
        return
    _left.extend(left_running())
    required = REQUIRE and not session.config.option.collectonly
    if _left or (required and not _passed):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def left_running() -> list[str]:
    """Return the processes that this run started and that still run, as 'pid command line'."""
    found, mark = [], f"{MARK}={os.environ[MARK]}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        with suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                if OF_PYTHON not in words:
                    found.append(f"{folder.name} {words.decode(errors='replace')}")
    return found


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained model, exported: its numbers are as good as any to compare with."""
    torch = pytest.importorskip("torch")
    from smvae_core.model.config import ModelConfig
    from smvae_core.model.export import export_bundle
    from smvae_core.model.smvae import SMVAE
    from smvae_core.preprocessing import measure_statistics, prepare
    from smvae_core.presets import vision_touch

    torch.manual_seed(0)
    modalities = vision_touch(32)
    model = SMVAE(ModelConfig(modalities=modalities, latent_dim=8, embedding_dim=64))
    statistics = {
        m.name: measure_statistics(
            m, np.stack([prepare(m, m.example_sample(seed)) for seed in range(8)])
        )
        for m in modalities
    }
    return export_bundle(
        model, statistics, tmp_path_factory.mktemp("bundle") / "untrained", name="untrained"
    )


@pytest.fixture(scope="session")
def runtime(bundle: Path) -> Any:
    from smvae_core.runtime import Runtime

    return Runtime(bundle)


@pytest.fixture(scope="session")
def modalities(runtime: Any) -> Any:
    return runtime.modalities


@pytest.fixture
def domain() -> int:
    from smvae_datasets.simulation.ros_domain import free_domain

    return free_domain()


@pytest.fixture
def start_node(domain: int, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start perception_node processes with parameters given as a mapping; all end with the test.

    With `fresh=True` they are started as Python programs, where the start itself is tested.
    """
    from node_harness import NodeProcess

    started = []

    def start(*, fresh: bool = False, **parameters: Any) -> NodeProcess:
        log = tmp_path / f"node{len(started)}.log"
        given = parameters.pop("parameters", {}) | parameters
        started.append(NodeProcess(domain, log, given, fresh=fresh))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture
def client(domain: int, modalities: Any) -> Iterator[Any]:
    """Sensors and listeners on the test's domain."""
    from node_harness import Client

    client = Client(domain, modalities)
    yield client
    client.close()


@pytest.fixture(scope="session")
def strict(modalities: Any) -> dict[str, Any]:
    """Only samples of one moment are fused, whatever the machine's load does to rates."""
    names = [m.name for m in modalities]
    limits = {"max_skew_s": 0.01, "max_age_s": 5.0}
    return {f"modalities.{n}.{k}": v for n in names for k, v in limits.items()} | {
        "max_rate_hz": 200.0
    }
