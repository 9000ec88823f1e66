"""A message that fails is refused by name and the next is used; a broken session is not hidden."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from smvae_core import runtime as runtime_module
from smvae_core.errors import SampleError, Unforeseen, refusing
from smvae_core.fusion.collector import Collector
from smvae_core.fusion.rules import FusionState
from smvae_core.fusion.source import Source
from smvae_core.kinds import Converter
from smvae_core.modality import Modality
from smvae_core.novelty.scorer import NoveltyScorer
from smvae_core.perceiver import Perceived, Perceiver
from smvae_core.presets import vision_touch
from smvae_core.runtime import Runtime

MODALITIES = vision_touch(32)
MS = 1_000_000
T0 = 1_000_000 * MS


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    import torch

    from smvae_core.model.config import ModelConfig
    from smvae_core.model.export import export_bundle
    from smvae_core.model.smvae import SMVAE
    from smvae_core.preprocessing import measure_statistics, prepare

    torch.manual_seed(0)
    config = ModelConfig(modalities=MODALITIES, latent_dim=8, embedding_dim=32, base_channels=4)
    statistics = {
        m.name: measure_statistics(
            m, np.stack([prepare(m, m.example_sample(seed)) for seed in range(8)])
        )
        for m in MODALITIES
    }
    out = tmp_path_factory.mktemp("bundle") / "untrained"
    return Runtime(export_bundle(SMVAE(config), statistics, out, name="untrained"))


class Desk:
    """A collector that is fed samples as they are, and a perceiver that looks at it."""

    def __init__(self, runtime: Runtime, **told: Any) -> None:
        self.perceiver = Perceiver(runtime, **told)
        as_it_is = Converter("", lambda modality, value, options: value, lambda *_: None)
        self.perceiver.configure({m.name: Source(converter=as_it_is) for m in MODALITIES})
        self.collector = Collector(MODALITIES)
        self.now_s = 0.0

    def see(self, **samples: Any) -> Perceived | None:
        """Store one sample of each, of one moment, and perceive it."""
        self.now_s += 0.05
        stamp = T0 + round(self.now_s * 1e9)
        for name, value in samples.items():
            self.collector.add(name, stamp, value, self.now_s)
        return self.perceiver.perceive(
            1,
            self.collector.observe(self.now_s),
            lambda name, stamp, *why: self.collector.drop(name, stamp, self.now_s, *why),
            lambda reference_ns: self.collector.observe(self.now_s, reference_ns),
        )

    def reasons(self, name: str) -> dict[str, int]:
        return self.collector.observe(self.now_s).status[name].reject_reasons


def sample(name: str, seed: int = 0) -> Any:
    return next(m for m in MODALITIES if m.name == name).example_sample(seed)


@pytest.mark.parametrize("broken", ["prepare", "normaliser", "plausibility"])
def test_what_fails_on_one_message_refuses_it_by_the_errors_name(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(modality: Any, *rest: Any) -> Any:
        if modality.name == "rgb":
            raise cv2.error("resize: inv_scale_x > 0")
        return healthy(modality, *rest)

    told: list[tuple[str, str]] = []
    desk = Desk(runtime, rejected=lambda n, t: told.append((n, t)), judged=lambda n, t: None)
    place = Modality if broken == "plausibility" else runtime_module
    healthy = getattr(place, broken)
    with monkeypatch.context() as patch:
        patch.setattr(place, broken, fail)
        patch.setattr(runtime, "_normalised", {})  # as before its first sample
        perceived = desk.see(rgb=sample("rgb"), action=sample("action"))
    assert perceived is not None
    assert perceived.observation.subset == ("action",)
    assert perceived.observation.status["rgb"].state is FusionState.REJECTED
    assert desk.reasons("rgb") == {"unforeseen error": 1}
    ((name, text),) = told
    assert name == "rgb"
    assert "inv_scale_x" in text
    again = desk.see(rgb=sample("rgb", 1), action=sample("action", 1))
    assert again is not None
    assert again.observation.subset == ("rgb", "action")


def test_an_error_of_the_session_itself_is_not_taken_for_a_bad_message(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the accelerator is gone")

    session = runtime._sessions._opened["embed/action"].session
    monkeypatch.setattr(session, "run_with_iobinding", gone)
    with pytest.raises(RuntimeError, match="the accelerator is gone"):
        Desk(runtime).see(action=sample("action"))


def test_a_sample_is_embedded_once_until_options_or_epoch_change(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[str] = []
    healthy = runtime.observe
    monkeypatch.setattr(
        runtime, "observe", lambda name, x: (embedded.append(name), healthy(name, x))
    )
    desk = Desk(runtime)
    desk.see(rgb=sample("rgb"))
    desk.see(action=sample("action"))
    assert embedded == ["rgb", "action"], "rgb is fused in both, and embedded once"
    desk.perceiver.forget()
    desk.see()
    assert sorted(embedded[2:]) == ["action", "rgb"]


def test_what_is_odd_is_told_of_every_new_sample(runtime: Runtime) -> None:
    told: list[tuple[str, str]] = []
    desk = Desk(runtime, judged=lambda n, t: told.append((n, t)))
    desk.see(rgb=sample("rgb"))
    desk.see(rgb=np.zeros((128, 128, 3), np.uint8))
    assert told == [("rgb", ""), ("rgb", "every value of every pixel is 0")]


def test_what_is_odd_about_a_refused_sample_is_in_its_rejection(runtime: Runtime) -> None:
    """Else diagnostics count it as used, and say only that no pixel is in range."""
    judged: list[tuple[str, str]] = []
    rejected: list[tuple[str, str]] = []
    desk = Desk(
        runtime,
        judged=lambda n, t: judged.append((n, t)),
        rejected=lambda n, t: rejected.append((n, t)),
    )
    assert desk.see(depth=np.full((128, 128), 900.0, np.float32)) is None
    assert judged == []
    [(name, text)] = rejected
    assert name == "depth"
    assert text.startswith("depth: empty: expected a pixel between")
    assert text.endswith("; median depth 900 m looks like millimetres: set depth_scale to 0.001")


def test_a_posterior_that_is_no_number_says_so(runtime: Runtime) -> None:
    desk = Desk(runtime)
    huge = np.full(4, 1e38, np.float32)
    perceived = desk.see(action=huge)
    assert perceived is not None
    assert not perceived.finite
    healthy = desk.see(action=sample("action"))
    assert healthy is not None
    assert healthy.finite


def test_a_refusal_that_says_why_passes_as_it_is() -> None:
    with pytest.raises(SampleError, match="expected a, got b") as caught, refusing("rgb"):
        raise SampleError("rgb", "shape", expected="a", got="b", reason="size")
    assert not isinstance(caught.value, Unforeseen)
    with pytest.raises(Unforeseen, match=r"rgb: message: .*KeyError") as caught, refusing("rgb"):
        raise KeyError("x")
    assert caught.value.reason == "unforeseen KeyError"


def test_what_was_embedded_ahead_is_used_and_gives_the_same_latent(runtime, monkeypatch) -> None:
    image = MODALITIES[0].example_sample(3)
    at_once = Desk(runtime).see(rgb=image)
    told: list[tuple[str, str]] = []
    desk = Desk(runtime, judged=lambda name, odd: told.append((name, odd)))
    desk.perceiver.embed_ahead("rgb", image)

    def embed_no_more(*_: Any) -> Any:
        raise AssertionError("it was embedded ahead")

    with monkeypatch.context() as patch:
        patch.setattr(Runtime, "embed", embed_no_more)
        ahead = desk.see(rgb=image)
    assert np.array_equal(ahead.posterior.mean, at_once.posterior.mean)
    assert np.array_equal(ahead.posterior.log_var, at_once.posterior.log_var)
    assert told == [("rgb", "")]
    other = desk.see(rgb=MODALITIES[0].example_sample(4))
    assert not np.array_equal(other.posterior.mean, ahead.posterior.mean)


def test_what_cannot_be_embedded_ahead_is_refused_by_its_moment(runtime) -> None:
    desk = Desk(runtime)
    bad = np.zeros((2, 2), np.float32)
    desk.perceiver.embed_ahead("rgb", bad)
    assert desk.see(rgb=bad) is None
    assert sum(desk.reasons("rgb").values()) == 1


def test_a_snapshot_judges_what_was_observed_then(runtime) -> None:
    samples = {m.name: m.example_sample(1) for m in MODALITIES}
    names = tuple(samples)
    runtime.infer(samples)
    subsets = [names, names[:2], names[2:]]
    before = runtime.posteriors(subsets)
    snapshot = runtime.snapshot(NoveltyScorer())
    for m in MODALITIES:
        runtime.observe(m.name, m.example_sample(2))
    assert not np.array_equal(runtime.posterior(names).mean, before[0].mean)
    for seen, was in zip(snapshot.posteriors(subsets), before, strict=True):
        assert np.array_equal(seen.mean, was.mean)
        assert np.array_equal(seen.log_var, was.log_var)
