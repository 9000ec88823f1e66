"""The GPU of the diagnostics, on a stand-in for NVML: which one it is, and that it may be lost."""

from __future__ import annotations

import platform
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from in_process_node import InProcess
from lifecycle_msgs.msg import Transition
from smvae_ros.report import diagnostics, resources

from smvae_core.settings import PARAMETERS

UUIDS = ("GPU-aaaa-0", "GPU-bbbb-1", "GPU-cccc-2")
CUDA = "CUDAExecutionProvider"


class NVMLError(Exception):
    pass


class Nvml(ModuleType):
    """Three GPUs; a handle is an index, or the UUID of a MIG instance."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = NVML_CLOCK_SM = 0

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.lost = False
        """Whether the driver answers nothing any more."""

    def _answer(self, value: Any) -> Any:
        if self.lost:
            raise NVMLError("GPU is lost")
        return value

    def nvmlInit(self) -> None:
        self._answer(None)

    def nvmlDeviceGetCount(self) -> int:
        return len(UUIDS)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index >= len(UUIDS):
            raise NVMLError("Invalid Argument")
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> str:
        return uuid.decode()

    def nvmlDeviceGetName(self, handle: Any) -> bytes:
        return self._answer(b"A GPU")

    def nvmlDeviceGetUUID(self, handle: Any) -> str:
        return self._answer(UUIDS[handle] if isinstance(handle, int) else handle)

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:
        return self._answer(SimpleNamespace(used=1_000_000, total=8_000_000))

    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int:
        return self._answer(50)

    def nvmlDeviceGetClockInfo(self, handle: Any, clock: int) -> int:
        raise NVMLError("Not Supported")

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any:
        return self._answer(SimpleNamespace(gpu=7))


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Nvml:
    made = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", made)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return made


def test_a_gpu_says_what_it_can(nvml) -> None:
    device = resources.Gpu(1)
    assert device.read() == {
        "name": "A GPU",
        "uuid": UUIDS[1],
        "memory_used_mb": 1.0,
        "memory_total_mb": 8.0,
        "temperature_c": 50,
        "load_percent": 7,
    }
    assert resources.hardware_id(device, CUDA) == UUIDS[1]
    assert resources.hardware_id(device, "CPUExecutionProvider") == platform.node()


def test_a_gpu_that_is_lost_keeps_its_name_and_costs_no_diagnostics(nvml) -> None:
    device = resources.Gpu()
    nvml.lost = True
    assert device.read() == {"name": "A GPU", "uuid": UUIDS[0]}
    assert resources.hardware_id(device, CUDA) == UUIDS[0]
    entries = [diagnostics.memory(), diagnostics.gpu(device)]
    hardware = resources.hardware_id(device, CUDA)
    assert len(diagnostics.to_array(entries, "/smvae", hardware, 0).status) == 2


def test_a_driver_that_is_dead_from_the_start_is_no_error(nvml) -> None:
    nvml.lost = True
    device = resources.Gpu()
    assert (device.missing, device.read()) == ("no GPU: GPU is lost", {})
    assert resources.hardware_id(device, CUDA) == platform.node()


@pytest.mark.parametrize(
    ("visible", "device_id", "uuid"),
    [
        (None, 2, UUIDS[2]),
        ("2,0", 0, UUIDS[2]),
        ("2, 0", 1, UUIDS[0]),
        ("GPU-bbbb-1,GPU-aaaa-0", 0, UUIDS[1]),
        ("GPU-cc", 0, UUIDS[2]),  # CUDA takes the beginning of a UUID
        ("0,MIG-1234", 1, "MIG-1234"),
    ],
)
def test_device_ids_count_as_cuda_counts(nvml, monkeypatch, visible, device_id, uuid) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert resources.Gpu(device_id).uuid == uuid


@pytest.mark.parametrize(
    ("visible", "device_id", "reason"),
    [
        (None, 3, "Invalid Argument"),
        ("", 0, "CUDA_VISIBLE_DEVICES='' leaves none with device_id 0"),
        ("0", 1, "CUDA_VISIBLE_DEVICES='0' leaves none with device_id 1"),
        ("0,-1,1", 1, "leaves none with device_id 1"),  # CUDA reads no further than -1
        ("GPU-dddd", 0, "CUDA_VISIBLE_DEVICES='GPU-dddd': this machine has no 'GPU-dddd'"),
    ],
)
def test_a_gpu_that_is_not_visible_is_missing(
    nvml, monkeypatch, visible, device_id, reason
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    device = resources.Gpu(device_id)
    assert device.missing.startswith("no GPU: ")
    assert reason in device.missing
    assert diagnostics.gpu(device).message == device.missing


def test_the_first_gpu_is_the_one_that_the_parameter_means(nvml) -> None:
    default = next(p.default for p in PARAMETERS if p.name == "device_id")
    assert resources.Gpu().uuid == resources.Gpu(int(default)).uuid == UUIDS[0]


def test_the_node_shows_the_gpu_of_device_id(nvml, client, bundle, domain) -> None:
    arrays = client.listen(DiagnosticArray, "/diagnostics")

    def shown() -> str:
        entries = [s for s in arrays[-1].status if s.name.endswith(": gpu")] if arrays else []
        return next((v.value for s in entries for v in s.values if v.key == "uuid"), "")

    with InProcess(domain, bundle=str(bundle), diagnostics_period_s=0.1, device_id=1):
        client.until(lambda: shown() == UUIDS[1])
        assert client.set_parameter("device_id", 2).successful
        assert client.change(Transition.TRANSITION_CONFIGURE)
        client.until(lambda: shown() == UUIDS[2])
        nvml.lost = True
        arrays.clear()
        client.until(lambda: shown() == UUIDS[2])
        assert {s.name for s in arrays[-1].status} >= {"smvae: model", "smvae: gpu"}
