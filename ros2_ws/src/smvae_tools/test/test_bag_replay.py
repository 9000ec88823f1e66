"""A bag through the live node and through `smvae evaluate-bag`: the same latents.

Two statements, because a live replay's moments depend on the machine's load:

- Every live latent, whatever it fused, is what the runtime makes of the bag's samples with the
  stamps that it names.
- With a camera as trigger, moments do not depend on load: offline and live have the same stamps.
  Where they fused the same samples (of force: windows that end at the same reading) the means are
  equal. They may differ in the samples where a message came within a scheduler's turn of the
  moment being taken: the offline replay takes it in no time, the node after some tenths of a
  millisecond, or more under load.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_harness import Client, fused
from robot_harness import Program, stamp
from sample_bag import TOPICS, UNSTAMPED, write_bag
from smvae_msgs.msg import LatentState

from smvae_core.bags import Bag
from smvae_core.kinds.window import resample_window
from smvae_core.messages import ConversionOptions, stamp_ns
from smvae_core.runtime import Runtime

pytest.importorskip("smvae_training", reason="the offline evaluation is not installed")

#: Largest difference of a latent's mean; means are of order 1.
TOLERANCE = 1e-3
SECONDS = 4.0
#: Of replays, the next where a busy machine made too few latents of the same moments.
RATES = ("1.0", "0.5", "0.25")


@pytest.fixture(scope="module")
def bag(modalities: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("replay") / "bag", modalities, SECONDS)


@pytest.fixture
def deaf(domain: int) -> Iterator[Client]:
    """Who publishes nothing itself."""
    client = Client(domain, ())
    yield client
    client.close()


def samples_of(bag: Path, modalities: Any) -> dict[str, dict[int, Any]]:
    """Return every sample of a bag by modality and stamp (of force: readings)."""
    found: dict[str, dict[int, Any]] = {m.name: {} for m in modalities}
    by_topic = {TOPICS[m.name]: m for m in modalities}
    with Bag(bag) as reader:
        for topic, _, data in reader.messages(list(by_topic)):
            modality, message = by_topic[topic], reader.decode(topic, data)
            array = modality.converter().to_array(modality, message, ConversionOptions())
            found[modality.name][stamp_ns(message)] = array
    return found


def by_hand(runtime: Runtime, samples: dict[str, dict[int, Any]], latent: LatentState) -> Any:
    """Return the mean that the bag's samples give which a live latent says it fused."""
    chosen = {}
    for name, stamp_of in sources(latent).items():
        modality, held = runtime.modality(name), samples[name]
        if not modality.family.is_window:
            chosen[name] = held[stamp_of]
            continue
        stamps = np.array(sorted(held), np.int64)
        readings = np.stack([held[int(s)] for s in stamps])
        chosen[name] = resample_window(stamps, readings, stamp_of, length=modality.shape[1])
    return runtime.infer(chosen).mean


def sources(latent: LatentState) -> dict[str, int]:
    """Return the stamp of the sample of each fused modality."""
    names = fused(latent)
    return {
        s.name: s.stamp.sec * 10**9 + s.stamp.nanosec for s in latent.modalities if s.name in names
    }


def replayed_live(
    client: Any, domain: int, bag: Path, log: Path, *arguments: str
) -> list[LatentState]:
    """Return the valid latents of an active node while the bag is played to it."""
    client.latents.clear()
    player = Program("smvae_tools.bags.player", domain, log, str(bag), "--wait", "30", *arguments)
    try:
        client.until(lambda: player.process.poll() is not None, 240.0)
        client.spin(1.0)
        assert player.process.returncode == 0, player.text()
    finally:
        player.end()
    return [m for m in client.latents if m.valid]


class Offline:
    """The latents of the offline evaluation of a bag."""

    def __init__(self, bag: Path, bundle: Path, out: Path, trigger: str) -> None:
        from smvae_training.evaluate.bag.evaluate import LATENTS, evaluate_bag
        from smvae_training.evaluate.bag.options import BagOptions

        evaluate_bag(bag, bundle, out, BagOptions(trigger=trigger, subsets="none", video=False))
        self.columns = np.load(out / LATENTS, allow_pickle=False)
        self.rows = {stamp: row for row, stamp in enumerate(self.columns["stamp_ns"].tolist())}

    def mean(self, latent: LatentState) -> Any:
        return self.columns["mean"][self.rows[stamp(latent)]]

    def sources(self, latent: LatentState) -> dict[str, int]:
        """Return the stamp of each fused sample at a live latent's moment."""
        return self.sources_of(self.rows[stamp(latent)])

    def sources_of(self, row: int) -> dict[str, int]:
        """Return the stamp of each fused sample of a row."""
        names = self.columns["modalities"].tolist()
        stamps = self.columns["sample_stamp_ns"][row].tolist()
        states = self.columns["state"][row].tolist()
        return {n: t for n, t, state in zip(names, stamps, states, strict=True) if state == 1}


