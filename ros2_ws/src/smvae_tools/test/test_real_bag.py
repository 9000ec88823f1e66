"""A real wrist sensor's ROS 1 bag: from scaffold to latents of a live replay at its own rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_harness import Client, fused
from robot_harness import Program

pytest.importorskip("smvae_training", reason="the trainer is not installed")
from smvae_training.cli import main

pytestmark = pytest.mark.dds
BAG = Path(__file__).parents[5] / "shared/data/bags/wrench_sensing_drill_vibration.bag"
#: Played from there on.
FROM_S, LENGTH_S, RATE_HZ = 7.5, 10.9, 643.7
#: Of replays, the next where a busy machine lost messages.
RATES = ("1.0", "0.5", "0.25")


def test_a_wrench_at_643_hz_goes_from_scaffold_to_live_latents(
    start_node: Any, domain: int, tmp_path: Path
) -> None:
    if not BAG.exists():
        pytest.skip(f"no real recordings in {BAG.parent}")
    file, episodes, run, bundle = (tmp_path / n for n in ("r.yaml", "episodes", "run", "bundle"))
    assert main(["robot", "scaffold", str(BAG), "-o", str(file)]) == 0
    assert main(["episodes", str(BAG), "--robot", str(file), "--out", str(episodes)]) == 0
    train = ["train", "--preset", "robot", "--data", str(episodes), "--out", str(run)]
    assert main([*train, "--max-steps", "2", "--no-report", "--log.no-tensorboard"]) == 0
    assert main(["export", str(run), str(bundle)]) == 0

    for rate in RATES:
        fused_sets, told = live(start_node, domain, bundle, tmp_path, rate)
        received = float(told[-1]["received"])
        if len(fused_sets) > 20 and received >= 0.9 * RATE_HZ * (LENGTH_S - FROM_S):
            break
    else:
        pytest.fail(f"{len(fused_sets)} latents of {received} messages, also at rate {rate}")
    assert set(fused_sets) == {("wrench",)}
    assert 1.0 / float(told[-1]["period_s"]) == pytest.approx(RATE_HZ, rel=0.1)  # by stamps
    assert not [key for t in told for key in t if key.startswith("rejected: ")]


def live(
    start_node: Any, domain: int, bundle: Path, folder: Path, rate: str
) -> tuple[list[tuple[str, ...]], list[dict[str, str]]]:
    """Play the bag to a new node; return what latents fused, and the diagnostics of the wrench."""
    node = start_node(bundle=bundle, use_sim_time=True)
    client = Client(domain, ())
    reports = client.listen(DiagnosticArray, "/diagnostics", 100)
    client.activate()
    arguments = (str(BAG), "--wait", "30", "--start-offset", str(FROM_S), "--rate", rate)
    player = Program("smvae_tools.bags.player", domain, folder / "player.log", *arguments)
    try:
        client.until(lambda: player.process.poll() is not None, 240.0)
        client.spin(1.0)
        assert player.process.returncode == 0, player.text()
    finally:
        player.end()
        client.close()
        node.end()
    told = [
        {v.key: v.value for v in status.values}
        for report in reports
        for status in report.status
        if status.name.endswith("modality wrench")
    ]
    return [fused(m) for m in client.latents if m.valid], told
