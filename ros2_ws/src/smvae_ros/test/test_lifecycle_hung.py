"""An inference thread that hangs: seen, left behind, and never heard of again."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from in_process_node import InProcess
from lifecycle_msgs.msg import Transition
from node_harness import fused
from smvae_msgs.msg import LatentState
from smvae_ros.infer.inference import Inference, Result
from smvae_ros.listen.mailbox import Mailbox

from smvae_core.fusion.rules import FusionRule, Pace
from smvae_core.runtime import Runtime

CONFIGURE = Transition.TRANSITION_CONFIGURE
ACTIVATE = Transition.TRANSITION_ACTIVATE
DEACTIVATE = Transition.TRANSITION_DEACTIVATE
CLEANUP = Transition.TRANSITION_CLEANUP


class Blocked:
    """Stands for a posterior that a broken driver never gives."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.release = threading.Event(), threading.Event()
        self._patch = monkeypatch
        healthy = Runtime.posteriors

        def posteriors(runtime: Runtime, subsets: Any) -> Any:
            self.entered.set()
            self.release.wait(240.0)
            return healthy(runtime, subsets)

        monkeypatch.setattr(Runtime, "posteriors", posteriors)

    def mend(self) -> None:
        self._patch.undo()


def _valid(client: Any) -> list[LatentState]:
    return [m for m in client.latents if m.valid]


def test_a_hung_thread_shows_as_error_leaves_active_and_is_not_configured_over(
    client, bundle, domain, monkeypatch
) -> None:
    diagnostics = client.listen(DiagnosticArray, "/diagnostics")

    def entry(name: str) -> DiagnosticStatus | None:
        found = {s.name: s for s in diagnostics[-1].status} if diagnostics else {}
        return found.get(f"smvae: {name}")

    with InProcess(domain, bundle=str(bundle), diagnostics_period_s=0.1) as node:
        client.activate()
        blocked = Blocked(monkeypatch)
        client.moment(("action",))
        client.until(lambda: [m for m in client.latents if m.status == LatentState.ERROR])
        assert not any(fused(m) for m in client.latents), "of no posterior"
        client.until(lambda: client.state() == "inactive")
        assert node.failure == "inference hangs: one run lasts longer than 2 s"
        thread = node.session.inference.latents.thread
        assert thread.is_alive(), "nobody can end it"

        def shown() -> bool:
            inference = entry("inference")
            return inference is not None and inference.level == DiagnosticStatus.ERROR

        client.until(shown)
        assert "hangs: one run lasts longer" in entry("inference").message

        reason = "the inference thread of the last activation still runs"
        assert not client.change(ACTIVATE)
        assert reason in node.failure
        refused = client.set_parameter("bundle", str(bundle))
        assert reason in refused.reason
        assert client.change(CLEANUP)
        assert not client.change(CONFIGURE)
        assert reason in node.failure
        client.latents.clear()
        blocked.mend()
        blocked.release.set()
        thread.join(60.0)
        assert not thread.is_alive()
        client.activate()
        client.play_until(("action",), lambda: _valid(client))
        assert {m.model_generation for m in client.latents} == {2}, "the late run said nothing"


def test_a_late_result_is_not_published_through_the_next_session(client, bundle, domain) -> None:
    kept: list[Result] = []
    with InProcess(domain, bundle=str(bundle)) as node:
        client.activate()
        old = node.session.inference
        deliver = old._deliver
        old._deliver = lambda result: (kept.append(result), deliver(result))
        client.play_until(("action",), lambda: kept)
        assert client.change(DEACTIVATE)
        assert client.change(CLEANUP)
        assert client.change(CONFIGURE)
        assert client.change(ACTIVATE)
        published = node.session.outputs.latencies
        with pytest.raises(Exception, match=r"[Dd]estr"):  # its own publishers are gone
            deliver(kept[-1])
        assert published.published == 0
        assert node.session.outputs.last is None or not node.session.outputs.last.valid


def test_a_session_publishes_nothing_of_an_epoch_before_its_own(bundle, domain) -> None:
    with InProcess(domain, bundle=str(bundle)) as node:
        for step in ("configure", "activate", "deactivate", "cleanup", "configure"):
            getattr(node, f"trigger_{step}")()
        outputs, mailbox = node.session.outputs, node.session.mailbox
        assert mailbox.epoch == 1
        outputs.publish_blind(LatentState.ERROR, 0, mailbox.statuses)
        assert outputs.last is None
        outputs.publish_blind(LatentState.ERROR, 1, mailbox.statuses)
        assert outputs.last is not None


def test_a_thread_that_hangs_while_it_publishes_does_not_hang_who_notices(bundle, domain) -> None:
    with InProcess(domain, bundle=str(bundle)) as node:
        node.trigger_configure()
        outputs = node.session.outputs
        with outputs._lock:
            outputs.publish_blind(LatentState.ERROR, 1, node.session.mailbox.statuses)
        assert outputs.last is None


def test_the_watchdog_looks_often_however_rare_heartbeats_are(bundle, domain) -> None:
    with InProcess(domain, bundle=str(bundle), heartbeat_rate_hz=0.2) as node:
        node.trigger_configure()
        node.trigger_activate()
        assert node._supervision._watchdog.timer_period_ns == 200_000_000
        node.trigger_deactivate()


def test_a_run_counts_as_hung_when_it_is_found_late_twice(runtime, monkeypatch) -> None:
    """A process that was stopped as a whole and goes on finds its run late once."""
    now_s = [0.0]
    monkeypatch.setattr("smvae_ros.infer.steps.time.monotonic", lambda: now_s[0])
    rules = {m.name: FusionRule() for m in runtime.modalities}
    mailbox = Mailbox(runtime.modalities, rules, Pace())
    inference = Inference(runtime, mailbox, lambda result: None, lambda name, text: None)
    assert inference.check() == "the inference thread does not run"
    inference.max_rate_hz = 2.0
    assert inference.longest_run_s == 5.0
    steps = inference.latents
    steps.thread = threading.current_thread()
    assert inference.check() == "", "idle"
    steps._began_s = 0.0
    now_s[0] = 4.9
    assert inference.check() == ""
    now_s[0] = 60.0
    assert inference.check() == "", "late for the first time"
    steps._began_s = 60.0
    now_s[0] = 120.0
    assert inference.check() == "", "another run"
    assert inference.check() == "hangs: one run lasts longer than 5 s"
    steps._began_s = None
    assert inference.check(), "once hung it is not trusted again before the next start"