@pytest.mark.parametrize("trigger", ["any", "rgb"])
def test_live_replay_and_offline_evaluation_agree(
    trigger: str, start_node: Any, client: Any, domain: int, bundle: Path, bag: Path, tmp_path: Path
) -> None:
    offline = Offline(bag, bundle, tmp_path / "offline", trigger)
    runtime, samples = Runtime(bundle), samples_of(bag, client.modalities.values())
    start_node(bundle=bundle, trigger=trigger, use_sim_time=True)
    client.activate()

    def enough_agree(rate: str) -> str:
        """Play the bag, compare, and return what was too few to compare."""
        live = replayed_live(client, domain, bag, tmp_path / "player.log", "--rate", rate)
        for latent in live:
            difference = np.abs(by_hand(runtime, samples, latent) - np.asarray(latent.mean)).max()
            assert difference <= TOLERANCE, (stamp(latent), sources(latent))
        moments = [m for m in live if stamp(m) in offline.rows]
        same = [m for m in moments if offline.sources(m) == sources(m)]
        for latent in same:
            assert np.abs(offline.mean(latent) - np.asarray(latent.mean)).max() <= TOLERANCE
        enough = len(live) >= 10
        if trigger == "rgb":  # every image is a moment; the first may come before the node listens
            enough &= len(moments) >= 0.9 * len(live)
            enough &= len(moments) >= 0.5 * len(offline.rows)
            enough &= len(same) >= 0.5 * len(moments)
        counts = f"{len(moments)} of {len(live)} live latents at offline moments, "
        counts += f"{len(same)} of the same samples, {len(offline.rows)} offline"
        return "" if enough else counts

    few: list[str] = []
    for rate in RATES:
        if not (counts := enough_agree(rate)):
            return
        few.append(counts)
    pytest.fail("; ".join(few))


def test_commands_without_stamp_are_fused_in_simulated_time_live_as_offline(
    start_node: Any, deaf: Client, domain: int, bundle: Path, modalities: Any, tmp_path: Path
) -> None:
    """The bag was received in the wall's time and holds /clock, which the stamps are of."""
    bag = write_bag(tmp_path / "bag", modalities, SECONDS, simulated=True)
    offline = Offline(bag, bundle, tmp_path / "offline", "rgb")
    assert sum("action" in offline.sources_of(row) for row in offline.rows.values()) >= 35
    kind = {"modalities.action.message_type": UNSTAMPED}
    start_node(bundle=bundle, trigger="rgb", use_sim_time=True, parameters=kind)
    deaf.activate()
    few: list[str] = []
    for rate in RATES:
        live = replayed_live(deaf, domain, bag, tmp_path / "player.log", "--rate", rate)
        same = [m for m in live if stamp(m) in offline.rows and offline.sources(m) == sources(m)]
        for latent in same:
            assert np.abs(offline.mean(latent) - np.asarray(latent.mean)).max() <= TOLERANCE
        fused_all = [m for m in same if "action" in sources(m)]
        few.append(f"{len(fused_all)} of {len(same)} of {len(live)} with the command")
        if len(fused_all) >= max(10, 0.5 * len(live)):
            return
    pytest.fail("; ".join(few))


def test_a_looped_bag_begins_a_new_epoch_and_goes_on(
    start_node: Any, client: Any, domain: int, bundle: Path, bag: Path, tmp_path: Path
) -> None:
    start_node(bundle=bundle, use_sim_time=True)
    client.activate()
    arguments = ("--wait", "30", "--loop", "--start-offset", "2.5")
    player = Program(
        "smvae_tools.bags.player", domain, tmp_path / "player.log", str(bag), *arguments
    )
    every = tuple(client.modalities)

    def looped() -> bool:
        valid = [m for m in client.latents if m.valid]
        return len({m.epoch for m in valid}) >= 3 and any(fused(m) == every for m in valid)

    try:
        client.until(looped, 240.0)
        assert player.interrupt() == 0, player.text()
    finally:
        player.end()
    valid = [m for m in client.latents if m.valid]
    for before, after in pairwise(valid):
        assert after.epoch >= before.epoch
        if after.epoch == before.epoch:
            assert stamp(after) >= stamp(before)
