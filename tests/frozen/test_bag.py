"""The frozen bag: a node's own recording, in the message definitions of its day."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags")

from smvae_core.bags import Bag
from smvae_training.evaluate.live.demo_report import DemoPaths, make_summary
from smvae_training.evaluate.live.evaluate import LiveEvaluation, evaluate_live, numbers
from tests.frozen import frozen, lines
from tests.frozen.test_interfaces import hold

FOLDER = Path(__file__).parent
BAG, BUNDLE = FOLDER / "bag", FOLDER / "bundle"


@pytest.fixture(scope="module")
def found() -> LiveEvaluation:
    return evaluate_live(BAG, BUNDLE)


def test_an_old_bag_holds_every_message_of_ours() -> None:
    with Bag(BAG) as bag:
        ours = {t.message_type for t in bag.topics.values() if "smvae_msgs" in t.message_type}
        assert ours == {f"smvae_msgs/msg/{name}" for name in ("LatentState", "ModelInfo", "Timing")}
        for topic, _, data in bag.messages():
            assert bag.decode(topic, data) is not None


def test_the_recorded_latents_are_those_of_the_runtime(found: LiveEvaluation) -> None:
    """What a node published is what the bundle makes of the samples that it said it used."""
    replayed = [r for r in found.replayed if r.mean is not None]
    assert len(replayed) > 20
    assert all(r.equal for r in found.replayed)


def test_messages_only_grew_at_their_end() -> None:
    """A field of the frozen bag keeps its type and its place."""
    from rosbags.typesys import get_types_from_msg

    new: dict[str, Any] = {}
    for path in sorted((lines.SOURCES / "smvae_msgs/msg").glob("*.msg")):
        text = path.read_text(encoding="utf-8")
        new |= get_types_from_msg(text, f"smvae_msgs/msg/{path.stem}")
    recorded = recorded_types()
    assert len(recorded) == 5
    for name, (constants, fields) in recorded.items():
        now_constants, now_fields = new[name]
        assert set(constants) <= set(now_constants), name
        assert now_fields[: len(fields)] == fields, name


def recorded_types() -> dict[str, Any]:
    """Return the definitions of our messages that the bag holds."""
    from rosbags.highlevel import AnyReader

    with AnyReader([BAG]) as reader:
        types = reader.typestore.fielddefs
        return {name: found for name, found in types.items() if name.startswith("smvae_msgs/")}


def test_the_bag_offline_gives_the_frozen_latents() -> None:
    """The same moments, the same sets, the same posteriors."""
    now, then = frozen.bag_latents(BAG, BUNDLE), frozen.load("bag_latents.npz")
    assert set(now) == set(then)
    for name, expected in then.items():
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(now[name], expected, atol=1e-5, rtol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(now[name], expected, err_msg=name)


def test_the_demo_s_summary_keeps_its_keys(found: LiveEvaluation, tmp_path: Path) -> None:
    """All but those of processes, which a demo has: `python -m tests.frozen.make summary DEMO`."""
    from smvae_training.cli import main
    from smvae_training.evaluate.results import jsonable
    from tests.frozen.episodes import write_episodes

    episodes = str(write_episodes(tmp_path / "episodes"))
    words = ["--data", episodes, "--out", str(tmp_path / "out"), *frozen.FEW]
    assert main(["evaluate", str(FOLDER / "run"), *words]) == 0
    results = json.loads((tmp_path / "out/results.json").read_text(encoding="utf-8"))
    checks: list[dict[str, Any]] = [{"name": "", "passed": True, "required": "", "got": {}}]
    summary = make_summary(DemoPaths(tmp_path), results, numbers(found), {}, checks)
    written = json.loads(json.dumps(jsonable(summary)))
    of_processes = [
        line
        for line in (FOLDER / "summary.txt").read_text(encoding="utf-8").splitlines()
        if line.startswith(("processes.", "seconds.", "versions."))
    ]
    hold("summary.txt", [*lines.summary_keys(written), *of_processes])
