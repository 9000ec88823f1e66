"""What becomes of a suspect: said beside FUSED, or by option left out, never silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from smvae_core.fusion.rules import FusionState, SuspicionRule
from smvae_core.novelty.scorer import NoveltyScorer
from tests.accused import FED, Desk, accusing_bundle, plain_bundle


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_bundle(tmp_path_factory.mktemp("bundle") / "plain")


@pytest.fixture
def desk(plain: Path, tmp_path: Path) -> Any:
    def make(*accused: str, **rule: Any) -> Desk:
        bundle = accusing_bundle(plain, tmp_path / "accusing", *accused)
        return Desk(bundle, SuspicionRule(**rule))

    return make


def test_a_suspect_is_fused_and_named_with_a_reason(desk: Any) -> None:
    perceived = desk("rgb", rate_hz=100.0).see(count=20)
    status = perceived.observation.status
    assert perceived.observation.subset == FED
    assert status["rgb"].suspect
    assert status["rgb"].suspicion >= 1.0
    assert status["rgb"].reason.startswith("suspect: ")
    assert status["rgb"].state is FusionState.FUSED
    for name in FED[1:]:
        assert not status[name].suspect
        assert status[name].suspicion == 0.0


def test_by_option_a_suspect_is_left_out_and_shown_as_rejected(desk: Any) -> None:
    bench = desk("rgb", rate_hz=100.0, leave_out=True)
    perceived = bench.see(count=20)
    assert perceived.observation.subset == FED[1:]
    assert perceived.subset == FED[1:]
    status = perceived.observation.status["rgb"]
    assert status.state is FusionState.REJECTED
    assert status.suspect
    assert not status.novel
    assert status.reason.endswith("left out (leave_out_suspects)")
    expected = bench.runtime.posterior(FED[1:])
    np.testing.assert_array_equal(perceived.posterior.mean, expected.mean)


def test_the_last_sensor_is_not_left_out(desk: Any) -> None:
    bench = desk("rgb", rate_hz=100.0, leave_out=True)
    bench.see(count=20)
    perceived = bench.see(("rgb",), count=6)
    assert perceived.observation.subset == ("rgb",)
    assert perceived.observation.status["rgb"].suspect


def test_where_nobody_asks_nobody_is_judged(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = desk("rgb")
    decoded: list[str] = []
    monkeypatch.setattr(bench.runtime, "decode", lambda name, mean: decoded.append(name))
    status = bench.see(count=20).observation.status
    assert decoded == []
    assert not status["rgb"].suspect
    assert np.isnan(status["rgb"].suspicion)


def test_another_epoch_or_other_messages_suspect_nobody(desk: Any) -> None:
    bench = desk("rgb", rate_hz=100.0)
    assert bench.see(count=20).observation.status["rgb"].suspect
    bench.perceiver.forget()
    assert not bench.see().observation.status["rgb"].suspect


def test_judged_by_a_snapshot_in_hindsight_a_sensor_gets_the_same_verdict(desk: Any) -> None:
    """As the node does: the runtime has observed the next moment before the last one is judged."""
    at_once, beside = desk("rgb", rate_hz=100.0), desk("rgb", rate_hz=100.0)
    scorer = NoveltyScorer()
    kept: Any = None
    for _ in range(30):
        at_once.see()
        beside.perceiver.judge = lambda: None
        beside.see()
        if kept is not None:
            kept[0](kept[1])
        judgement = beside.perceiver.judgement()
        kept = None if judgement is None else (judgement, beside.runtime.snapshot(scorer))
    now, then = at_once.perceiver._suspects, beside.perceiver._suspects
    assert now.renewals > 10
    assert now.renewals - then.renewals == len(FED), "the last is not judged yet"
    assert {n: now.verdict(n).suspect for n in FED} == {n: then.verdict(n).suspect for n in FED}
    assert now.verdict("rgb").suspect
