"""Which packages read messages is in the node's own log and diagnostics, before a message comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from in_process_node import InProcess
from lifecycle_msgs.msg import Transition
from smvae_ros.listen import readers

from smvae_core.messages import decoder, organised_cloud
from smvae_core.presets import VISION_TOUCH

CONFIGURE = Transition.TRANSITION_CONFIGURE
WHY = "cv_bridge is not used: ends its process by signal 11 (is it built for numpy 1?)"


@pytest.fixture
def fresh() -> Iterator[None]:
    organised_cloud.reader.cache_clear()
    yield
    organised_cloud.reader.cache_clear()


def _told(arrays: list[DiagnosticArray]) -> dict[str, str]:
    entries = {s.name: s for s in arrays[-1].status} if arrays else {}
    model = entries.get("smvae: model")
    return {v.key: v.value for v in model.values} if model is not None else {}


def test_a_decoder_that_is_broken_is_in_log_and_diagnostics(
    client, bundle, domain, monkeypatch, capfd
) -> None:
    _, function, _ = decoder()
    monkeypatch.setattr(readers, "decoder", lambda: ("rosbags-image", function, WHY))
    arrays = client.listen(DiagnosticArray, "/diagnostics")
    with InProcess(domain, bundle=str(bundle), diagnostics_period_s=0.1):
        assert client.change(CONFIGURE)
        assert f"[smvae]: {WHY}" in capfd.readouterr().err
        client.until(lambda: "image_decoder" in _told(arrays))
        assert _told(arrays)["image_decoder"] == "rosbags-image"
        assert _told(arrays)["image_decoder_note"] == WHY
        assert _told(arrays)["cloud_reader"] == ""


def test_the_cloud_reader_is_found_at_configure_where_a_cloud_is_read(
    client, bundle, domain, fresh
) -> None:
    arrays = client.listen(DiagnosticArray, "/diagnostics")
    cloud: dict[str, Any] = {"modalities.depth.message_type": readers.CLOUD}
    with InProcess(domain, bundle=str(bundle), diagnostics_period_s=0.1, **cloud):
        assert client.change(CONFIGURE)
        assert organised_cloud.reader.cache_info().currsize == 1, "not at the first live cloud"
        client.until(lambda: _told(arrays).get("cloud_reader"))
        assert _told(arrays)["cloud_reader"] == organised_cloud.reader()[0]


def test_without_a_cloud_its_reader_is_not_tried(fresh) -> None:
    assert readers.CLOUD in VISION_TOUCH[1].message_types
    assert readers.find_readers([m.converter() for m in VISION_TOUCH]).cloud == ""
    assert organised_cloud.reader.cache_info().currsize == 0
